"""JSON Lines and CSV on the wire: exact rows or a clear error, and never a page that was cut without a sign."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from io import StringIO
from typing import Any, Final

import pytest

from airflow_paginated.core.errors import PageFailed, RequestRefused, ResponseError
from airflow_paginated.core.values import Page
from airflow_paginated.transport import ResponseRules
from tests.servers import (
    CutChunk,
    CutHeaders,
    EmptyOK,
    Fault,
    FaultServer,
    Given,
    HtmlOK,
    Raw,
    Reply,
    Request,
    ResetInBody,
    ServerError,
    ShortBody,
    TruncatedGzip,
    UnframedCut,
)
from tests.servers.wire import Framing
from tests.transport.clients import API, fetch, headers_of, lines, page, refused, short

FIELDS = ("id", "name", "badge")
TYPES: Final = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


def csv_of(number: int) -> bytes:
    """Return a page of employees as CSV, with a header line, and a line break in a field of each record."""
    written = StringIO(newline="")
    writer = csv.writer(written)
    writer.writerow([*FIELDS, "note"])
    writer.writerows([row[name] for name in FIELDS] + ["a\r\nb"] for row in map(json.loads, lines(number).splitlines()))
    return written.getvalue().encode()


def csv_rows(number: int) -> bytes:
    rows = [{name: str(row[name]) for name in FIELDS} for row in map(json.loads, lines(number).splitlines())]
    return b"".join(
        json.dumps({**row, "note": "a\r\nb"}, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        for row in rows
    )


BODIES: Final[dict[str, Callable[[int], bytes]]] = {"csv": csv_of, "jsonl": lines}
ROWS: Final[dict[str, Callable[[int], bytes]]] = {"csv": csv_rows, "jsonl": lines}


def serve(server: FaultServer, form: str) -> None:
    """Let the server answer in this format."""

    def app(request: Request) -> Reply:
        found = API.page_of(request)
        assert found is not None
        return Reply(BODIES[form](found[1] + 1), 200, (("Content-Type", TYPES[form]),))

    server.app = app


def fetched(server: FaultServer, form: Any, number: int = 1, **given: Any) -> Page:
    rules = ResponseRules(response_format=form, **given.pop("rules", {}))
    return fetch(server.url, page(number), data_selector=None, rules=rules, **given)


def refusing(server: FaultServer, form: Any, fault: Fault, **given: Any) -> Exception:
    server.faults = lambda request, nth: fault
    rules = ResponseRules(response_format=form, **given.pop("rules", {}))
    return refused(server.url, data_selector=None, rules=rules, **given)


FORMS = pytest.mark.parametrize("form", ["csv", "jsonl"])


@FORMS
@pytest.mark.parametrize("framing", ["plain", "chunked", "gzip", "gzip+chunked"])
def test_every_framing_that_has_an_end(server: FaultServer, form: str, framing: Framing) -> None:
    serve(server, form)
    server.framing = framing
    for number in (1, 2, 3):
        got = fetched(server, form, number)
        assert (got.lines, got.count, got.envelope) == (ROWS[form](number), 100, None)
        assert got.bytes == len(BODIES[form](number))


@FORMS
@pytest.mark.parametrize("at", [0.5, 0.9, 1.0])
def test_a_response_without_framing_is_refused_at_once(server: FaultServer, form: str, at: float) -> None:
    serve(server, form)
    error = refusing(server, form, UnframedCut(at=at))
    assert isinstance(error, ResponseError)
    assert f"a {form} response without Content-Length, chunked or gzip coding may have been cut" in str(error)
    assert len(server.log.requests) == 1


@FORMS
def test_the_response_of_an_old_server_is_refused(server: FaultServer, form: str) -> None:
    for header in (b"", b"Content-Length: abc\r\n"):
        error = refusing(server, form, Raw(b"HTTP/1.0 200 OK\r\n" + header + b"\r\n1\n2\n"))
        assert isinstance(error, ResponseError)
        assert "may have been cut" in str(error)


@FORMS
def test_gzip_shows_its_own_end(server: FaultServer, form: str) -> None:
    packed = gzip.compress(b"1\n2\n")
    server.faults = lambda request, nth: Raw(b"HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + packed)
    assert fetched(server, form).count == {"csv": 1, "jsonl": 2}[form]
    error = refusing(server, form, Raw(b"HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + packed[:-1]))
    assert isinstance(error, PageFailed)


CUTS: list[Fault] = [
    CutHeaders(),
    UnframedCut(at=0.0),
    ResetInBody(),
    ShortBody(),
    ShortBody(at=0.0),
    CutChunk(),
    TruncatedGzip(),
    EmptyOK(),
    HtmlOK(),
    ServerError(),
]


@FORMS
@pytest.mark.parametrize("fault", CUTS, ids=lambda fault: type(fault).__name__)
def test_what_is_cut_is_tried_again(server: FaultServer, form: str, fault: Fault) -> None:
    serve(server, form)
    server.faults = lambda request, nth: fault if nth == 1 else None
    got = fetched(server, form, timeouts=short(attempt=20))
    assert (got.lines, got.attempts) == (ROWS[form](1), 2)


@pytest.mark.parametrize(
    ("form", "sent", "accept"),
    [
        ("csv", {}, "text/csv"),
        ("jsonl", {}, "application/x-ndjson"),
        ("csv", {"accept": "application/vnd.csv"}, "application/vnd.csv"),
    ],
)
def test_the_format_is_asked_for(server: FaultServer, form: str, sent: dict[str, str], accept: str) -> None:
    serve(server, form)
    fetched(server, form, headers=sent)
    assert headers_of(server)[0]["accept"] == accept


def test_a_csv_header_alone_is_a_page_without_rows(server: FaultServer) -> None:
    server.faults = lambda request, nth: Given(200, b"id,name\r\n", "text/csv")
    got = fetched(server, "csv")
    assert (got.lines, got.count, got.end) == (b"", 0, None)


def test_csv_without_a_header_line(server: FaultServer) -> None:
    server.faults = lambda request, nth: Given(200, b"1;'a;b'\n2;\n", "text/plain")
    rules = {"csv_columns": ["id", "name"], "csv_delimiter": ";", "csv_quotechar": "'"}
    assert fetched(server, "csv", rules=rules).rows == [b'{"id":"1","name":"a;b"}', b'{"id":"2","name":""}']
    server.faults = lambda request, nth: Given(200, b'1\t"a\n', "text/plain")
    rules = {"csv_columns": ["id", "name"], "csv_delimiter": "\t", "csv_quotechar": None}
    assert fetched(server, "csv", rules=rules).rows == [b'{"id":"1","name":"\\"a"}']


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/csv", b"\xef\xbb\xbfa\n\xc3\xa9\n"),
        ("text/csv; charset=iso-8859-1", b"a\n\xe9\n"),
        ("text/csv; charset=utf-16", "a\né\n".encode("utf-16")),
    ],
)
def test_csv_in_any_charset(server: FaultServer, content_type: str, body: bytes) -> None:
    server.faults = lambda request, nth: Given(200, body, content_type)
    assert fetched(server, "csv").rows == ['{"a":"é"}'.encode()]


@pytest.mark.parametrize(
    ("form", "body", "told"),
    [
        ("csv", b"a,b\n1,2\n3\n", "line 3 of the CSV body has 1 fields, expected 2"),
        ("csv", b"a\n\xff\n", "the body is not utf-8"),
        ("jsonl", b'{"a": 1}\n{"a": \n', "line 2 of the body is not JSON"),
        ("jsonl", b"\xff", "the body is not utf-8"),
    ],
)
def test_rows_that_cannot_be_read_are_tried_again(server: FaultServer, form: str, body: bytes, told: str) -> None:
    error = refusing(server, form, Given(200, body, TYPES[form].partition(";")[0]))
    assert isinstance(error, PageFailed)
    assert str(error).endswith(f"failed in 3 attempts; last cause: {told}")


def test_one_line_of_something_else_is_no_empty_csv(server: FaultServer) -> None:
    error = refusing(server, "csv", Given(200, b'{"error": "quota"}', "application/problem+json"))
    assert isinstance(error, ResponseError)
    assert """the response is JSON or XML, not CSV; the API says: '{"error": "quota"}'""" in str(error)
    error = refusing(server, "csv", Given(200, b"Please log in", "text/html; charset=utf-8"))
    assert str(error).endswith("last cause: the response is HTML, not CSV")
    error = refusing(server, "csv", Given(200, b"<p>Please log in</p>", "text/plain"))
    assert str(error).endswith("last cause: the body is not CSV: it begins like HTML or JSON")


def test_csv_of_a_wrong_type_can_be_declared_right(server: FaultServer) -> None:
    server.faults = lambda request, nth: Given(200, b"a\n1\n", "text/html")
    declared = {"response_actions": [{"action": "SUCCESS", "status": 200}]}
    assert fetched(server, "csv", rules=declared).rows == [b'{"a":"1"}']


@FORMS
@pytest.mark.parametrize("body", [b'{"error": "quota"}\n', b'{\n "error": {"message": "quota"}\n}'])
def test_an_error_as_json_is_found_in_place_of_rows(server: FaultServer, form: str, body: bytes) -> None:
    error = refusing(server, form, Given(200, body, "text/plain"), rules={"error_path": "error"})
    assert isinstance(error, ResponseError)
    assert str(error).endswith("200 OK, but the body says at error_path 'error': 'quota'")


@FORMS
def test_rows_are_no_error(server: FaultServer, form: str) -> None:
    serve(server, form)
    assert fetched(server, form, rules={"error_path": "id"}).count == 100


@FORMS
@pytest.mark.parametrize("status", [200, 204])
def test_an_empty_answer_may_be_declared_a_page(server: FaultServer, form: str, status: int) -> None:
    server.faults = lambda request, nth: Given(status, b"", TYPES[form].partition(";")[0])
    declared = {"response_actions": [{"action": "SUCCESS", "status": status}]}
    assert fetched(server, form, rules=declared).count == 0
    assert isinstance(refusing(server, form, Given(status)), PageFailed | RequestRefused)
