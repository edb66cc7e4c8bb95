"""Each fault, seen from the other end of a raw socket or of http.client."""

from __future__ import annotations

import gzip
import http.client
import json
import resource
import select
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from email.message import Message

import pytest

from tests.servers import faults
from tests.servers.api import PagedApi
from tests.servers.faults import Fault
from tests.servers.schedules import FOUR, SEVEN, fault_from
from tests.servers.server import FaultServer
from tests.servers.wire import Request

API = PagedApi(rows=250, page_size=100)
BODY = API(Request("GET", "/employees")).body


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer(API) as running:
        yield running


def answer(
    server: FaultServer, fault: Fault | None, silence: float = 20.0, patience: float = 20.0
) -> tuple[bytes, str]:
    """Return what one request brings on a raw socket, and how it ended: eof, reset or open.

    ``patience`` is for the first byte, ``silence`` is what must follow the last one for the end to be open.
    """
    server.faults = lambda request, nth: fault
    with socket.create_connection(("127.0.0.1", server.port), timeout=patience) as client:
        client.sendall(b"GET /employees HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while True:
            try:
                piece = client.recv(65536)
            except ConnectionResetError:
                return received, "reset"
            except TimeoutError:
                return received, "open"
            if not piece:
                return received, "eof"
            received += piece
            client.settimeout(silence)


def split(received: bytes) -> tuple[list[str], bytes]:
    top, _, body = received.partition(b"\r\n\r\n")
    return top.decode().split("\r\n"), body


@dataclass(frozen=True)
class Response:
    status: int
    headers: Message
    body: bytes


def request(client: http.client.HTTPConnection) -> Response:
    client.request("GET", "/employees")
    with client.getresponse() as response:
        return Response(response.status, response.headers, response.read())


def read(server: FaultServer, fault: Fault) -> Response:
    server.faults = lambda request, nth: fault
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)) as client:
        return request(client)


def test_without_a_fault_the_body_is_whole_and_the_connection_stays_open(server: FaultServer) -> None:
    received, end = answer(server, None, silence=0.1)
    lines, body = split(received)
    assert (lines[0], end, body) == ("HTTP/1.1 200 OK", "open", BODY)


@pytest.mark.parametrize(
    ("fault", "end"), [(faults.ResetBeforeHeaders(), "reset"), (faults.CloseBeforeHeaders(), "eof")]
)
def test_nothing_arrives_before_the_end(server: FaultServer, fault: Fault, end: str) -> None:
    assert answer(server, fault) == (b"", end)


def test_stall_before_headers(server: FaultServer) -> None:
    assert answer(server, faults.StallBeforeHeaders(5), patience=0.1) == (b"", "open")
    assert answer(server, faults.StallBeforeHeaders(0.05)) == (b"", "eof")


def test_cut_headers_look_like_an_empty_200(server: FaultServer) -> None:
    assert answer(server, faults.CutHeaders()) == (b"HTTP/1.1 200 OK\r\n", "eof")
    response = read(server, faults.CutHeaders())
    assert (response.status, response.body) == (200, b"")


