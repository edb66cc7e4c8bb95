"""The paged API, the log, the schedules, and the server as a process."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Self

import pytest

from tests.servers import (
    FaultServer,
    PagedApi,
    Reply,
    Request,
    ServerError,
    ServerProcess,
    first_of,
    no_faults,
    on_page,
    seven_faults,
)
from tests.servers.schedules import SEVEN, schedule_from
from tests.servers.wire import Framing


class Client(http.client.HTTPConnection):
    """A connection to a server of ours that closes with its block."""

    def __init__(self, server: FaultServer | ServerProcess, timeout: float = 5.0) -> None:
        super().__init__("127.0.0.1", server.port, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def get(client: http.client.HTTPConnection, target: str, body: Any = None) -> tuple[int, bytes]:
    client.request("GET" if body is None else "POST", target, body=None if body is None else json.dumps(body))
    with client.getresponse() as response:
        return response.status, response.read()


def rows_of(bodies: Iterable[bytes]) -> bytes:
    """Cut the rows out of pages in the plain style by their text, the way no real client should."""
    lines = []
    for body in bodies:
        text = body[body.index(b"[") + 1 : body.rindex(b'], "meta"')] if body[:1] == b"{" else body[1:-1]
        lines += text.replace(b'}, {"id": ', b'}\n{"id": ').split(b"\n") if text else []
    return b"".join(line + b"\n" for line in lines)


API = PagedApi(rows=250, page_size=100)


@pytest.mark.parametrize(
    "targets",
    [
        [f"/employees?page={page}" for page in (1, 2, 3)],
        [f"/employees?page={page}&per_page=50" for page in (1, 2, 3, 4, 5)],
        [f"/employees?offset={start}&limit=120" for start in (0, 120, 240)],
        [f"/v1/bare?page={page}" for page in (1, 2, 3)],
        [f"/bare?offset={start}&limit=100" for start in (0, 100, 200)],
    ],
)
def test_every_way_of_paging_gives_the_reference(targets: list[str]) -> None:
    with FaultServer(API) as server, Client(server) as client:
        assert rows_of(get(client, target)[1] for target in targets) == API.reference()
        assert server.log.summary().connections == 1


def test_post_with_a_json_body() -> None:
    with FaultServer(API) as server, Client(server) as client:
        bodies = [get(client, "/employees", {"page": page, "per_page": 100})[1] for page in (1, 2, 3)]
        assert rows_of(bodies) == API.reference()
        assert server.log.counts == {("", 0): 1, ("", 1): 1, ("", 2): 1}
        assert json.loads(server.log.requests[1].request.body) == {"page": 2, "per_page": 100}
        assert get(client, "/employees", [1])[0] == 400


def ask(api: PagedApi, path: str = "/employees", **query: str) -> Reply:
    return api(Request("GET", path, query))


def test_partitions_are_chosen_by_a_parameter() -> None:
    api = PagedApi(rows={"a": 30, "b": 0, "c": 120}, page_size=100)
    bodies = [ask(api, store=store, page=page).body for store, page in (("c", "1"), ("c", "2"), ("b", "1"), ("a", "1"))]
    assert rows_of(bodies) == api.reference(["c", "b", "a"])
    assert len(api.reference().decode().splitlines()) > 150  # a raw U+2028 is not a line break in JSON Lines
    assert ask(api, store="z").status == 400
    assert api.page_of(Request("GET", "/employees", {"store": "c", "page": "2"})) == ("c", 1)


def test_the_envelope() -> None:
    body = json.loads(ask(API, page="3").body)
    assert (body["meta"], body["has_more"], len(body["data"])) == (
        {"total_pages": 3, "total": 250, "page": 3},
        False,
        50,
    )
    silent = json.loads(ask(PagedApi(rows=250, totals=False), page="2").body)
    assert (silent["meta"], silent["has_more"]) == ({"page": 2}, True)
    assert "has_more" not in json.loads(ask(PagedApi(has_more=False)).body)
    assert ("X-Total-Count", "250") in ask(API, "/bare").headers
    assert len(ask(PagedApi(totals=False), "/bare").headers) == 1


def test_the_ends_of_the_api() -> None:
    assert json.loads(ask(API, page="4").body)["data"] == []
    assert ask(PagedApi(rows=250, past_end="not_found"), page="4").status == 404
    assert ask(PagedApi(rows=0, past_end="not_found"), page="1").status == 200
    assert ask(API, page="0").status == 400
    assert ask(API, "/other").status == 404
    clamped = PagedApi(rows=250, max_page_size=100)
    assert json.loads(ask(clamped, page="2", per_page="1000").body)["data"][0]["id"] == 100


def test_a_page_of_a_hundred_rows_has_22_kilobytes() -> None:
    assert len(ask(PagedApi(rows=5000), page="30").body) == pytest.approx(22_000, rel=0.05)


@pytest.mark.parametrize("whitespace", ["plain", "spaces", "newlines"])
def test_rows_hold_what_careless_collectors_lose(whitespace: Any) -> None:
    api = PagedApi(rows=20, whitespace=whitespace)
    sent = json.loads(ask(api).body, parse_float=str, parse_int=str)["data"]
    expected = [json.loads(line, parse_float=str, parse_int=str) for line in api.reference().split(b"\n")[:-1]]
    assert sent == expected
    assert len(sent[0]["badge"]) == 23
    assert sent[0]["rate"] == "1.10"
    assert (b"\n" in ask(api).body) == (whitespace == "newlines")


@pytest.mark.parametrize("framing", ["plain", "chunked", "gzip", "gzip+chunked", "unframed"])
def test_framings_carry_the_same_body(framing: Framing) -> None:
    with FaultServer(API, framing=framing) as server, Client(server) as client:
        client.request("GET", "/employees?page=2")
        with client.getresponse() as response:
            text, zipped = response.read(), response.getheader("Content-Encoding") == "gzip"
        assert zipped == framing.startswith("gzip")
        assert (gzip.decompress(text) if zipped else text) == ask(API, page="2").body


def test_schedules_depend_on_page_and_attempt_only() -> None:
    one, other = seven_faults(0.3, seed=5), seven_faults(0.3, seed=5)
    requests = [Request("GET", "/employees", {"page": str(page)}) for page in range(2000)]
    drawn = [one(request, nth) for nth in range(1, 9) for request in requests]
    assert drawn == [other(request, nth) for nth in range(1, 9) for request in requests]
    assert {type(fault) for fault in drawn if fault} == {type(fault) for fault in SEVEN}
    first = drawn[:2000]
    assert sum(fault is not None for fault in first) == pytest.approx(600, rel=0.15)
    always = seven_faults(1.0)
    assert [always(requests[0], nth) is None for nth in range(1, 9)] == [False] * 3 + [True] + [False] * 3 + [True]


def test_schedules_combine() -> None:
    schedule = schedule_from(
        [
            {"type": "on_page", "page": 2, "times": 1, "fault": {"type": "ServerError", "status": 500}},
            {"type": "on_page", "page": 2, "fault": {"type": "CutHeaders"}},
        ]
    )
    page = Request("GET", "/employees", {"page": "2"})
    assert schedule(page, 1) == ServerError(500)
    assert schedule(page, 2) == SEVEN[1]
    assert schedule(Request("GET", "/employees", {"page": "22"}), 1) is None
    assert first_of([no_faults])(page, 1) is None
    assert schedule_from(None)(page, 1) is None
    assert schedule_from({"type": "four_faults", "rate": 1.0})(page, 1) is not None


def test_the_log_counts_what_overlaps() -> None:
    with FaultServer(API, on_page(7, ServerError(), times=1), latency=0.05) as server:
        everybody = threading.Barrier(16, timeout=10)

        def work(worker: int) -> None:
            with Client(server) as client:
                for _ in range(3):
                    get(client, "/employees?page=7")
                everybody.wait()

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(work, range(16)))
        summary = server.log.summary()
        assert (summary.requests, summary.connections, summary.peak_connections) == (48, 16, 16)
        assert 2 <= summary.peak_in_flight <= 16
        assert (summary.counts, summary.faults) == ({("", 6): 48}, {"ServerError": 1})
        first, *_, last = server.log.requests
        assert (first.nth, first.fault, last.nth, last.fault) == (1, "ServerError", 48, None)
        assert last.time >= first.time + 0.1


def test_one_connection_after_the_other_never_seems_to_overlap() -> None:
    with FaultServer(API, seven_faults(1.0, in_a_row=10_000)) as server:
        for _ in range(50):
            with Client(server) as client, suppress(OSError, http.client.HTTPException):
                get(client, "/employees?page=1")
        assert server.log.summary().peak_connections == 1


def test_many_pages_are_served_fast() -> None:
    api = PagedApi(rows=20_000, page_size=10)
    with FaultServer(api) as server, Client(server) as client:
        begun = time.process_time()
        assert rows_of(get(client, f"/employees?page={page}")[1] for page in range(1, 2001)) == api.reference()
        # Of both sides, in all threads; what else the machine does is not counted.
        assert time.process_time() - begun < 10


def test_requests_sent_in_pieces_or_at_once() -> None:
    request = b"GET /employees?page=1 HTTP/1.1\r\nHost: x\r\n\r\n"
    with FaultServer(API) as server, socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        for place in range(0, len(request), 9):
            client.sendall(request[place : place + 9])
        client.sendall(request * 2)
        received = b""
        while received.count(b"HTTP/1.1 200 OK") < 3:
            received += client.recv(65536)
        assert len(server.log.requests) == 3


def test_open_connections_can_be_dropped() -> None:
    with FaultServer(API) as server, Client(server) as client:
        get(client, "/employees")
        server.drop_connections()
        assert select.select([client.sock], [], [], 20)[0]  # the end has arrived
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            get(client, "/employees")


def test_a_mute_server_accepts_and_says_nothing() -> None:
    with FaultServer(API, mute=True) as server, Client(server, timeout=0.1) as client, pytest.raises(TimeoutError):
        get(client, "/employees")


def secure(server: FaultServer, ca_file: Path | None) -> closing[http.client.HTTPSConnection]:
    context = ssl.create_default_context(cafile=ca_file)
    return closing(http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=5))


def test_tls_with_its_own_certificate() -> None:
    with FaultServer(API, on_page(2, SEVEN[2]), tls=True) as server:
        with secure(server, server.ca_file) as client:
            assert get(client, "/employees?page=1")[1] == ask(API, page="1").body
            with pytest.raises((OSError, http.client.IncompleteRead)):
                get(client, "/employees?page=2")
        with secure(server, None) as stranger, pytest.raises(ssl.SSLCertVerificationError):
            get(stranger, "/employees")


def test_a_certificate_for_another_name() -> None:
    with (
        FaultServer(API, tls=True, tls_names=("elsewhere.test",)) as server,
        secure(server, server.ca_file) as client,
        pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"),
    ):
        get(client, "/employees")


def test_the_server_as_a_process() -> None:
    config = {"api": {"rows": {"a": 250}}, "faults": {"type": "on_page", "page": 1, "fault": {"type": "EmptyOK"}}}
    with ServerProcess(config) as server, Client(server) as client:
        assert get(client, "/employees?store=a&page=1") == (200, b"")
        server.set_faults(None)
        assert get(client, "/employees?store=a&page=1")[1] == ask(PagedApi(rows={"a": 250}), store="a", page="1").body
        summary = server.summary()
        assert (summary.counts, summary.faults) == ({("a", 0): 2}, {"EmptyOK": 1})
        assert (summary.connections, summary.peak_connections, summary.peak_in_flight) == (1, 1, 1)
        assert server.requests()[1]["request"]["query"] == {"store": "a", "page": "1"}
        server.reset()
        assert server.summary().requests == 0
        pid = server.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_servers_leave_no_thread_behind() -> None:
    before = threading.active_count()
    for _ in range(3):
        with FaultServer(API):
            pass
    assert threading.active_count() == before
