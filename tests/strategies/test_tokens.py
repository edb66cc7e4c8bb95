"""What real APIs do with cursors and keys."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote

import pytest

from airflow_paginated import Cursor, HeaderCursor, Keyset
from airflow_paginated.core.errors import IncompleteError, ResponseError
from tests.servers import Reply, Request
from tests.servers.styles import Bare, ByKey, ByToken, Carrier, Envelope, More, StyledApi, employees, events
from tests.strategies.collecting import Collect
from tests.strategies.scripted import Scripted, with_headers

ROWS = employees(50)
TOKEN = ByToken()
NEXT = Cursor(cursor_path="next_cursor")
DATA = {"data_selector": "data"}


def table(asked: object, *tells: object, rows: Any = ROWS) -> StyledApi:
    return StyledApi(rows=rows, asked=asked, tells=tells, shape=Envelope())


def test_a_token_that_is_an_object_is_sent_as_its_json(collect: Collect) -> None:
    api = table(replace(TOKEN, token=lambda number: {"id": number, "at": "a b"}))
    found = collect(api, NEXT, **DATA)
    assert found.lines == api.reference()
    assert found.targets[1] == "/items?cursor=%7B%22id%22%3A1%2C%22at%22%3A%22a+b%22%7D"


def test_a_token_that_is_the_text_of_an_object_is_sent_as_the_same_text(collect: Collect) -> None:
    api = table(replace(TOKEN, token=lambda number: json.dumps({"id": number})))
    found = collect(api, NEXT, **DATA)
    assert found.lines == api.reference()
    assert found.targets[1] == "/items?cursor=%7B%22id%22%3A+1%7D"


def test_a_token_that_is_an_object_stays_one_in_the_body(collect: Collect) -> None:
    carrier = Carrier(where="body", method="POST")
    api = StyledApi(
        rows=ROWS,
        asked=replace(
            TOKEN, carrier=replace(carrier, body={}), token=lambda number: {"id": [number]}, sent=lambda t: t
        ),
        shape=Envelope(),
    )
    found = collect(api, replace(NEXT, inject_into="body"), method="POST", body={}, **DATA)
    assert found.lines == api.reference()
    assert found.seen[1].request.body == b'{"cursor":{"id":[1]}}'


def test_two_values_in_two_headers_are_both_sent_back(collect: Collect) -> None:
    asked = ByToken(
        params=("NextPartitionKey", "NextRowKey"),
        headers=("x-ms-continuation-NextPartitionKey", "X-MS-Continuation-NextRowKey"),
        token=lambda number: f"1!{number}!a+/=",
        end="absent",
    )
    api = table(asked)
    strategy = HeaderCursor(
        cursor_header=["x-ms-continuation-NextPartitionKey", "x-ms-continuation-NextRowKey"],
        cursor_param=["NextPartitionKey", "NextRowKey"],
    )
    found = collect(api, strategy, **DATA)
    assert found.lines == api.reference()
    assert found.targets[1] == "/items?NextPartitionKey=1%211%21a%2B%2F%3D.0&NextRowKey=1%211%21a%2B%2F%3D.1"


def test_of_two_values_one_that_is_not_there_any_more_is_not_sent_again(collect: Collect) -> None:
    first = with_headers([1], X_Pk="p1", X_Rk="r1")
    second = with_headers([2], X_Pk="p2")
    api = Scripted("pk", {None: first, "p1": second, "p2": with_headers([3])})
    strategy = HeaderCursor(cursor_header=["X-Pk", "X-Rk"], cursor_param=["pk", "rk"])
    found = collect(api, strategy)
    assert found.rows == [1, 2, 3]
    assert found.targets == ["/items", "/items?pk=p1&rk=r1", "/items?pk=p2"]


def test_a_token_in_a_header_of_its_own(collect: Collect) -> None:
    api = StyledApi(rows=ROWS, asked=ByToken(headers=("X-Next-Cursor",), end="absent"), shape=Bare())
    found = collect(api, HeaderCursor(cursor_header="x-next-cursor"))
    assert found.lines == api.reference()


def test_a_token_is_sent_back_in_a_header(collect: Collect) -> None:
    carrier = Carrier(where="header", query={"q": "1"})
    api = table(replace(TOKEN, carrier=carrier, params=("X-Page-Token",)))
    found = collect(
        api, replace(NEXT, cursor_param="X-Page-Token", inject_into="header"), query={"q": 1}, max_workers=1, **DATA
    )
    assert found.lines == api.reference()
    assert {each.request.target for each in found.seen} == {"/items?q=1"}


@pytest.mark.parametrize(
    ("token", "sent"),
    [
        ("a+b", "a%2Bb"),
        ("a/b", "a%2Fb"),
        ("YQ==", "YQ%3D%3D"),
        ("a,$b", "a%2C%24b"),
        ("a%2Bb", "a%252Bb"),
        ("a b&c=d#e?", "a+b%26c%3Dd%23e%3F"),
        ("é€🦊", "%C3%A9%E2%82%AC%F0%9F%A6%8A"),
    ],
)
def test_a_token_is_encoded_exactly_once(collect: Collect, token: str, sent: str) -> None:
    api = table(replace(TOKEN, token=lambda number: f"{token}{number}"))
    found = collect(api, NEXT, **DATA)
    assert found.lines == api.reference()
    assert found.targets == ["/items", f"/items?cursor={sent}1", f"/items?cursor={sent}2"]


def test_a_token_that_is_encoded_already_is_not_encoded_again(collect: Collect) -> None:
    asked = replace(TOKEN, token=lambda number: quote(f"a+/={number},$", safe=""), sent=unquote)
    api = table(asked)
    found = collect(api, replace(NEXT, cursor_encoded=True), **DATA)
    assert found.lines == api.reference()
    assert found.targets[1] == "/items?cursor=a%2B%2F%3D1%2C%24"


@pytest.mark.parametrize("place", ["query", "header"])
def test_a_token_in_a_header_may_be_utf_8(collect: Collect, place: Any) -> None:
    written = "é€".encode().decode("latin-1")
    seen: list[str] = []

    def api(request: Request) -> Reply:
        came = request.headers.get("x-cursor") if place == "header" else request.query.get("X-Cursor")
        seen.append(str(came))
        return with_headers([len(seen)], **({} if came else {"X_Next": written}))

    strategy = HeaderCursor(cursor_header="X-Next", cursor_param="X-Cursor", inject_into=place, missing_next="end")
    assert collect(api, strategy).rows == [1, 2]
    assert seen == ["None", written if place == "header" else "é€"]


def test_the_first_request_carries_an_empty_cursor(collect: Collect) -> None:
    api = table(replace(TOKEN, first=""))
    found = collect(api, replace(NEXT, first_cursor=""), **DATA)
    assert found.lines == api.reference()
    assert found.targets[0] == "/items?cursor="


def test_the_same_token_again_is_the_end_where_that_is_configured(collect: Collect) -> None:
    api = table(replace(TOKEN, end="same"))
    found = collect(api, NEXT, completeness={"on_repeat": "end"}, **DATA)
    assert found.lines == api.reference()
    assert len(found.seen) == 4


def test_the_same_token_again_is_an_error_elsewhere(collect: Collect) -> None:
    error = collect.error(table(replace(TOKEN, end="same")), NEXT, **DATA)
    assert isinstance(error, IncompleteError)
    assert "page 4 of partition 0 has the same request as an earlier page" in str(error)


def test_an_empty_page_in_the_middle_that_has_a_token_is_not_the_end(collect: Collect) -> None:
    api = table(replace(TOKEN, empty=(0, 2, 3)))
    found = collect(api, NEXT, **DATA)
    assert found.lines == api.reference()
    assert [page.count for page in found.pages] == [0, 20, 0, 0, 20, 10]


@pytest.mark.parametrize("page_rows", [2, 3, 7, 20])
def test_an_inclusive_start_key_repeats_one_row_at_each_border_and_exactly_it_is_dropped(
    collect: Collect, page_rows: int
) -> None:
    api = table(ByKey(size=page_rows, params=("from",), inclusive=True))
    found = collect(api, Keyset(key_path="id", key_param="from", inclusive=True), **DATA)
    assert found.lines == api.reference()
    served = page_rows + (len(found.pages) - 2) * (page_rows - 1)
    assert served >= len(ROWS)


def test_rows_that_are_alike_but_for_their_key_are_not_dropped(collect: Collect) -> None:
    rows = [b'{"id":%d,"name":"x"}' % number for number in range(1, 12)]
    api = table(ByKey(size=3, inclusive=True), rows=rows)
    assert collect(api, Keyset(key_path="id", key_param="after_id", inclusive=True), **DATA).lines == api.reference()


@pytest.mark.parametrize("alike", [2, 3, 5])
def test_rows_that_share_the_key_of_the_border_come_once_each(collect: Collect, alike: int) -> None:
    asked = ByKey(size=6, fields=("at",), params=("since",), inclusive=True)
    api = table(asked, rows=events(61, alike))
    found = collect(api, Keyset(key_path="at", key_param="since", inclusive=True), **DATA)
    assert found.lines == api.reference()
    assert found.targets[1] == f"/items?since=2024-05-01T0{5 // alike}%3A00%3A00%2B02%3A00"


@pytest.mark.parametrize("page_rows", [6, 7])
def test_more_rows_with_one_key_than_a_page_can_hold_are_not_passed_over(collect: Collect, page_rows: int) -> None:
    api = table(ByKey(size=page_rows, fields=("at",), params=("since",), inclusive=True), rows=events(60, 8))
    error = collect.error(api, Keyset(key_path="at", key_param="since", inclusive=True), **DATA)
    assert isinstance(error, ResponseError)
    assert "raise page_size, or add a field to key_path" in str(error)


def test_a_compound_key_leads_through_rows_that_share_one_part_of_it(collect: Collect) -> None:
    api = table(ByKey(size=6, fields=("at", "id"), params=("at", "id")), rows=events(60, 8))
    found = collect(api, Keyset(key_path=["at", "id"], key_param=["at", "id"]), **DATA)
    assert found.lines == api.reference()


def test_a_flag_spares_the_empty_page_behind_the_last_key(collect: Collect) -> None:
    api = table(ByKey(), More())
    found = collect(api, Keyset(key_path="id", key_param="after_id", has_more_path="has_more"), **DATA)
    assert (found.lines, len(found.seen)) == (api.reference(), 3)
