"""A request that may have been acted on is sent again only where that is declared harmless."""

from __future__ import annotations

import pytest

from airflow_paginated.core.errors import PageFailed
from airflow_paginated.core.values import PageRequest
from airflow_paginated.transport import RequestRetry
from tests.servers import (
    CutHeaders,
    DropIdle,
    Fault,
    FaultServer,
    HtmlOK,
    ResetBeforeHeaders,
    ResetInBody,
    ResetOnReuse,
    RetryLater,
    ServerError,
    ShortBody,
    StallBeforeHeaders,
    TruncatedGzip,
)
from tests.transport.clients import QUICK, blackhole, connect, eventually, fetch, lines, refused, refusing, short

POST = PageRequest("employees", "POST", body={"page": 2}, index=1)
HARMLESS = RequestRetry(max_attempts=3, backoff_factor=0.002, allowed_methods=["post"])
LOST: list[Fault] = [
    ResetBeforeHeaders(),
    CutHeaders(),
    ResetInBody(),
    ShortBody(),
    TruncatedGzip(),
    HtmlOK(),
    StallBeforeHeaders(),
    ServerError(500),
    ServerError(503),
]


def name(fault: Fault) -> str:
    return type(fault).__name__


@pytest.mark.parametrize("fault", LOST, ids=name)
def test_a_post_whose_answer_is_lost_is_not_sent_again(server: FaultServer, fault: Fault) -> None:
    server.faults = lambda request, nth: fault
    error = refused(server.url, POST, timeouts=short(attempt=1.0))
    assert isinstance(error, PageFailed)
    assert f"page 2 (POST {server.url}/employees) failed in 1 attempt; last cause: " in str(error)
    assert str(error).endswith(
        ", and the server may have acted on the POST; if sending it twice is harmless,"
        " add its method to retry.allowed_methods"
    )
    assert len(server.log.requests) == 1


@pytest.mark.parametrize("fault", LOST, ids=name)
def test_it_is_where_that_is_declared_harmless(server: FaultServer, fault: Fault) -> None:
    server.faults = lambda request, nth: fault if nth == 1 else None
    got = fetch(server.url, POST, timeouts=short(attempt=1.0), retry=HARMLESS)
    assert (got.lines, got.attempts) == (lines(2), 2)
    assert [seen.request.body for seen in server.log.requests] == [b'{"page":2}'] * 2


@pytest.mark.parametrize("status", [429, 503])
def test_it_is_where_the_api_refused_it(server: FaultServer, status: int) -> None:
    server.faults = lambda request, nth: RetryLater("0", status) if nth == 1 else None
    assert fetch(server.url, POST, retry=QUICK).attempts == 2


def test_it_is_where_nobody_can_have_seen_it() -> None:
    with refusing() as port:
        assert "failed in 3 attempts" in str(refused(f"http://127.0.0.1:{port}", POST))
    with blackhole() as port:
        timeouts = short(connect=0.05, attempt=20)
        assert "failed in 3 attempts" in str(refused(f"http://127.0.0.1:{port}", POST, timeouts=timeouts))
    assert "failed in 3 attempts" in str(refused("http://no-such-host.invalid", POST))


def test_a_dead_connection_may_have_carried_it(server: FaultServer) -> None:
    server.faults = lambda request, nth: ResetOnReuse()
    with connect(server.url) as client:
        client.fetch(POST)
        with pytest.raises(PageFailed, match="the server may have acted on the POST"):
            client.fetch(POST)


def test_a_connection_that_is_known_to_be_closed_has_not(server: FaultServer) -> None:
    server.faults = lambda request, nth: DropIdle(after=0.0)
    with connect(server.url) as client:
        client.fetch(POST)
        eventually(lambda: not server.open_transports)
        assert client.fetch(POST).attempts == 1


def test_a_body_is_json_of_any_number(server: FaultServer) -> None:
    fetch(server.url, PageRequest("employees", "POST", body={"page": 1, "after": 10**22, "name": "é"}))
    assert server.log.requests[0].request.body == b'{"page":1,"after":10000000000000000000000,"name":"\xc3\xa9"}'
    fetch(server.url, PageRequest("employees", "POST", query={"page": 3}, body={}))
    assert server.log.requests[1].request.body == b"{}"
    fetch(server.url, PageRequest("employees", "POST", query={"page": 3}))
    assert server.log.requests[2].request.headers["content-length"] == "0"
