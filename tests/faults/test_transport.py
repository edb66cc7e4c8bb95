"""Faults between the API's program and ours: connections, framing, codings, time."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from airflow_paginated import PageNumber
from airflow_paginated.core.errors import PageFailed, PermanentError, ResponseError
from airflow_paginated.core.policies import Timeouts
from airflow_paginated.transport import RateLimit, RequestRetry, ResponseRules, SessionOptions
from tests.collect.running import RETRY, Job
from tests.faults.endings import exact, refused
from tests.faults.in_time import PATIENT, in_time
from tests.servers import (
    BadChunkSize,
    CloseBeforeHeaders,
    CorruptGzip,
    CutChunk,
    CutHeaders,
    DribbleBody,
    DribbleHeaders,
    Fault,
    FaultServer,
    PagedApi,
    ResetBeforeHeaders,
    ResetInBody,
    ResetOnReuse,
    ShortBody,
    StallInBody,
    TruncatedGzip,
    UnframedCut,
    mixed,
    on_page,
)
from tests.servers.styles import ByNumber, Lines, StyledApi, Table, Total, employees
from tests.servers.tls import self_signed
from tests.servers.wire import Close, Framing, Reply, Send, chunks, head
from tests.transport.clients import raw_server

API = PagedApi(rows=1_000)
FRAMINGS: Final[list[Framing]] = ["plain", "chunked", "gzip", "gzip+chunked"]
Record = Callable[[str, object], None]


@dataclass(frozen=True)
class CutInsideHeaders:
    """The connection closes in the middle of the headers, so many bytes before the blank line or the body."""

    before_end: int

    def steps(self, reply: Reply, framing: Framing) -> tuple[Send | Close, ...]:
        top = head(reply, ("Content-Length", str(len(reply.body))))
        return (Send(top[: -self.before_end]), Close())


@dataclass(frozen=True)
class NoLastChunk:
    """All chunks are whole, but the connection closes before the one that ends the body."""

    rows: int = 1

    def steps(self, reply: Reply, framing: Framing) -> tuple[Send | Close, ...]:
        lines = b"".join(reply.body.splitlines(keepends=True)[: -self.rows])
        kept = lines or reply.body
        return (Send(head(reply, ("Transfer-Encoding", "chunked")) + b"".join(chunks(kept))), Close())


def spoilt(
    fault: Fault, tmp_path: Path, record_property: Record, *, framing: Framing = "plain", tls: bool = False
) -> None:
    """Let 30 % of the requests fail: the rows are exact. Let a page fail for good: the task fails, and names it."""
    with FaultServer(API, mixed([fault], 0.3), framing=framing, tls=tls) as server:
        result = exact(Job(url=server.url, path=f"{tmp_path}/out/", client=trusting(server)), API)
        injected = sum(server.log.summary().faults.values())
    assert 0 < injected <= result["retries"]
    with FaultServer(API, on_page(5, fault), framing=framing, tls=tls) as server:
        ending = refused(Job(url=server.url, path=f"{tmp_path}/never/", client=trusting(server)), PageFailed)
        assert f"page 5 (GET {server.url}/employees?" in str(ending.error)
        # One more than is charged, where the first one was on a connection that had been idle.
        asked = server.log.counts["", 4]
    assert RETRY.max_attempts <= asked <= RETRY.max_attempts + 1
    record_property("runs", injected + asked)


def trusting(server: FaultServer) -> dict[str, Any]:
    return {"session": SessionOptions(verify=str(server.ca_file))} if server.url.startswith("https") else {}


TABLE = {
    "jsonl": StyledApi(
        rows=employees(950),
        asked=ByNumber(size=100, past_end="not_found"),
        tells=(Total(header="X-Total-Count"),),
        shape=Lines(),
        path="/employees",
    ),
    "csv": StyledApi(
        rows=tuple(b'{"id":"%d"}' % number for number in range(950)),
        asked=ByNumber(size=100, past_end="not_found"),
        tells=(Total(header="X-Total-Count"),),
        shape=Table(columns=("id",)),
        path="/employees",
    ),
}
FORMS = pytest.mark.parametrize("form", ["jsonl", "csv"])


def lines_job(server: FaultServer, path: str, form: Any, *, until_empty: bool = False) -> Job:
    """Collect JSON Lines or CSV, as far as the total says, or until a page has no rows."""
    by_total = PageNumber(total_header="X-Total-Count")
    return Job(
        url=server.url,
        path=path,
        pagination=PageNumber(stop_after_empty_page=True) if until_empty else by_total,
        client={"data_selector": None, "rules": ResponseRules(response_format=form)},
    )


def spoilt_lines(fault: Fault, form: str, tmp_path: Path, record_property: Record) -> None:
    """Do the same to a format in which a part of a page looks like a page."""
    api = TABLE[form]
    with FaultServer(api, mixed([fault], 0.3)) as server:
        result = exact(lines_job(server, f"{tmp_path}/out/", form), api)
        injected = sum(server.log.summary().faults.values())
    assert 0 < injected <= result["retries"]
    with FaultServer(api, on_page(5, fault)) as server:
        refused(lines_job(server, f"{tmp_path}/never/", form), PageFailed)
        # What could be taken for an empty page must not be one, least of all where that would be the last.
        refused(lines_job(server, f"{tmp_path}/never/", form, until_empty=True), PageFailed)
    record_property("runs", injected + 2)


@pytest.mark.fault("T1")
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("fault", [ResetBeforeHeaders(), CloseBeforeHeaders()], ids=repr)
def test_nothing_comes_back(fault: Fault, tls: bool, tmp_path: Path, record_property: Record) -> None:
    spoilt(fault, tmp_path, record_property, tls=tls)


CUT_HEADERS: Final = [
    CutHeaders(),
    CutInsideHeaders(1),
    CutInsideHeaders(2),
    CutInsideHeaders(4),
    CutInsideHeaders(7),
    CutInsideHeaders(30),
]


@pytest.mark.fault("T2")
@pytest.mark.parametrize("fault", CUT_HEADERS, ids=repr)
def test_headers_are_cut(fault: Fault, tmp_path: Path, record_property: Record) -> None:
    spoilt(fault, tmp_path, record_property)


@pytest.mark.fault("T2")
@FORMS
def test_headers_of_lines_are_cut(form: str, tmp_path: Path, record_property: Record) -> None:
    spoilt_lines(CutHeaders(), form, tmp_path, record_property)


@pytest.mark.fault("T3")
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
def test_a_body_is_reset(at: float, framing: Framing, tmp_path: Path, record_property: Record) -> None:
    spoilt(ResetInBody(at), tmp_path, record_property, framing=framing)


@pytest.mark.fault("T3")
@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
def test_a_body_is_short(at: float, tmp_path: Path, record_property: Record) -> None:
    spoilt(ShortBody(at), tmp_path, record_property)


@pytest.mark.fault("T3")
@FORMS
def test_a_body_of_lines_is_short(form: str, tmp_path: Path, record_property: Record) -> None:
    spoilt_lines(ShortBody(0.5), form, tmp_path, record_property)


@dataclass(frozen=True)
class ChunkSize:
    """A chunk that would hold all rows announces this size, and a whole body follows."""

    size: bytes

    def steps(self, reply: Reply, framing: Framing) -> tuple[Send | Close, ...]:
        top = head(reply, ("Transfer-Encoding", "chunked"))
        return (Send(top + self.size + b"\r\n" + reply.body + b"\r\n0\r\n\r\n"), Close())


SIZES: Final = (b"", b"-1", b"-c", b"0x10", b"c_c", b"ffffffffffffffffffff")
BAD_CHUNKS: Final[list[Fault]] = [
    CutChunk(0.0),
    CutChunk(0.5),
    NoLastChunk(),
    BadChunkSize(0.0),
    BadChunkSize(0.5),
    *map(ChunkSize, SIZES),
]


@pytest.mark.fault("T4")
@pytest.mark.parametrize("fault", BAD_CHUNKS, ids=repr)
def test_a_chunk_is_cut_or_bad(fault: Fault, tmp_path: Path, record_property: Record) -> None:
    spoilt(fault, tmp_path, record_property)


@pytest.mark.fault("T4")
@FORMS
def test_a_chunk_of_lines_is_missing(form: str, tmp_path: Path, record_property: Record) -> None:
    spoilt_lines(NoLastChunk(10), form, tmp_path, record_property)


@pytest.mark.fault("T5")
@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
def test_an_unframed_body_is_cut(at: float, tmp_path: Path, record_property: Record) -> None:
    spoilt(UnframedCut(at), tmp_path, record_property, framing="unframed")


@pytest.mark.fault("T5")
@pytest.mark.parametrize("at", [0.5, 1.0])
@FORMS
def test_unframed_lines_are_refused(form: str, at: float, tmp_path: Path) -> None:
    with FaultServer(TABLE[form], on_page(5, UnframedCut(at))) as server:
        for until_empty in (False, True):
            ending = refused(lines_job(server, f"{tmp_path}/out/", form, until_empty=until_empty), ResponseError)
            assert "may have been cut" in str(ending.error)


@pytest.mark.fault("T6")
@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
def test_gzip_is_truncated(at: float, tmp_path: Path, record_property: Record) -> None:
    spoilt(TruncatedGzip(at), tmp_path, record_property, framing="gzip")


@pytest.mark.fault("T6")
@FORMS
def test_gzip_of_lines_is_truncated(form: str, tmp_path: Path, record_property: Record) -> None:
    spoilt_lines(TruncatedGzip(0.5), form, tmp_path, record_property)


@pytest.mark.fault("T7")
@pytest.mark.parametrize("where", ["data", "crc"])
def test_gzip_is_corrupt(where: str, tmp_path: Path, record_property: Record) -> None:
    spoilt(CorruptGzip(where), tmp_path, record_property, framing="gzip")


@pytest.mark.fault("T8")
@pytest.mark.parametrize("framing", ["plain", "chunked", "gzip", "unframed"])
def test_a_body_stalls(framing: Framing, tmp_path: Path, record_property: Record) -> None:
    brief = Timeouts(attempt=0.2)
    with FaultServer(API, mixed([StallInBody()], 0.3), framing=framing) as server:
        exact(Job(url=server.url, path=f"{tmp_path}/out/", client={"timeouts": brief, "retry": PATIENT}), API)
        injected = sum(server.log.summary().faults.values())
    assert injected > 0
    with FaultServer(API, on_page(5, StallInBody()), framing=framing) as server:
        twice = RequestRetry(max_attempts=2, backoff_factor=0.0)
        ending = refused(Job(url=server.url, path=f"{tmp_path}/out2/", client={"timeouts": brief, "retry": twice}))
    assert "failed in 2 attempts; last cause: the response took longer than its deadline" in str(ending.error)
    record_property("runs", injected + 2)


@pytest.mark.fault("T9")
@pytest.mark.parametrize("framing", ["plain", "chunked", "gzip", "unframed"])
def test_a_body_dribbles(framing: Framing, tmp_path: Path) -> None:
    with FaultServer(API, on_page(1, DribbleBody(every=0.02)), framing=framing) as server:
        in_time(Job(url=server.url, path=f"{tmp_path}/out/"))


@pytest.mark.fault("T9")
def test_a_body_that_dribbles_but_comes_is_a_page(tmp_path: Path, record_property: Record) -> None:
    with FaultServer(API, mixed([DribbleBody(size=2048, every=0.005)], 0.5)) as server:
        result = exact(Job(url=server.url, path=f"{tmp_path}/out/"), API)
        record_property("runs", sum(server.log.summary().faults.values()))
    assert result["retries"] == 0


@pytest.mark.fault("T10")
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_headers_dribble(tls: bool, tmp_path: Path) -> None:
    with FaultServer(API, on_page(1, DribbleHeaders(every=0.02, padding=6000)), tls=tls) as server:
        in_time(Job(url=server.url, path=f"{tmp_path}/out/", client=trusting(server)))


@pytest.mark.fault("T10")
def test_a_handshake_dribbles(tmp_path: Path) -> None:
    def dribble(peer: socket.socket) -> None:
        peer.sendall(b"\x16\x03\x03\x40\x00")  # a handshake record of 16 KiB
        while True:
            peer.sendall(b"\x02")
            time.sleep(0.02)

    with raw_server(dribble) as port:
        in_time(Job(url=f"https://127.0.0.1:{port}", path=f"{tmp_path}/out/"))


@pytest.mark.fault("T10")
def test_a_handshake_never_begins(tmp_path: Path) -> None:
    with FaultServer(API, mute=True) as server:
        in_time(Job(url=f"https://127.0.0.1:{server.port}", path=f"{tmp_path}/out/"))


FREE: Final = RequestRetry(max_attempts=1, budget=0)


@pytest.mark.fault("T12")
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(("workers", "rate"), [(1, None), (8, None), (8, RateLimit(requests=500))], ids=str)
def test_every_connection_dies_when_it_is_used_again(
    workers: int, rate: RateLimit | None, tls: bool, tmp_path: Path, record_property: Record
) -> None:
    api = PagedApi(rows=1_000, page_size=20)
    with FaultServer(api, lambda request, nth: ResetOnReuse(), tls=tls) as server:
        client = {"retry": FREE, "rate_limit": rate, **trusting(server)}
        result = exact(Job(url=server.url, path=f"{tmp_path}/out/", workers=workers, client=client), api)
        resets = server.log.summary().faults["Doomed"]
    assert resets == result["retries"] > 0
    record_property("runs", resets)


@pytest.mark.fault("T15")
@pytest.mark.parametrize("name", ["untrusted", "other name"])
def test_a_certificate_is_wrong(name: str, tmp_path: Path) -> None:
    names = ("127.0.0.1",) if name == "untrusted" else ("other.test",)
    with FaultServer(API, tls=True, tls_names=names) as server:
        trusted = server.ca_file
        if name == "untrusted":
            trusted = tmp_path / "other.pem"
            trusted.write_bytes(self_signed(["127.0.0.1"])[0])
        client = {"session": SessionOptions(verify=str(trusted))}
        ending = refused(Job(url=server.url, path=f"{tmp_path}/out/", client=client), PermanentError)
        assert not server.log.requests
    assert f"{server.url}/employees" in str(ending.error)
    assert "the server's certificate is not trusted" in str(ending.error)
