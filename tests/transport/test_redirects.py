"""Redirects and absolute URLs: followed within the origin, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_paginated.core.errors import ConfigurationError, OriginError, PermanentError, RequestRefused
from airflow_paginated.core.values import PageRequest
from airflow_paginated.transport import RequestRetry
from tests.servers import FaultServer, Redirect, Reply, Request, ResetBeforeHeaders
from tests.servers.schedules import Schedule
from tests.transport.clients import API, Calls, connect, fetch, headers_of, lines, page, refused, short

TOKEN = {"Authorization": "Bearer t", "X-Api-Key": "k"}
POST = PageRequest("employees", "POST", body={"page": 2})


def moved(to: str, status: int = 302, **where: str) -> Schedule:
    """Redirect the requests to /employees; those to anywhere else are answered."""
    return lambda request, nth: Redirect(to.format(**where), status) if request.path == "/employees" else None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "to", ["/v2/employees?page=2", "v2/employees?page=2", "?/../v2/employees&page=2", "{url}/v2/employees?page=2#top"]
)
def test_a_redirect_within_the_origin_is_followed_with_its_credentials(
    server: FaultServer, status: int, to: str
) -> None:
    if to.startswith("?"):
        server.faults = lambda request, nth: Redirect("?page=2", status) if request.query["page"] == "1" else None
    else:
        server.faults = moved(to, status, url=server.url)
    got = fetch(server.url, headers=TOKEN)
    assert got.lines == lines(2)
    assert got.request == page(1)
    assert [seen.get("authorization") for seen in headers_of(server)] == ["Bearer t"] * 2
    assert [seen.get("x-api-key") for seen in headers_of(server)] == ["k"] * 2
    assert {seen.connection for seen in server.log.requests} == {1}


ELSEWHERE = [
    "http://127.0.0.1:{other}/employees",
    "//127.0.0.1:{other}/employees",
    "http://localhost:{port}/employees",
    "http://127.0.0.1/employees",
    "https://127.0.0.1:{port}/employees",
    "http://169.254.169.254/latest/meta-data",
    "http://2130706433:{port}/",
    "http://0x7f.1:{port}/",
    "http://[::1]:{port}/",
    "http://127.0.0.1.evil.test:{port}/",
    "http://user@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}@evil.test/",
    "http://evil.test\\@127.0.0.1:{port}/",
    "http:\\\\evil.test/",
    "\\\\evil.test/",
    "file:///etc/passwd",
    "ftp://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/",
    "data:application/json,[]",
    "javascript:alert(1)",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:{port}x/",
    "http://[127.0.0.1/",
]


@pytest.mark.parametrize("to", ELSEWHERE)
@pytest.mark.parametrize("request_", [page(1), POST], ids=["GET", "POST"])
def test_a_redirect_away_from_the_origin_is_refused(server: FaultServer, to: str, request_: PageRequest) -> None:
    with FaultServer(API) as other:
        server.faults = moved(to, 307, port=str(server.port), other=str(other.port))
        error = refused(server.url, request_, headers=TOKEN)
        assert not other.log.requests
    assert isinstance(error, OriginError)
    assert str(error).startswith(f"page 1 ({request_.method} {server.url}/employees")
    assert len(server.log.requests) == 1


@pytest.mark.parametrize("to", ELSEWHERE)
def test_a_page_away_from_the_origin_is_refused(server: FaultServer, to: str) -> None:
    with FaultServer(API) as other:
        path = to.format(port=server.port, other=other.port)
        outcome = Calls(lambda request: fetch(server.url, request, headers=TOKEN), [page(1, path)]).join()[0]
        assert not other.log.requests
    # What is no absolute URL is a path below the base URL.
    assert isinstance(outcome, PermanentError) or "://" not in path
    assert all(seen.request.path.endswith(path.lstrip("/")) for seen in server.log.requests)
    assert "user@" not in str(outcome)


def test_an_absolute_page_of_the_origin_is_fetched(server: FaultServer) -> None:
    request = PageRequest(f"{server.url.upper().replace('HTTP', 'http')}/employees?page=2", query={"per_page": 100})
    assert fetch(server.url + "/", request, headers=TOKEN).lines == lines(2)
    assert server.log.requests[0].request.query == {"page": "2", "per_page": "100"}


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_post_is_not_turned_into_a_get(server: FaultServer, status: int) -> None:
    server.faults = moved("/v2/employees", status)
    error = refused(server.url, POST)
    assert isinstance(error, RequestRefused)
    assert f"{status} would turn a POST into a GET: check the endpoint" in str(error)
    assert len(server.log.requests) == 1


@pytest.mark.parametrize("status", [307, 308])
def test_a_post_is_sent_again_within_the_origin(server: FaultServer, status: int) -> None:
    server.faults = moved("/v2/employees", status)
    assert fetch(server.url, POST).lines == lines(2)
    assert [seen.request.body for seen in server.log.requests] == [b'{"page":2}'] * 2


def test_a_redirect_to_nowhere(server: FaultServer) -> None:
    server.faults = moved("")
    error = refused(server.url)
    assert isinstance(error, RequestRefused)
    assert "302 without a Location" in str(error)


def test_a_redirect_in_a_circle(server: FaultServer) -> None:
    server.faults = moved("/employees")
    error = refused(server.url)
    assert isinstance(error, RequestRefused)
    assert "the API redirects more than 5 times" in str(error)
    assert len(server.log.requests) == 6


def test_a_redirect_to_a_connection_that_dies_is_bounded(server: FaultServer) -> None:
    def schedule(request: Request, nth: int) -> object:
        return Redirect("/away") if request.path == "/employees" else ResetBeforeHeaders()

    server.faults = schedule  # type: ignore[assignment]
    error = refused(server.url, timeouts=short(attempt=20, page=20))
    assert "failed in 4 attempts" in str(error)  # the first death of a reused connection is free
    assert len(server.log.requests) == 8


@pytest.mark.parametrize(
    "base", ["http://user:pass@127.0.0.1", "ftp://127.0.0.1", "127.0.0.1", "http://", "http://a\\b"]
)
def test_a_base_url_must_be_one(base: str) -> None:
    with pytest.raises(OriginError):
        connect(base)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"accept": "text/csv"}, {"accept": "text/csv"}),
        ({"USER-AGENT": "me"}, {"user-agent": "me"}),
        ({"authorization": "Bearer other"}, {"authorization": "Bearer other"}),
        ({"X-Other": "é"}, {"x-other": "é", "x-api-key": "k"}),
        ({"content-type": "application/vnd.api+json"}, {"content-type": "application/vnd.api+json"}),
        ({}, {"accept": "application/json", "accept-encoding": "gzip", "user-agent": "airflow-provider-paginated-api"}),
        ({}, {"content-type": "application/json", "content-length": "10"}),
    ],
)
def test_headers_replace_each_other_in_any_case(
    server: FaultServer, given: dict[str, str], sent: dict[str, str]
) -> None:
    seen: list[bytes] = []

    def app(request: Request) -> Reply:
        seen.extend(name.encode() for name in request.headers)
        return API(request)

    server.app = app
    fetch(server.url, replace(POST, headers=given), headers=TOKEN)
    assert sent.items() <= dict(headers_of(server)[0]).items()
    assert headers_of(server)[0]["content-length"] == "10"


@pytest.mark.parametrize("value", ["a\nb", "a\r\nX: y", " a", "a\n", "\u2713", 7, None])
def test_a_header_that_http_cannot_carry_is_refused_unseen(server: FaultServer, value: str) -> None:
    error = refused(server.url, page(1, headers={"X-Key": value}))
    assert isinstance(error, ConfigurationError)
    assert str(error).endswith(
        "headers: the name or value of 'X-Key' contains characters that HTTP headers cannot carry"
    )
    assert error.__cause__ is None
    assert not server.log.requests


@pytest.mark.parametrize("name", ["a b", "a\r\nb", "\u2713", "\xe9", "", ":"])
def test_so_is_a_name_of_one(server: FaultServer, name: str) -> None:
    error = refused(server.url, page(1, headers={name: "x"}))
    assert isinstance(error, ConfigurationError)
    assert "contains characters that HTTP headers cannot carry" in str(error)
    assert not server.log.requests


@pytest.mark.parametrize("query", [{"q": "\ud800"}, {"\ud800": "q"}, {"q": ["a", "\udfff"]}])
def test_a_query_that_is_no_unicode_is_refused(server: FaultServer, query: dict[str, object]) -> None:
    error = refused(server.url, page(1, query=query))
    assert isinstance(error, ConfigurationError)
    assert str(error).endswith("query: a name or a value is not valid Unicode")
    assert not server.log.requests


@pytest.mark.parametrize("value", ["a\nb", "\u2713"])
def test_a_header_of_the_connection_too(server: FaultServer, value: str) -> None:
    error = refused(server.url, headers={"X-Key": value})
    assert isinstance(error, ConfigurationError)
    assert value not in str(error)
    assert not server.log.requests


@pytest.mark.parametrize("allowed", [(), ("POST",)])
def test_the_base_path_is_kept(server: FaultServer, allowed: tuple[str, ...]) -> None:
    with connect(f"{server.url}/api/v1/", retry=RequestRetry(allowed_methods=allowed)) as client:
        for path in ("employees", "/employees", "//employees"):
            assert client.fetch(page(1, path)).count == 100
    assert {seen.request.path for seen in server.log.requests} == {"/api/v1/employees"}
