"""What a body may be: exact rows or a clear error, never a crash and never other digits; and never too much of it."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest

from airflow_paginated.core.errors import LimitExceeded, PageFailed, RequestRefused, ResponseError
from airflow_paginated.core.policies import Limits
from tests.servers import Fault, FaultServer, Given, PagedApi, Raw, Request
from tests.transport.clients import SECRET, connect, fetch, lines, page, refused, short

MIB = 1024 * 1024


def answering(server: FaultServer, fault: Fault) -> str:
    """Let the server give this answer to every request; return its URL."""
    server.faults = lambda request, nth: fault
    return server.url


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (b'{"data": []}', []),
        (b'{"data": [12345678901234567890123, 1.10, -0.0, 1E+2, 1e400]}', [*b"0"] and None),
        (b'\xef\xbb\xbf{"data": [1]}', [b"1"]),
        (
            b'{"data": [\r\n  {"a":  1.10,\r\n   "b": "x y"},\n  2 , {"c": [ 3 ]}\r\n]}',
            [b'{"a":1.10,"b":"x y"}', b"2", b'{"c": [ 3 ]}'],
        ),
        (b'{"data": ["a\\nb", "\xe2\x80\xa8", "\\u00e9"]}', [b'"a\\nb"', b'"\xe2\x80\xa8"', b'"\\u00e9"']),
        (b'\n\t {"data": [{"a": 1, "a": 2}]} \r\n', [b'{"a": 1, "a": 2}']),
    ],
    ids=["no rows", "numbers", "byte order mark", "line breaks", "escapes", "a name twice in a row"],
)
def test_rows_as_sent(server: FaultServer, body: bytes, rows: list[bytes] | None) -> None:
    got = fetch(answering(server, Given(200, body)))
    assert got.rows == (rows if rows is not None else [b"12345678901234567890123", b"1.10", b"-0.0", b"1E+2", b"1e400"])


def test_pretty_printed_rows_lose_nothing_but_line_breaks() -> None:
    api = PagedApi(rows=30, page_size=30, whitespace="newlines")
    with FaultServer(api) as server:
        assert fetch(server.url).lines == api.reference()


@pytest.mark.parametrize(
    ("content_type", "body", "row"),
    [
        ("application/json; charset=iso-8859-1", b'{"data": ["\xe9"]}', '"é"'),
        ('application/json;charset="Windows-1252"', b'{"data": ["\x80"]}', '"€"'),
        ("application/json; charset=latin-1", '{"data": ["é"]}'.encode(), '"é"'),
        ("application/json; charset=UTF-16", '{"data": ["é"]}'.encode("utf-16"), '"é"'),
        ("text/plain; charset=us-ascii", '{"data": ["é"]}'.encode(), '"é"'),
        ("application/json; charset=", '{"data": ["é"]}'.encode(), '"é"'),
        ("application/json; version=1", '{"data": ["é"]}'.encode(), '"é"'),
        ("", '{"data": ["é"]}'.encode(), '"é"'),
        ("application/json; charset=utf-8-sig", b'\xef\xbb\xbf{"data": ["\xc3\xa9"]}', '"é"'),
    ],
)
def test_charsets(server: FaultServer, content_type: str, body: bytes, row: str) -> None:
    got = fetch(answering(server, Given(200, body, content_type)))
    assert got.rows == [row.encode()]


@pytest.mark.parametrize("charset", ["klingon", "punycode", "base64", "rot13", "a\0b", "x" * 60])
def test_a_charset_that_is_none_fails_at_once(server: FaultServer, charset: str) -> None:
    error = refused(answering(server, Given(200, b'{"data": []}', f"application/json; charset={charset}")))
    assert isinstance(error, ResponseError)
    assert "unknown charset in the response's Content-Type" in str(error)


def test_a_body_that_is_not_in_its_charset_is_tried_again(server: FaultServer) -> None:
    error = refused(answering(server, Given(200, b'{"data": ["\xff"]}', "application/json; charset=utf-16")))
    assert isinstance(error, PageFailed)
    assert "failed in 3 attempts; last cause: the body is not utf-16" in str(error)


@pytest.mark.parametrize("deep", [b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000])
@pytest.mark.parametrize("body", [b'{"data": [%b]}', b'{"data": [1], "more": %b}', b'{"data": %b}', b"%b"])
def test_depth_is_an_error_and_no_crash(server: FaultServer, body: bytes, deep: bytes) -> None:
    error = refused(answering(server, Given(200, body % deep)))
    assert isinstance(error, ResponseError)
    assert len(server.log.requests) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": "quota"}', "the response has nothing at 'data', only an object with the keys 'error'"),
        (b'{"data": null}', "data_selector 'data' should lead to a list of rows, it leads to null"),
        (b'{"data": {"id": 1}}', "it leads to an object with the keys 'id'"),
        (b'{"data": {}}', "it leads to an empty object"),
        (b'{"data": "none"}', "it leads to a string"),
        (b"[]", "it leads to a list of length 0"),
        (b"null", "it leads to null"),
        (b'{"data": [1], "data": []}', "the response has a name twice in an object with the keys 'data'"),
        (
            b'{"data": [1], "next": {"page": 2, "page": null}}',
            "the response has a name twice in an object with the keys",
        ),
        (b'{"total": 1, "data": [1], "total": 2}', "the response has a name twice in an object with the keys"),
    ],
)
def test_an_envelope_without_rows_is_never_the_last_page(server: FaultServer, body: bytes, said: str) -> None:
    error = refused(answering(server, Given(200, body)))
    assert isinstance(error, ResponseError)
    assert str(error).startswith(f"page 1 (GET {server.url}/employees?page=1&token=***): ")
    assert said in str(error)
    assert len(server.log.requests) == 1


@pytest.mark.parametrize("status", [202, 204, 205, 206, 207, 226, 300, 304, 305, 299])
def test_only_a_whole_answer_is_a_page(server: FaultServer, status: int) -> None:
    error = refused(answering(server, Given(status, b"" if status in (204, 304) else b'{"data": [1]}')))
    assert isinstance(error, RequestRefused)
    assert f"{status} " in str(error) or f"status {status}" in str(error)
    assert "only 200, 201 and 203 carry a page" in str(error)
    assert len(server.log.requests) == 1


@pytest.mark.parametrize("status", [200, 201, 203])
def test_statuses_that_carry_a_page(server: FaultServer, status: int) -> None:
    assert fetch(answering(server, Given(status, b'{"data": [1]}'))).count == 1


@pytest.mark.parametrize("coding", [(), (("Content-Encoding", "gzip"),), (("Content-Encoding", "br"),)])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 406, 409, 410, 413, 414, 422, 451, 501, 505])
def test_a_refusal_fails_at_once_with_advice(
    server: FaultServer, status: int, coding: tuple[tuple[str, str], ...]
) -> None:
    said = b'{"error": "no, ' + SECRET.encode() + b'"}'
    body = gzip.compress(said) if coding and coding[0][1] == "gzip" else said
    error = refused(answering(server, Given(status, body, headers=coding)))
    assert isinstance(error, RequestRefused)
    assert error.status == status
    assert f"page 1 (GET {server.url}/employees?page=1&token=***): {status} " in str(error)
    assert SECRET not in str(error)
    readable = not coding or coding[0][1] == "gzip"
    assert ("""; the API says: '{"error": "no, ***"}'""" in str(error)) == readable
    assert len(server.log.requests) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_that_a_large_page_may_cause_names_page_size(server: FaultServer, status: int) -> None:
    error = refused(answering(server, Given(status, b'{"error": "limit"}')))
    assert "page_size may be more than the API allows; the API says: " in str(error)


def test_a_refusal_without_words(server: FaultServer) -> None:
    error = refused(answering(server, Given(404, b" ")))
    assert str(error).endswith("404 Not Found: check the connection's host and the endpoint")


def test_lines_of_one_header_are_joined(server: FaultServer) -> None:
    pair = (("X-Part", "1"), ("x-part", "2"))
    assert fetch(answering(server, Given(200, b'{"data": []}', headers=pair))).headers["x-part"] == "1, 2"


def members(*parts: bytes) -> Given:
    return Given(200, b"".join(gzip.compress(part) for part in parts), headers=(("Content-Encoding", "GZIP"),))


def test_all_members_of_a_gzip_body_are_read(server: FaultServer) -> None:
    assert fetch(answering(server, members(b'{"data": ', b"[1,", b"2]}"))).rows == [b"1", b"2"]


@pytest.mark.parametrize("spoilt", [b"junk", gzip.compress(b"2]}")[:-1]], ids=["junk", "a cut member"])
def test_a_gzip_body_with_anything_else_behind_it_is_broken(server: FaultServer, spoilt: bytes) -> None:
    body = gzip.compress(b'{"data": [1]}') + spoilt
    error = refused(answering(server, Given(200, body, headers=(("Content-Encoding", "gzip"),))))
    assert "last cause: the gzip body" in str(error)


def test_a_gzip_body_of_endless_members_is_refused(server: FaultServer) -> None:
    error = refused(answering(server, members(b'{"data": []}', *[b""] * 1000)))
    assert "last cause: the gzip body has more than 64 members" in str(error)


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip", "x" * 60])
def test_a_coding_that_was_not_asked_for_fails_at_once(server: FaultServer, coding: str) -> None:
    error = refused(answering(server, Given(200, b"{}", headers=(("Content-Encoding", coding),))))
    assert isinstance(error, ResponseError)
    assert f"the response's content coding is {coding.replace('x' * 60, 'unknown')}; only gzip" in str(error)
    assert len(server.log.requests) == 1


def bomb(size: int) -> bytes:
    """Return a gzip body of ``size`` spaces, 1000 times smaller."""
    machine = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(machine.compress(b" " * MIB) for _ in range(size // MIB)), machine.flush()])


def test_a_gzip_bomb_costs_neither_time_nor_memory(server: FaultServer) -> None:
    url = answering(server, Given(200, bomb(160 * MIB), headers=(("Content-Encoding", "gzip"),)))
    tracemalloc.start()
    try:
        before, spent = tracemalloc.get_traced_memory()[0], time.thread_time()
        error = refused(url)
        spent, peak = time.thread_time() - spent, tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert isinstance(error, LimitExceeded)
    assert "the decoded body is larger than limits.page_bytes=67108864; lower page_size or raise the limit" in str(
        error
    )
    assert spent < 1.0
    assert peak < 100 * MIB
    assert len(server.log.requests) == 1


def test_a_bomb_in_many_members_is_one_bomb(server: FaultServer) -> None:
    body = bomb(MIB) * 3
    url = answering(server, Given(200, body, headers=(("Content-Encoding", "gzip"),)))
    assert isinstance(refused(url, limits=Limits(page_bytes=2 * MIB)), LimitExceeded)


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * MIB


OK = b"HTTP/1.1 200 OK\r\n"
BODIES = {
    "without an end": Raw(OK + b"\r\n", "keep", b" " * 65536, 10**5),
    "of a huge length": Raw(OK + b"Content-Length: 99999999999\r\n\r\n", "keep", b" " * 65536, 10**5),
    "in chunks": Raw(OK + b"Transfer-Encoding: chunked\r\n\r\n", "keep", b"10000\r\n" + b" " * 65536 + b"\r\n", 10**5),
    "in chunks of two bytes": Raw(OK + b"Transfer-Encoding: chunked\r\n\r\n", "keep", b"2\r\n  \r\n" * 5000, 10**4),
}


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("fault", BODIES.values(), ids=BODIES)
def test_an_endless_body_is_capped(server: FaultServer, fault: Fault) -> None:
    error = refused(answering(server, fault), limits=Limits(page_bytes=MIB // 16))
    assert isinstance(error, LimitExceeded)
    assert "the body is larger than limits.page_bytes=65536; lower page_size or raise the limit" in str(error)


LINES = {
    "headers": Raw(OK, "keep", b"X-More: of the same\r\n" * 100, 10**5),
    "a header line": Raw(OK + b"X-Long: ", "keep", b"x" * 65536, 10**5),
    "a status line": Raw(b"HTTP/1.1 200 ", "keep", b"x" * 65536, 10**5),
    "a chunk line": Raw(OK + b"Transfer-Encoding: chunked\r\n\r\n", "keep", b"0" * 65536, 10**5),
    "a chunk extension": Raw(OK + b"Transfer-Encoding: chunked\r\n\r\n2;", "keep", b"x" * 65536, 10**5),
}


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("fault", LINES.values(), ids=LINES)
def test_endless_lines_are_capped(server: FaultServer, fault: Fault) -> None:
    error = refused(answering(server, fault), timeouts=short(attempt=25))
    assert isinstance(error, PageFailed)
    assert "failed in 3 attempts; last cause: the " in str(error)
    assert "deadline" not in str(error)


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def test_chunks_of_one_byte_and_trailers(server: FaultServer) -> None:
    text = b'{"data": [1]}'.ljust(100_000)
    body = b"".join(b"1\r\n%c\r\n" % each for each in text) + b"0\r\nX-Sum: 7\r\n\r\n"
    server.faults = lambda request, nth: Raw(CHUNKED + body, "keep")
    with connect(server.url) as client:
        for number in (1, 2):
            assert client.fetch(page(number)).rows == [b"1"]
    assert {seen.connection for seen in server.log.requests} == {1}


@pytest.mark.parametrize("status", [b"100 Continue", b"102 Processing", b"103 Early Hints"])
def test_an_interim_answer_is_none(server: FaultServer, status: bytes) -> None:
    body = b'{"data": [%d]}'
    interim = b"HTTP/1.1 %b\r\nLink: </style.css>; rel=preload\r\n\r\n" % status

    def schedule(request: Request, nth: int) -> Fault:
        said = body % int(request.query["page"])
        return Raw(interim * 2 + OK + b"Content-Length: %d\r\n\r\n" % len(said) + said, "keep")

    server.faults = schedule
    with connect(server.url) as client:
        for number in (1, 2, 3):
            assert client.fetch(page(number)).rows == [b"%d" % number]
    assert {seen.connection for seen in server.log.requests} == {1}


def test_a_protocol_that_was_not_asked_for_is_refused(server: FaultServer) -> None:
    error = refused(answering(server, Raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "keep")))
    assert isinstance(error, RequestRefused)
    assert "101 Switching Protocols" in str(error)


def test_a_body_of_just_the_limit(server: FaultServer) -> None:
    size = len(fetch(server.url).lines) * 2
    body = b'{"data": [1]}'.ljust(size)
    assert fetch(answering(server, Given(200, body)), limits=Limits(page_bytes=size)).count == 1
    packed = Given(200, gzip.compress(body), headers=(("Content-Encoding", "gzip"),))
    assert fetch(answering(server, packed), limits=Limits(page_bytes=size)).count == 1
    assert isinstance(refused(answering(server, packed), limits=Limits(page_bytes=size - 1)), LimitExceeded)


def test_the_connection_goes_on_after_each_refusal(server: FaultServer) -> None:
    server.faults = lambda request, nth: Given(404, b"{}") if request.query["page"] == "1" else None
    with connect(server.url) as client:
        for _ in range(3):
            with pytest.raises(RequestRefused):
                client.fetch(page(1))
        assert client.fetch(page(2)).lines == lines(2)
    assert {seen.connection for seen in server.log.requests} == {1}
