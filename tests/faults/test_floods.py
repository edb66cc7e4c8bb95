"""An API that sends more than anybody wants: bombs, and answers without an end."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_paginated.core.errors import LimitExceeded, PageFailed, PaginatedApiError, ResponseError
from airflow_paginated.core.policies import Limits, Timeouts
from airflow_paginated.transport import RequestRetry
from tests.collect.disk import published
from tests.collect.running import Job
from tests.faults.child import in_child
from tests.faults.endings import refused
from tests.servers import FaultServer, Given, PagedApi, Raw, Request, on_page

API = PagedApi(rows=500)
QUICK = RequestRetry(max_attempts=2, backoff_factor=0.002)


def job(server: FaultServer, path: Path, **client: Any) -> Job:
    return Job(url=server.url, path=f"{path}/out/", client={"retry": QUICK, **client})


MIB = 1024 * 1024


def zipped(beginning: bytes, unit: bytes, end: bytes, size: int = 64 * MIB - 64) -> bytes:
    """Return a gzip body that inflates to as many units as have room in this size."""
    machine = zlib.compressobj(9, zlib.DEFLATED, 31)
    many, times = divmod((size - len(beginning) - len(end)) // len(unit), 10_000)
    pieces = [beginning, *[unit * 10_000] * many, unit * times, end]
    return b"".join([*map(machine.compress, pieces), machine.flush()])


BOMBS = {
    "white space": lambda: zipped(b'{"data": [', b" ", b"]}", 160 * MIB),
    "rows": lambda: zipped(b'{"data": [', b"0,", b"0]}"),
    "values beside the rows": lambda: zipped(b'{"data": [], "meta": [', b"[],", b"0]}"),
    "values without rows": lambda: zipped(b'{"error": [', b"0,", b"0]}"),
    "members": lambda: zipped(b" ", b" ", b" ", 10 * MIB) * 40,
}


@pytest.mark.fault("S6")
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_gzip_bomb(bomb: Callable[[], bytes], tmp_path: Path) -> None:
    answer = Given(200, bomb(), headers=(("Content-Encoding", "gzip"),))
    assert len(answer.body) < MIB
    with FaultServer(PagedApi(rows=1_000), lambda request, nth: answer if request.query["page"] != "1" else None) as it:
        # All workers get one at once.
        told = in_child(job(it, tmp_path))
    print(f"{len(answer.body)} bytes, {told.grown / MIB:.0f} MiB, {told.seconds:.2f} s: {told.text}")
    assert told.error in ("LimitExceeded", "ResponseError"), told
    assert published(f"{tmp_path}/out/") is None
    assert told.grown < 100_000_000


CODINGS = ["gzip, gzip", "gzip,gzip,gzip", "deflate", "br", "zstd", "compress", "gzip, br", "identity, gzip", "x" * 60]


@pytest.mark.fault("S6")
def test_codings_that_were_not_asked_for(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    body = gzip.compress(gzip.compress(API(Request("GET", "/employees", {"page": "2"})).body))
    with FaultServer(API) as server:
        for number, coding in enumerate(CODINGS):
            server.log.clear()
            server.faults = on_page(2, Given(200, body, headers=(("Content-Encoding", coding),)))
            ending = refused(job(server, tmp_path / str(number)), ResponseError)
            assert "; only gzip is supported" in str(ending.error)
            assert server.log.counts["", 1] == 1
        server.faults = on_page(2, Given(200, body, headers=(("Content-Encoding", "gzip"),) * 2))
        refused(job(server, tmp_path / "lines"), ResponseError)
        # One coding is announced: what is inside is no JSON.
        server.faults = on_page(2, Given(200, body, headers=(("Content-Encoding", "gzip"),)))
        assert "the body is not" in str(refused(job(server, tmp_path / "once"), PageFailed).error)
    record_property("runs", len(CODINGS) + 2)


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS: dict[str, tuple[Raw, type[PaginatedApiError]]] = {
    "body": (Raw(OK + b"\r\n", "keep", b" " * 65536, 10**5), LimitExceeded),
    "body of a huge length": (
        Raw(OK + b"Content-Length: 9%b\r\n\r\n" % (b"9" * 30), "keep", b" " * 65536, 10**5),
        LimitExceeded,
    ),
    "chunks": (Raw(CHUNKED, "keep", b"1000\r\n" + b" " * 4096 + b"\r\n", 10**6), LimitExceeded),
    "one chunk": (Raw(CHUNKED + b"ffffffffff\r\n", "keep", b" " * 65536, 10**5), LimitExceeded),
    "chunks of a byte": (Raw(CHUNKED, "keep", b"1\r\n \r\n" * 10_000, 10**5), LimitExceeded),
    "size of a chunk": (Raw(CHUNKED, "keep", b"0" * 65536, 10**5), PageFailed),
    "extension of a chunk": (Raw(CHUNKED + b"2;", "keep", b"x" * 65536, 10**5), PageFailed),
    "trailer": (Raw(CHUNKED + b"2\r\n{}\r\n0\r\nX: ", "keep", b"x" * 65536, 10**5), PageFailed),
    "status line": (Raw(b"HTTP/1.1 200 ", "keep", b"x" * 65536, 10**5), PageFailed),
    "header line": (Raw(OK + b"X-Long: ", "keep", b"x" * 65536, 10**5), PageFailed),
    "headers": (Raw(OK, "keep", b"X-More: of the same\r\n" * 100, 10**5), PageFailed),
    "long headers": (Raw(OK, "keep", b"X: " + b"x" * 60_000 + b"\r\n", 10**5), PageFailed),
    "folded header": (Raw(OK + b"X: y\r\n", "keep", b" folded\r\n" * 1000, 10**5), PageFailed),
    "blank lines": (Raw(b"", "keep", b"\r\n" * 10_000, 10**5), PageFailed),
}


@pytest.mark.fault("S7")
@pytest.mark.parametrize(("answer", "kind"), ENDLESS.values(), ids=ENDLESS)
def test_an_endless(answer: Raw, kind: type[PaginatedApiError], tmp_path: Path) -> None:
    bounds = {"limits": Limits(page_bytes=MIB // 16), "timeouts": Timeouts(attempt=60, page=120)}
    with FaultServer(API, on_page(2, answer)) as server:
        tracemalloc.start()
        try:
            ending = refused(job(server, tmp_path, **bounds), kind)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert "deadline" not in str(ending.error)
    assert peak < 40 * MIB


UNTIL_THE_DEADLINE = {
    "extensions": Raw(CHUNKED, "keep", b"1;" + b"x" * 60_000 + b"\r\n \r\n", 10**6),
    "trailers": Raw(CHUNKED + b"2\r\n{}\r\n0\r\n", "keep", b"X-Trailer: more\r\n" * 1000, 10**6),
    "100 Continue": Raw(b"", "keep", b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" * 1000, 10**6),
    "103 Early Hints": Raw(b"", "keep", b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" * 1000, 10**6),
}


@pytest.mark.fault("S7")
@pytest.mark.parametrize("answer", UNTIL_THE_DEADLINE.values(), ids=UNTIL_THE_DEADLINE)
def test_only_time_ends(answer: Raw, tmp_path: Path) -> None:
    timeouts = Timeouts(attempt=2, page=3)
    with FaultServer(API, on_page(2, answer)) as server:
        tracemalloc.start()
        started = time.monotonic()
        try:
            ending = refused(job(server, tmp_path, timeouts=timeouts), PageFailed)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert "the response took longer than its deadline" in str(ending.error)
    assert time.monotonic() - started < 10
    assert peak < 40 * MIB
