"""Nothing lasts longer than its limit: neither stalls nor dribbles, in bodies, headers or handshakes.

The faults go on for half a minute or for ever; the bounds are what a slow machine still keeps.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from airflow_paginated.core.errors import PageFailed
from airflow_paginated.transport import RequestRetry, SessionOptions
from tests.servers import (
    DribbleBody,
    DribbleHeaders,
    Fault,
    FaultServer,
    RetryLater,
    StallBeforeHeaders,
    StallInBody,
)
from tests.servers.wire import Framing
from tests.transport.clients import QUICK, blackhole, connect, eventually, lines, page, raw_server, refused, short

LATE = "the response took longer than its deadline"
ONE_BY_ONE = RequestRetry(max_attempts=1)
SLOW: list[Fault] = [
    StallBeforeHeaders(),
    StallInBody(),
    DribbleBody(every=0.02),
    DribbleHeaders(every=0.02, padding=6000),
]


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail when the block takes longer; the next limit above is at least five times as long."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


@pytest.mark.parametrize("framing", ["plain", "chunked", "gzip", "unframed"])
@pytest.mark.parametrize("fault", SLOW, ids=lambda fault: type(fault).__name__)
def test_an_attempt_is_bounded_in_every_framing(server: FaultServer, fault: Fault, framing: Framing) -> None:
    server.faults, server.framing = lambda request, nth: fault, framing
    with within(6):
        error = refused(server.url, retry=ONE_BY_ONE, timeouts=short(attempt=0.1))
    assert str(error).endswith(f"failed in 1 attempt; last cause: {LATE}")


@pytest.mark.parametrize("fault", SLOW, ids=lambda fault: type(fault).__name__)
def test_a_page_is_bounded_whatever_its_attempts_may_take(server: FaultServer, fault: Fault) -> None:
    server.faults = lambda request, nth: fault
    with within(6):
        error = refused(server.url, timeouts=short(attempt=30, page=0.3))
    assert isinstance(error, PageFailed)
    assert str(error).endswith(f"{LATE}; no time left within timeouts.page=0.3 s")


def test_the_deadline_of_a_page_cuts_its_last_attempt_short(server: FaultServer) -> None:
    server.faults = lambda request, nth: StallInBody()
    patient = RequestRetry(max_attempts=100, backoff_factor=0.0)
    with within(10):
        refused(server.url, retry=patient, timeouts=short(attempt=0.4, page=1.0))
    assert 2 <= len(server.log.requests) <= 4


def test_throttling_for_ever_ends_with_the_page(server: FaultServer) -> None:
    server.faults = lambda request, nth: RetryLater("1")
    with within(12):
        error = refused(server.url, timeouts=short(page=2.5))
    assert str(error).endswith("last cause: 429 Too Many Requests; no time left within timeouts.page=2.5 s")
    assert len(server.log.requests) <= 3


def test_a_handshake_that_never_starts_is_bounded() -> None:
    with FaultServer(lambda request: None, mute=True) as mute, within(6):  # type: ignore[arg-type,return-value]
        error = refused(f"https://127.0.0.1:{mute.port}", retry=ONE_BY_ONE, timeouts=short(attempt=0.1))
    assert str(error).endswith(LATE)


def test_a_handshake_that_dribbles_is_bounded() -> None:
    def dribble(peer: socket.socket) -> None:
        peer.sendall(b"\x16\x03\x03\x40\x00")  # a handshake record of 16 KiB
        while True:
            peer.sendall(b"\x02")
            time.sleep(0.02)

    with raw_server(dribble) as port, within(6):
        error = refused(f"https://127.0.0.1:{port}", retry=ONE_BY_ONE, timeouts=short(attempt=0.1))
    assert str(error).endswith(LATE)


def test_a_handshake_is_silent_for_no_longer_than_connecting_may_take() -> None:
    with FaultServer(lambda request: None, mute=True) as mute, within(6):  # type: ignore[arg-type,return-value]
        timeouts = short(attempt=30, connect=0.1)
        error = refused(f"https://127.0.0.1:{mute.port}", retry=QUICK, timeouts=timeouts)
    assert "failed in 3 attempts" in str(error)


def test_connecting_is_bounded() -> None:
    with blackhole() as port, within(6):
        timeouts = short(attempt=30, connect=0.1)
        error = refused(f"http://127.0.0.1:{port}", timeouts=timeouts)
    assert str(error).endswith("failed in 3 attempts; last cause: connecting took longer than timeouts.connect")
    assert f"http://127.0.0.1:{port}/" in str(error)


def test_connecting_is_bounded_by_the_attempt_too() -> None:
    with blackhole() as port, within(6):
        error = refused(f"http://127.0.0.1:{port}", retry=ONE_BY_ONE, timeouts=short(connect=30))
    assert str(error).endswith(LATE)


def test_a_tunnel_that_never_opens_is_bounded() -> None:
    with FaultServer(lambda request: None, mute=True) as proxy, within(6):  # type: ignore[arg-type,return-value]
        session = SessionOptions(proxies={"https": f"http://127.0.0.1:{proxy.port}"})
        error = refused("https://127.0.0.1:9", session=session, retry=ONE_BY_ONE, timeouts=short(attempt=0.1))
    assert str(error).endswith(LATE)


def test_a_session_is_as_good_as_new_after_a_deadline(server: FaultServer) -> None:
    server.faults = lambda request, nth: StallInBody() if nth == 1 else None
    # A busy machine may miss the deadline more often than the fault makes it.
    patient = RequestRetry(max_attempts=100, budget=100, backoff_factor=0.0)
    with connect(server.url, timeouts=short(attempt=0.1), retry=patient) as client:
        for number in (1, 2, 3):
            got = client.fetch(page(number))
            assert got.lines == lines(number)
            assert got.attempts >= 2


def test_a_deadline_that_passes_between_two_pages_costs_nothing(server: FaultServer) -> None:
    with connect(server.url, timeouts=short(attempt=1.0), retry=ONE_BY_ONE) as client:
        client.fetch(page(1))
        passed = time.monotonic() + 1.3
        eventually(lambda: time.monotonic() > passed)
        assert client.fetch(page(2)).attempts == 1
    # The watchdog leaves an idle connection alone.
    assert server.log.summary().connections == 1


def test_the_wait_for_the_first_turn_is_not_counted(server: FaultServer) -> None:
    server.faults = lambda request, nth: RetryLater("1") if request.query["page"] == "1" and nth == 1 else None
    with connect(server.url, timeouts=short(page=2.0)) as client:
        client.fetch(page(1))
        got = client.fetch(page(2))
    assert got.seconds < 2.0
