"""What real APIs do with links to the next page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_paginated import HeaderLink, JsonLink
from airflow_paginated.core.errors import OriginError, PaginatedApiError, RequestRefused, ResponseError
from tests.servers import FaultServer, PagedApi, Reply, Request
from tests.servers.styles import Bare, ByLink, Carrier, Envelope, More, StyledApi, Told, employees, links
from tests.strategies.collecting import HIDDEN, SECRET, Collect
from tests.strategies.scripted import Scripted, with_headers

ROWS = employees(50)
NEXT = JsonLink(next_url_path="next")
ASKED = Carrier(query={"active": "true"})
BODY = ByLink(carrier=ASKED)
REQUEST: dict[str, Any] = {"query": {"active": True}, "data_selector": "data"}
"""What the first request says, and no other may repeat: a link carries its own parameters."""


def table(asked: object, *tells: object, path: str = "/items") -> StyledApi:
    return StyledApi(rows=ROWS, asked=asked, tells=tells, shape=Envelope(), path=path)


@pytest.mark.parametrize(
    ("base", "wrote"),
    [
        ("", links.absolute),
        ("/api/v2", links.absolute),
        ("", links.from_root),
        ("/api/v2", links.from_root),
        ("", links.from_here),
        ("/api/v2", links.from_here),
        ("/api/v2", links.from_above),
        ("", links.query_alone),
        ("/api/v2", links.query_alone),
        ("/api/v2", links.no_scheme),
        ("/api/v2/", links.with_fragment),
    ],
)
def test_a_link_leads_where_it_says_in_whatever_form_it_is_written(collect: Collect, base: str, wrote: Any) -> None:
    api = table(replace(BODY, wrote=wrote), path=f"{base.rstrip('/')}/items")
    found = collect(api, NEXT, base=base, **REQUEST)
    assert found.lines == api.reference()
    assert found.targets == [
        f"{api.path}?active=true",
        *(f"{api.path}?{links.signed(number)}" for number in (1, 2)),
    ]


def test_a_link_carries_its_own_parameters_and_never_those_of_the_first_request(collect: Collect) -> None:
    api = table(replace(BODY, query=lambda number: f"page={number}&active=false"))
    found = collect(api, NEXT, **REQUEST)
    assert found.lines == api.reference()
    assert found.targets == ["/items?active=true", "/items?page=1&active=false", "/items?page=2&active=false"]


def test_a_link_keeps_the_headers_of_the_first_request(collect: Collect) -> None:
    api = table(replace(BODY, carrier=replace(ASKED, headers={"Accept": "application/vnd.own+json", "X-Own": "a"})))
    found = collect(api, NEXT, headers={"accept": "application/vnd.own+json", "X-Own": "a"}, **REQUEST)
    assert found.lines == api.reference()
    assert {each.request.headers["authorization"] for each in found.seen} == {f"Bearer {SECRET}"}
    assert {each.request.headers["x-tenant"] for each in found.seen} == {HIDDEN}


@pytest.mark.parametrize("end", [{}, {"next": None}, {"next": ""}, {"next": False}, {"next": {"href": None}}])
def test_the_last_page_has_no_link_in_whatever_way(collect: Collect, end: dict[str, Any]) -> None:
    api = Scripted("page", {None: {"data": [1], "next": "?page=2"}, "2": {"data": [2], **end}})
    assert collect(api, NEXT, data_selector="data").rows == [1, 2]


def test_a_link_is_an_object_or_null(collect: Collect) -> None:
    for wrote in (links.in_object, lambda host, target: {"url": host + target, "rel": "next"}):
        api = table(replace(BODY, wrote=wrote))
        assert collect(api, NEXT, **REQUEST).lines == api.reference()


@pytest.mark.parametrize("relation", [{"rel": "next"}, {"relation": "next"}, {"rel": ["next"]}, {"rel": "last next"}])
def test_a_list_of_links_is_searched_for_its_relation(collect: Collect, relation: dict[str, Any]) -> None:
    first = {"rel": "self", "href": "/never"}
    asked = replace(
        BODY,
        path=("links",),
        wrote=lambda host, target: [first, {**relation, "href": target}, {"rel": "next", "href": "/never"}],
        end=lambda: Told({("links",): [first]}),
    )
    assert collect(table(asked), JsonLink(next_url_path="links"), **REQUEST).lines == table(asked).reference()


def test_a_list_without_any_relation_is_no_end(collect: Collect) -> None:
    for found in ([], ["?page=2"], [{"name": "next", "href": "?page=2"}]):
        error = collect.error(Scripted("page", {None: {"data": [1], "next": found}}), NEXT, data_selector="data")
        assert "next_url_path 'next' does not lead to a link" in str(error)
    api = Scripted("page", {None: {"data": [1], "next": "?page=2"}, "2": {"data": [2], "next": []}})
    assert collect(api, NEXT, data_selector="data").rows == [1, 2]


def test_a_link_under_a_name_with_dots_is_found(collect: Collect) -> None:
    api = table(replace(BODY, path=("@odata.nextLink",), end=Told))
    assert collect(api, JsonLink(next_url_path='["@odata.nextLink"]'), **REQUEST).lines == api.reference()


def test_an_empty_link_header_is_the_end(collect: Collect) -> None:
    first = with_headers([1], Link='<?page=2>; rel="next"')
    api = Scripted("page", {None: first, "2": with_headers([2], Link="")})
    assert collect(api, HeaderLink()).rows == [1, 2]
    assert collect(Scripted("page", {None: with_headers([1], Link="")}), HeaderLink()).rows == [1]


def test_four_relations_in_one_header(collect: Collect) -> None:
    api = StyledApi(rows=ROWS, asked=replace(BODY, headers=links.four_relations), shape=Bare())
    found = collect(api, HeaderLink(), query={"active": True})
    assert (found.lines, len(found.seen)) == (api.reference(), 3)


@pytest.mark.parametrize("workers", [1, 16])
def test_numbered_links_up_to_a_last_one_are_followed_ahead_and_each_is_asked_for_once(
    collect: Collect, workers: int
) -> None:
    asked = replace(BODY, size=2, headers=links.four_relations, query=links.numbered)
    api = StyledApi(rows=ROWS, asked=asked, shape=Bare())
    found = collect(api, HeaderLink(), query={"active": True}, max_workers=workers)
    assert found.lines == api.reference()
    assert sorted(found.targets) == sorted(
        ["/items?active=true", *(f"/items?{links.numbered(number)}" for number in range(1, 25))]
    )


def test_a_link_header_in_utf_8_is_read_as_that(collect: Collect) -> None:
    link = '<?page=2&q=é€>; rel="next"; title="nächste"'.encode().decode("latin-1")
    api = Scripted("page", {None: with_headers([1], Link=link), "2": with_headers([2], Link="")})
    found = collect(api, HeaderLink())
    assert (found.rows, found.targets[1]) == ([1, 2], "/items?page=2&q=%C3%A9%E2%82%AC")


def test_a_relative_link_starts_from_where_a_redirect_led(collect: Collect) -> None:
    api = table(replace(BODY, wrote=links.query_alone), path="/v2/items")

    def moved(request: Request) -> Reply:
        if request.path == "/items":
            return Reply(b"", 308, (("Location", "/v2/items?active=true"),))
        return api(request)

    assert collect(moved, NEXT, **REQUEST).lines == api.reference()


def test_a_single_page_that_names_no_next_one_but_others_is_the_end(collect: Collect) -> None:
    api = Scripted("page", {None: with_headers([1], Link='<?page=1>; rel="first", <?page=1>; rel="last"')})
    assert collect(api, HeaderLink()).rows == [1]


def test_an_answer_without_any_link_header_is_an_error_unless_it_may_be_the_last_page(collect: Collect) -> None:
    api = Scripted("page", {None: [1]})
    error = collect.error(api, HeaderLink())
    assert isinstance(error, ResponseError)
    assert "the response has no Link header with rel='next'; its headers are 'content-" in str(error)
    assert "missing_next='end'" in str(error)
    assert collect(api, HeaderLink(missing_next="end")).rows == [1]


def test_a_flag_that_promises_more_needs_a_link(collect: Collect) -> None:
    api = StyledApi(rows=ROWS, asked=replace(BODY, path=("other",)), tells=(More(),), shape=Envelope())
    error = collect.error(api, JsonLink(next_url_path="next", has_more_path="has_more"), **REQUEST)
    assert "the API reports more pages, but next_url_path 'next' does not lead to a link" in str(error)


@pytest.mark.parametrize("link", [7, [1], True, {"href": 7}])
def test_a_link_that_is_no_text_is_told(collect: Collect, link: object) -> None:
    api = Scripted("page", {None: {"data": [1], "next": link}})
    error = collect.error(api, NEXT, data_selector="data")
    assert isinstance(error, ResponseError)
    assert "next" in str(error)


ELSEWHERE = [
    "http://evil.test/items?page=2",
    "https://127.0.0.1:{port}/items?page=2",
    "http://127.0.0.1:1/items?page=2",
    "http://127.0.0.1/items?page=2",
    "http://localhost:{port}/items?page=2",
    "//evil.test/items?page=2",
    "http://evil\\@127.0.0.1:{port}/items?page=2",
    "http://evil\\@api/",
    "http://127.0.0.1:{port}@evil.test/items?page=2",
    "http://user:pass@127.0.0.1:{port}/items?page=2",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/latest/meta-data/",
    "http://2852039166/latest/meta-data/",
    "http://0x7f000001:{port}/items?page=2",
    "http://127.1:{port}/items?page=2",
    "http:\\\\evil.test/items",
    "\\\\evil.test/items",
    "file:///etc/passwd",
    "file:/etc/passwd",
    "ftp://127.0.0.1:{port}/items",
    "gopher://127.0.0.1:{port}/items",
    "javascript:alert(1)",
    "data:application/json,[]",
    "http://[::1",
    "http:// evil.test/",
]


@pytest.mark.parametrize("link", ELSEWHERE)
@pytest.mark.parametrize("place", ["body", "header"])
def test_a_link_that_leads_elsewhere_is_refused_and_nothing_is_sent(collect: Collect, place: str, link: str) -> None:
    sent: list[Request] = []

    def api(request: Request) -> Reply:
        sent.append(request)
        to = link.format(port=request.headers["host"].rpartition(":")[2])
        if place == "header":
            return with_headers([1], Link=f'<{to}>; rel="next"')
        return Scripted("", {None: {"data": [1], "next": to}})(request)

    strategy, selector = (HeaderLink(), None) if place == "header" else (NEXT, "data")
    error = collect.error(api, strategy, data_selector=selector)
    assert isinstance(error, OriginError | ResponseError)
    assert "pass" not in str(error).replace("passwd", "")
    assert len(sent) == 1


@pytest.mark.parametrize("host", ["http://evil.test", "https://api.example:8443", "//evil.test", ""])
def test_only_path_and_query_of_a_link_count_where_an_api_does_not_know_its_own_host(
    collect: Collect, host: str
) -> None:
    api = table(replace(BODY, wrote=lambda own, target: host + target))
    assert collect(api, JsonLink(next_url_path="next", own_host=True), **REQUEST).lines == api.reference()


def test_a_link_to_another_server_brings_it_no_credentials(collect: Collect) -> None:
    with FaultServer(PagedApi(rows=10)) as other:
        api = table(replace(BODY, wrote=lambda own, target: other.url + target))
        error = collect.error(api, NEXT, **REQUEST)
        assert not other.log.requests
    assert isinstance(error, OriginError)
    assert other.url in str(error)


def test_a_link_that_the_api_refuses_is_told_without_its_parameters(collect: Collect) -> None:
    api = Scripted("token", {None: {"data": [1], "next": f"?token={SECRET}&sig=s1gn4ture"}, "": Reply(b"{}", 410)})
    errors: list[PaginatedApiError] = []
    api = replace(api, answers={**api.answers, SECRET.replace("+", " "): Reply(b'{"gone": true}', 410)})
    errors.append(collect.error(api, NEXT, data_selector="data"))
    assert isinstance(errors[0], RequestRefused)
    assert errors[0].status == 410
    assert "s1gn4ture" not in str(errors[0])
