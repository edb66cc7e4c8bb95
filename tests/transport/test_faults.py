"""Every fault on the wire: once, and the page is exact; for ever, and the page fails in so many attempts."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_paginated.core.errors import PageFailed
from airflow_paginated.transport import RequestRetry
from tests.servers import (
    BadChunkSize,
    CloseBeforeHeaders,
    CorruptGzip,
    CutChunk,
    CutHeaders,
    DribbleBody,
    DribbleHeaders,
    DropIdle,
    EmptyOK,
    Fault,
    FaultServer,
    Given,
    HtmlOK,
    PagedApi,
    Raw,
    ResetBeforeHeaders,
    ResetInBody,
    ResetOnReuse,
    ServerError,
    ShortBody,
    StallBeforeHeaders,
    StallInBody,
    TruncatedGzip,
    TruncatedJson,
    UnframedCut,
    on_page,
    seven_faults,
)
from tests.servers.wire import Framing
from tests.transport.clients import API, ONCE, SECRET, connect, eventually, fetch, lines, page, refused, short

LATE = "the response took longer than its deadline"
FAULTS: list[tuple[Fault, str]] = [
    (ResetBeforeHeaders(), "the connection broke (ConnectionResetError)"),
    (CloseBeforeHeaders(), "the connection broke (RemoteDisconnected)"),
    (StallBeforeHeaders(), LATE),
    (CutHeaders(), "the body is empty"),
    (ResetInBody(at=0.0), "the connection broke (ConnectionResetError)"),
    (ResetInBody(), "the connection broke (ConnectionResetError)"),
    (ShortBody(at=0.0), "the body was cut short"),
    (ShortBody(), "the body was cut short"),
    (ShortBody(at=1.0), "the body was cut short"),
    (UnframedCut(at=0.0), "the body is empty"),
    (UnframedCut(), "the body is not JSON"),
    (UnframedCut(at=1.0), "the body is not JSON"),
    (CutChunk(), "the body was cut short"),
    (BadChunkSize(), "the body was cut short"),
    (TruncatedGzip(at=0.0), "the gzip body is truncated"),
    (TruncatedGzip(), "the gzip body is truncated"),
    (TruncatedGzip(at=1.0), "the gzip body is truncated"),
    (CorruptGzip("data"), "the gzip body is corrupt"),
    (CorruptGzip("crc"), "the gzip body is corrupt"),
    (StallInBody(), LATE),
    (DribbleBody(), LATE),
    (DribbleHeaders(padding=1000), LATE),
    (EmptyOK(), "the body is empty"),
    (HtmlOK(), "the body is not JSON"),
    (TruncatedJson(), "the body is not JSON"),
    (Given(200, b'{"data": [1, NaN]}'), "the body is not JSON"),
    (Given(200, b'{"data": ["\xff"]}'), "the body is not utf-8"),
    (Raw(b"SMTP ready\r\n"), "the connection broke (ProtocolError)"),
    (Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\n[]"), "the connection broke (InvalidHeader)"),
    *((ServerError(status), f"{status} ") for status in (408, 425, 500, 502, 503, 504)),
    (Given(503, b"busy", headers=(("Content-Encoding", "br"),)), "503 Service Unavailable"),
]


def name(fault: object) -> str | None:
    """Return the name of a test case."""
    return re.sub(r"[^\w=.]+", " ", repr(fault))[:40] if not isinstance(fault, str) else ""


@pytest.mark.parametrize(("fault", "cause"), FAULTS, ids=name)
def test_once(server: FaultServer, fault: Fault, cause: str) -> None:
    server.faults = on_page(2, fault, times=1)
    got = fetch(server.url, page(2), timeouts=short(attempt=1.0 if cause == LATE else 20.0))
    assert got.lines == lines(2)
    assert (got.count, got.attempts, got.envelope["meta"]["page"]) == (100, 2, 2)
    assert server.log.counts == {("", 1): 2}


@pytest.mark.parametrize(("fault", "cause"), FAULTS, ids=name)
def test_for_ever(server: FaultServer, fault: Fault, cause: str) -> None:
    server.faults = on_page(2, fault)
    timeouts = short(attempt=0.2 if cause == LATE else 20.0)
    error = refused(server.url, page(2, query={"per_page": 100}), timeouts=timeouts)
    asked = f"GET {server.url}/employees?page=2&token=***&per_page=***"
    assert isinstance(error, PageFailed)
    assert str(error).startswith(f"page 2 ({asked}) failed in 3 attempts; last cause: {cause}")
    assert server.log.counts == {("", 1): 3}
    assert error.__cause__ is None


def test_a_page_of_a_partition_is_named_with_it(server: FaultServer) -> None:
    server.faults = on_page(3, ServerError())
    error = refused(server.url, page(3, partition=(7, 1)))
    assert str(error).startswith("page 3 of partition 7.1 (GET ")


@pytest.mark.parametrize("framing", ["plain", "chunked", "gzip", "gzip+chunked", "unframed"])
def test_every_framing(server: FaultServer, framing: Framing) -> None:
    server.framing = framing
    with connect(server.url) as client:
        assert b"".join(client.fetch(page(number)).lines for number in (1, 2, 3)) == API.reference()


def test_a_fifth_of_the_requests_fails_in_seven_ways() -> None:
    api = PagedApi(rows=6000, page_size=30)
    retry = RequestRetry(backoff_factor=0.002)
    with FaultServer(api, seven_faults(0.2, seed=5)) as server, connect(server.url, retry=retry) as client:
        with ThreadPoolExecutor(8) as threads:
            pages = list(threads.map(lambda number: client.fetch(page(number)), range(1, 201)))
        summary = server.log.summary()
        assert b"".join(each.lines for each in pages) == api.reference()
        assert len(summary.faults) == 7
        assert client.traffic.requests == summary.requests == sum(each.attempts for each in pages) > 220
        assert client.traffic.retries == summary.requests - 200
        assert summary.peak_connections <= 8


def test_what_a_page_says_of_itself(server: FaultServer) -> None:
    server.latency = 0.05
    got = fetch(server.url, page(1))
    assert got.request == page(1)
    assert got.headers["content-type"] == "application/json"
    assert got.bytes == int(got.headers["content-length"])
    assert 0.05 <= got.seconds < 20


def test_a_connection_that_died_while_it_was_idle_is_free(server: FaultServer) -> None:
    server.faults = on_page(1, ResetOnReuse())
    with connect(server.url, retry=ONCE) as client:
        client.fetch(page(1))
        got = client.fetch(page(2))
    assert (got.lines, got.attempts) == (lines(2), 2)
    assert [seen.connection for seen in server.log.requests] == [1, 1, 2]


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_was_closed_while_it_was_idle_is_not_used_again(server: FaultServer, reset: bool) -> None:
    server.faults = on_page(1, DropIdle(after=0.0, reset=reset))
    with connect(server.url, retry=ONCE) as client:
        client.fetch(page(1))
        eventually(lambda: not server.open_transports)
        assert client.fetch(page(2)).lines == lines(2)


def test_a_connection_that_dies_silently_is_replaced(server: FaultServer) -> None:
    server.faults = on_page(2, StallBeforeHeaders(), times=1)
    with connect(server.url, timeouts=short(attempt=20, read=1.0)) as client:
        client.fetch(page(1))
        assert client.fetch(page(2)).attempts == 2
    assert [seen.connection for seen in server.log.requests] == [1, 1, 2]


def test_silence_is_named_by_its_limit(server: FaultServer) -> None:
    server.faults = on_page(1, StallBeforeHeaders())
    error = refused(server.url, timeouts=short(attempt=20, read=0.05))
    assert "last cause: the server was silent for longer than timeouts.read" in str(error)


@pytest.mark.parametrize("fault", [ResetInBody(), ResetBeforeHeaders()])
def test_only_the_first_death_of_a_page_is_free_and_only_before_a_response(server: FaultServer, fault: Fault) -> None:
    server.faults = on_page(2, fault)
    with connect(server.url) as client:
        client.fetch(page(1))
        with pytest.raises(PageFailed):
            client.fetch(page(2))
    free = isinstance(fault, ResetBeforeHeaders)
    assert server.log.counts[("", 1)] == 3 + free


def test_no_secret_of_the_query_is_shown(server: FaultServer) -> None:
    server.faults = on_page(2, ServerError())
    assert SECRET not in str(refused(server.url, page(2)))


def test_a_page_that_is_given_up_takes_no_time(server: FaultServer) -> None:
    server.faults = on_page(1, ServerError())
    started = time.monotonic()
    patient = RequestRetry(backoff_factor=1e9, backoff_max=1e9)
    error = refused(server.url, retry=patient, timeouts=short(page=5))
    assert "; no time left within timeouts.page=5 s" in str(error)
    assert time.monotonic() - started < 5
