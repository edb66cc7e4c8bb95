"""Connections, threads and file descriptors: as few as there are workers, and none when the client is closed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from airflow_paginated.core.errors import Cancelled
from airflow_paginated.core.policies import Timeouts
from airflow_paginated.transport import PageClient, RateLimit, RequestRetry, SessionOptions
from airflow_paginated.transport.connections import SessionPool
from tests.servers import (
    DribbleBody,
    DribbleHeaders,
    FaultServer,
    Raw,
    RetryLater,
    ServerError,
    ServerProcess,
    StallBeforeHeaders,
    StallInBody,
)
from tests.transport.clients import API, Calls, blackhole, connect, eventually, page

PATIENT = Timeouts(connect=60, read=60, attempt=60)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def watchdogs() -> int:
    return sum(thread.name == "page-watchdog" for thread in threading.enumerate())


def test_one_connection_for_each_worker(server: FaultServer) -> None:
    server.latency = 0.002
    with connect(server.url) as client, ThreadPoolExecutor(8) as threads:
        pages = list(threads.map(lambda number: client.fetch(page(1 + number % 3)), range(200)))
    assert sum(each.count for each in pages) == 20_000
    summary = server.log.summary()
    assert summary.requests == 200
    assert summary.connections <= 8
    assert summary.peak_in_flight <= 8


def test_a_worker_keeps_its_connection_through_errors(server: FaultServer) -> None:
    server.faults = lambda request, nth: ServerError() if nth % 2 else None
    with connect(server.url) as client:
        for number in (1, 2, 3):
            assert client.fetch(page(number)).attempts == 2
    assert server.log.summary().connections == 1


def test_the_connections_are_closed_with_the_client(server: FaultServer) -> None:
    with connect(server.url) as client:
        Calls(client.fetch, [page(number) for number in (1, 2, 3)]).join()
        # A thread that comes late may take the connection of one that is done.
        assert 1 <= len(server.open_transports) <= 3
    eventually(lambda: not server.open_transports)


Holding = Callable[[], AbstractContextManager[tuple[PageClient, Callable[[], object]]]]
"""Opens a client, and says what holds when its requests hang where they should."""


@contextmanager
def hanging(fault: object, framing: str = "plain") -> Iterator[tuple[PageClient, Callable[[], object]]]:
    with FaultServer(API, lambda request, nth: fault, framing=framing) as server:  # type: ignore[arg-type,return-value]
        yield connect(server.url, timeouts=PATIENT), lambda: len(server.log.requests) == 4


@contextmanager
def in_a_handshake() -> Iterator[tuple[PageClient, Callable[[], object]]]:
    with FaultServer(API, mute=True) as server:
        client = connect(f"https://127.0.0.1:{server.port}", timeouts=PATIENT)
        yield client, lambda: len(server.open_transports) == 4


@contextmanager
def in_a_tunnel() -> Iterator[tuple[PageClient, Callable[[], object]]]:
    with FaultServer(API, mute=True) as proxy:
        session = SessionOptions(proxies={"https": proxy.url})
        client = connect("https://127.0.0.1:9", timeouts=PATIENT, session=session)
        yield client, lambda: len(proxy.open_transports) == 4


def connecting(port: int) -> int:
    """Count the connections to this port that wait for a response (SYN_SENT)."""
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "02" for row in rows)


@contextmanager
def in_a_black_hole() -> Iterator[tuple[PageClient, Callable[[], object]]]:
    with blackhole() as port:
        fillers = connecting(port)
        # A connection request lasts until its timeout, whoever closes the client.
        client = connect(f"http://127.0.0.1:{port}", timeouts=replace(PATIENT, connect=2.0))
        yield client, lambda: connecting(port) == fillers + 4


@contextmanager
def waiting(fault: object, **given: object) -> Iterator[tuple[PageClient, Callable[[], object]]]:
    with FaultServer(API, lambda request, nth: fault) as server:  # type: ignore[arg-type,return-value]
        client = connect(server.url, **given)
        yield client, lambda: server.log.requests


SLOW = RequestRetry(backoff_factor=1e9, backoff_max=1e9)
AGES = Timeouts(page=1e12)
HELD: dict[str, Holding] = {
    "before the headers": lambda: hanging(StallBeforeHeaders(60)),
    "in the headers": lambda: hanging(DribbleHeaders(every=0.02, padding=10000)),
    "in a body": lambda: hanging(StallInBody(60)),
    "in a dribbled body": lambda: hanging(DribbleBody(every=0.02)),
    "in a dribbled gzip": lambda: hanging(DribbleBody(size=1, every=0.02), "gzip"),
    "in a body without framing": lambda: hanging(StallInBody(60), "unframed"),
    "in a response that closes": lambda: hanging(Raw(b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n", "keep")),
    "in a handshake": in_a_handshake,
    "in a tunnel": in_a_tunnel,
    "in a connection request": in_a_black_hole,
    "in a pause": lambda: waiting(RetryLater("250"), timeouts=AGES),
    "in a backoff": lambda: waiting(ServerError(), timeouts=AGES, retry=SLOW),
    "at a rate limit": lambda: waiting(StallBeforeHeaders(60), rate_limit=RateLimit(requests=1e-3)),
}


@pytest.mark.parametrize("held", HELD.values(), ids=HELD)
def test_closing_frees_threads_and_sockets_at_once(held: Holding) -> None:
    before = watchdogs()
    with held() as (client, hangs):
        calls = Calls(client.fetch, [page(number) for number in (1, 2, 3, 1)])
        eventually(hangs)
        with pytest.raises(AssertionError, match="a call still runs"):
            calls.join(0.05)
        started = time.monotonic()
        client.close()
        outcomes = calls.join()
        # An idle machine takes a millisecond; each wait that was cut short had a minute to go.
        assert time.monotonic() - started < 5
        assert [type(each) for each in outcomes] == [Cancelled] * 4
        with pytest.raises(Cancelled):
            client.fetch(page(1))
        eventually(lambda: watchdogs() == before)


def test_what_is_closed_leaves_no_descriptor_behind() -> None:
    with ServerProcess({"api": {"rows": 300, "page_size": 100}, "faults": None}) as server:
        with connect(server.url) as client:
            Calls(client.fetch, [page(1) for _ in range(4)]).join()
        before = descriptors()
        server.set_faults({"type": "on_page", "page": 1, "fault": {"type": "StallInBody", "seconds": 60}})
        client = connect(server.url, timeouts=PATIENT)
        assert client.fetch(page(2)).count == 100
        calls = Calls(client.fetch, [page(1) for _ in range(4)])
        eventually(lambda: server.summary().requests == 9)
        assert descriptors() > before
        client.close()
        calls.join()
        eventually(lambda: descriptors() <= before)


def test_two_hundred_clients_leave_nothing_behind() -> None:
    with ServerProcess({"api": {"rows": 300, "page_size": 100}}) as server:

        def use(number: int) -> None:
            faults = {"type": "on_page", "page": 1, "fault": {"type": "ShortBody"}, "times": 1}
            if number % 40 == 0:
                server.reset()
                server.set_faults(faults)
            client = connect(server.url)
            Calls(client.fetch, [page(1), page(2)]).join()
            client.close()

        for number in range(5):
            use(number)
        eventually(lambda: not watchdogs())
        threads, before = threading.active_count(), descriptors()
        for number in range(200):
            use(number)
        eventually(lambda: threading.active_count() <= threads)
        assert descriptors() <= before


def test_a_thread_that_ends_during_the_run_does_not_matter(server: FaultServer) -> None:
    with connect(server.url) as client:
        for number in (1, 2, 3):
            Calls(client.fetch, [page(number)]).join()
    # Its connection goes to the thread that comes after it.
    assert server.log.summary().connections == 1


def test_closing_twice_and_before_anything_happened(server: FaultServer) -> None:
    client = connect(server.url)
    client.close()
    client.close()
    with pytest.raises(Cancelled):
        client.fetch(page(1))
    assert not server.log.requests


def test_a_worker_that_comes_too_late_gets_no_connection(server: FaultServer) -> None:
    pool = SessionPool(SessionOptions())
    pool.close()
    with pytest.raises(requests.ConnectionError), pool.lease() as lease:
        lease.session.get(server.url)
    assert not server.open_transports


def test_closing_between_two_attempts(server: FaultServer) -> None:
    client = connect(server.url, retry=RequestRetry(max_attempts=10**6, budget=10**6, backoff_factor=0.0))
    server.faults = lambda request, nth: ServerError()
    calls = Calls(client.fetch, [page(1) for _ in range(8)])
    eventually(lambda: len(server.log.requests) > 50)
    client.close()
    assert {type(each) for each in calls.join()} == {Cancelled}