@pytest.mark.parametrize(
    ("fault", "end"),
    [
        (faults.ResetInBody(), "reset"),
        (faults.ShortBody(), "eof"),
        (faults.StallInBody(0.05), "eof"),
        (faults.StallInBody(30), "open"),
    ],
)
def test_half_of_the_announced_body_arrives(server: FaultServer, fault: Fault, end: str) -> None:
    received, ended = answer(server, fault, silence=0.2 if end == "open" else 20.0)
    lines, body = split(received)
    assert f"Content-Length: {len(BODY)}" in lines
    assert (body, ended) == (BODY[: len(BODY) // 2], end)


def test_an_unframed_body_ends_early_and_nothing_tells(server: FaultServer) -> None:
    received, end = answer(server, faults.UnframedCut())
    lines, body = split(received)
    assert not [line for line in lines if line.startswith(("Content-Length", "Transfer-Encoding"))]
    assert (body, end) == (BODY[: len(BODY) // 2], "eof")


@pytest.mark.parametrize("fault", [faults.CutChunk(), faults.CutChunk(0.0), faults.BadChunkSize()])
def test_chunks_break(server: FaultServer, fault: Fault) -> None:
    with pytest.raises(http.client.IncompleteRead):
        read(server, fault)
    _, end = answer(server, fault)
    assert end == "eof"


def test_truncated_gzip_has_the_right_length(server: FaultServer) -> None:
    text = read(server, faults.TruncatedGzip()).body  # http.client finds the length right
    inflate = zlib.decompressobj(31)
    assert BODY.startswith(inflate.decompress(text))
    assert not inflate.eof


@pytest.mark.parametrize("where", ["data", "crc"])
def test_corrupt_gzip(server: FaultServer, where: str) -> None:
    text = read(server, faults.CorruptGzip(where)).body
    with pytest.raises((zlib.error, gzip.BadGzipFile)):
        gzip.decompress(text)


def test_dribbled_body_is_right_and_slow(server: FaultServer) -> None:
    begun = time.monotonic()
    assert read(server, faults.DribbleBody(size=4000, every=0.02)).body == BODY
    assert time.monotonic() - begun > 0.08


def test_dribbled_headers_are_right_and_slow(server: FaultServer) -> None:
    begun = time.monotonic()
    assert read(server, faults.DribbleHeaders(size=10, every=0.01, padding=50)).body == BODY
    assert time.monotonic() - begun > 0.1


@pytest.mark.parametrize("status", [500, 502, 503, 504, 404, 299])
def test_statuses(server: FaultServer, status: int) -> None:
    response = read(server, faults.ServerError(status))
    assert (response.status, json.loads(response.body)) == (status, {"error": "server"})


@pytest.mark.parametrize("after", ["2", "Wed, 21 Oct 2049 07:28:00 GMT", "-5", "1.5", "abc", "", "1000000000"])
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(server: FaultServer, after: str, status: int) -> None:
    response = read(server, faults.RetryLater(after, status))
    assert (response.status, response.headers["Retry-After"]) == (status, after)


def test_odd_answers_with_200(server: FaultServer) -> None:
    assert read(server, faults.EmptyOK()).body == b""
    html = read(server, faults.HtmlOK())
    assert (html.status, html.headers["Content-Type"], html.body[:6]) == (200, "text/html", b"<html>")
    cut = read(server, faults.TruncatedJson()).body
    assert BODY.startswith(cut)
    assert 0 < len(cut) < len(BODY)


def test_given_answers(server: FaultServer) -> None:
    response = read(server, faults.Given(418, b"{}", headers=(("X-Pot", "short"),)))
    assert (response.status, response.headers["X-Pot"], response.body) == (418, "short", b"{}")
    assert read(server, faults.Given(204)).headers["Content-Length"] is None


def test_redirect(server: FaultServer) -> None:
    response = read(server, faults.Redirect("http://127.0.0.1:1/", 307))
    assert (response.status, response.headers["Location"]) == (307, "http://127.0.0.1:1/")


def test_raw_bytes(server: FaultServer) -> None:
    assert answer(server, faults.Raw(b"SSH-2.0-x\r\n")) == (b"SSH-2.0-x\r\n", "eof")
    assert answer(server, faults.Raw(b"a", then="reset", tail=b"bc", times=3)) == (b"abcbcbc", "reset")
    assert answer(server, faults.Raw(b"a", then="keep"), silence=0.1) == (b"a", "open")


def test_a_flood_goes_on_as_long_as_the_client_reads_and_waits_otherwise(server: FaultServer) -> None:
    flood = faults.Raw(b"", tail=b"x" * 1_000_000, times=40)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    server.faults = lambda request, nth: flood
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        client.sendall(b"GET /employees HTTP/1.1\r\n\r\n")
        time.sleep(0.2)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB
        received = 0
        while piece := client.recv(1_000_000):
            received += len(piece)
    assert received == 40_000_000


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.ResetOnReuse(), ConnectionResetError),
        (faults.DropIdle(0.0), http.client.RemoteDisconnected),
        (faults.DropIdle(0.0, reset=True), (ConnectionResetError, BrokenPipeError)),
    ],
)
def test_idle_connections_die(server: FaultServer, fault: Fault, error: type[Exception]) -> None:
    server.faults = lambda request, nth: fault
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)) as client:
        assert request(client).body == BODY
        if isinstance(fault, faults.DropIdle):
            assert select.select([client.sock], [], [], 20)[0]  # the end has arrived
        with pytest.raises(error):
            request(client)


def test_every_fault_of_a_profile_breaks_a_page(server: FaultServer) -> None:
    for fault in {*SEVEN, *FOUR}:
        received, _ = answer(server, fault, silence=0.1)
        lines, body = split(received)
        assert lines[0] != "HTTP/1.1 200 OK" or body != BODY


def test_faults_can_be_written_as_json() -> None:
    assert fault_from({"type": "ServerError", "status": 500}) == faults.ServerError(500)
    given = fault_from({"type": "Given", "body": "{}", "headers": [["A", "b"]]})
    assert given == faults.Given(body=b"{}", headers=(("A", "b"),))
