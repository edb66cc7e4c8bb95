"""Answers that are whole, and not what is due."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from airflow_paginated import Completeness, Cursor, JsonLink, Offset, PageNumber, PageRequest
from airflow_paginated.core.errors import PageFailed, PaginatedApiError, RequestRefused, ResponseError
from airflow_paginated.pagination.protocols import Pagination
from airflow_paginated.transport import RequestRetry, ResponseRules
from tests.collect.disk import manifest
from tests.collect.running import Job
from tests.faults.endings import exact, refused, run
from tests.servers import (
    EmptyOK,
    Fault,
    FaultServer,
    Given,
    HtmlOK,
    PagedApi,
    Redirect,
    Reply,
    Request,
    Schedule,
    TruncatedJson,
    mixed,
    on_page,
)
from tests.servers.wire import Framing

API = PagedApi(rows=1_000)
QUICK = RequestRetry(max_attempts=2, backoff_factor=0.002)
PATIENT = RequestRetry(backoff_factor=0.002)
LAST = API.pages()
Recorder = Callable[[str, object], None]


def job(server: FaultServer, path: Path, name: object = "out", **given: Any) -> Job:
    client = {"retry": QUICK, **given.pop("client", {})}
    return Job(url=server.url, path=f"{path}/{name}/", client=client, **given)


LOGIN = b"<!DOCTYPE html><html><body><form action='/login'>Please log in</form></body></html>"
BROKEN: list[Fault] = [
    HtmlOK(),
    Given(200, LOGIN),
    EmptyOK(),
    Given(200, b" \r\n\t"),
    Given(200, b"\xef\xbb\xbf"),
    TruncatedJson(),
    TruncatedJson(at=0.99),
    Given(200, b'{"data": [{"id": 1}], "meta"'),
    Given(200, b'{"data": []} {"data": []}'),
    Given(200, b'{"data": [],}'),
    Given(200, b"OK", "text/plain"),
]


@pytest.mark.fault("B1")
@pytest.mark.parametrize("framing", ["plain", "gzip+chunked"])
def test_what_is_no_json(framing: Framing, tmp_path: Path, record_property: Recorder) -> None:
    with FaultServer(API, mixed(BROKEN, 0.3, in_a_row=2), framing=framing) as server:
        assert exact(job(server, tmp_path, client={"retry": PATIENT}), API)["retries"] > 0
    for number, fault in enumerate(BROKEN):
        # The last page may be empty, and is not for that.
        for page in (1, 5, LAST):
            # A server of its own: an earlier run's may still hear of requests that nobody waits for.
            with FaultServer(API, on_page(page, fault), framing=framing) as server:
                refused(job(server, tmp_path, f"{number}-{page}"), PageFailed)
                assert server.log.counts["", page - 1] == QUICK.max_attempts
    record_property("runs", 1 + 3 * len(BROKEN))


WITHOUT_ROWS = [
    b'{"error": "internal"}',
    b'{"error": {"code": 503, "message": "try again"}, "meta": {"total": 1000}}',
    b'{"errors": [{"message": "boom"}], "data": null}',
    b"{}",
    b'{"data": null}',
    b'{"data": {}}',
    b'{"data": {"id": 1}}',
    b'{"data": "none"}',
    b'{"data": 0}',
    b'{"data": false, "next": null, "has_more": false}',
    b'{"Data": [], "next": null}',
    b'{"result": {"data": []}, "next": null}',
    b"[]",
    b"null",
    b'""',
    b"0",
]


def linked(request: Request) -> Reply:
    """Answer as the API does, with a link to the next page."""
    reply, number = API(request), int(request.query.get("page", "1"))
    following = f"/employees?page={number + 1}" if number < LAST else None
    return Reply(reply.body[:-1] + b', "next": %b}' % json.dumps(following).encode())


STRATEGIES: list[Pagination] = [
    PageNumber(total_path="meta.total"),
    PageNumber(stop_after_empty_page=True),
    Offset(page_size=100, has_more_path="has_more"),
    JsonLink(),
]


@pytest.mark.fault("B2")
@pytest.mark.parametrize("pagination", STRATEGIES, ids=["a total", "until it is empty", "has more", "links"])
def test_a_response_without_rows(pagination: Pagination, tmp_path: Path, record_property: Recorder) -> None:
    for number, body in enumerate(WITHOUT_ROWS):
        for page in (1, 5, LAST):
            hit, answer = _turn(pagination, page), Given(200, body)
            faults: Schedule = lambda request, nth, hit=hit, answer=answer: answer if hit(request) else None  # noqa: E731
            with FaultServer(linked, faults) as server:
                refused(job(server, tmp_path, f"{number}-{page}", pagination=pagination), ResponseError)
                assert sum(hit(seen.request) for seen in server.log.requests) == 1
    record_property("runs", 3 * len(WITHOUT_ROWS))


def _turn(pagination: Pagination, page: int) -> Callable[[Request], bool]:
    if isinstance(pagination, Offset):
        return lambda request: int(request.query["offset"]) == 100 * (page - 1)
    return lambda request: int(request.query.get("page", "1")) == page


BUSY = Given(200, b'{"error": {"code": "busy", "message": "try again"}}')
RETRIED = ResponseRules(response_actions=[{"action": "RETRY", "path": "error.code", "equals": "busy"}])
TOLD = ResponseRules(error_path="error", missing_rows="empty")
ENDED = ResponseRules(response_actions=[{"action": "END", "path": "error.code", "equals": "no such page"}])
IGNORED = ResponseRules(response_actions=[{"action": "IGNORE", "path": "error.code", "equals": "busy"}])


@pytest.mark.fault("B2")
def test_a_response_without_rows_that_is_mapped(tmp_path: Path) -> None:
    with FaultServer(API) as server:
        server.faults = on_page(5, BUSY, times=2)
        exact(job(server, tmp_path, "retried", client={"rules": RETRIED, "retry": PATIENT}), API)
        server.faults = on_page(5, BUSY)
        refused(job(server, tmp_path, "retried in vain", client={"rules": RETRIED}), PageFailed)
        error = refused(job(server, tmp_path, "told", client={"rules": TOLD}), ResponseError).error
        assert "200 OK, but the body says at error_path 'error': 'try again'" in str(error)
        # Rows are given up on purpose: that shows.
        ending = run(job(server, tmp_path, "ignored", client={"rules": IGNORED}))
        assert ending.result is not None
        assert (ending.result["rows"], ending.result["complete"]) == (900, False)
        server.app = _refusing_behind_the_end
        server.faults = lambda request, nth: None
        strategy = PageNumber(stop_after_empty_page=True)
        exact(job(server, tmp_path, "ended", client={"rules": ENDED}, pagination=strategy), API)


def _refusing_behind_the_end(request: Request) -> Reply:
    over = int(request.query.get("page", "1")) > LAST
    return Reply(b'{"error": {"code": "no such page"}}') if over else API(request)


@dataclass(frozen=True)
class Changed:
    """The API's good answer, changed: other bytes, and another media type."""

    change: Callable[[bytes], bytes]
    content_type: str = "application/json"

    def __call__(self, request: Request) -> Reply:
        return Reply(self.change(API(request).body), 200, (("Content-Type", self.content_type),))


def inside(text: bytes) -> Callable[[bytes], bytes]:
    """Return what puts a text into the first row."""
    return lambda body: body.replace(b'"boss": null', b'"boss": %b' % text, 1)


def beside(text: bytes) -> Callable[[bytes], bytes]:
    """Return what puts a text beside the rows."""
    return lambda body: body[:-1] + b", %b}" % text


DECODED = {
    "a byte order mark": Changed(lambda body: b"\xef\xbb\xbf" + body),
    "UTF-16": Changed(lambda body: body.decode().encode("utf-16"), "application/json; charset=utf-16"),
    "UTF-32": Changed(lambda body: body.decode().encode("utf-32-be"), 'application/json; charset="UTF-32BE"'),
    "Latin-1 that is UTF-8": Changed(lambda body: body, "application/json; charset=iso-8859-1"),
    "ASCII that is UTF-8": Changed(lambda body: body, "text/html; charset=us-ascii"),
    "white space around": Changed(lambda body: b"\r\n \t" + body + b"\n\n"),
    "a name twice in a row": Changed(beside(b'"more": {"a": 1}')),
}
ALTERED = {
    "the rows twice": (Changed(beside(b'"data": []')), ResponseError),
    "the rows twice, empty first": (Changed(lambda body: b'{"data": [], ' + body[1:]), ResponseError),
    "the total twice": (Changed(beside(b'"meta": {"total": 5, "total": 1000}')), ResponseError),
    "a name twice beside the rows": (Changed(beside(b'"more": {"a": 1, "a": 2}')), ResponseError),
    "NaN": (Changed(inside(b"NaN")), PageFailed),
    "NaN beside the rows": (Changed(beside(b'"more": NaN')), PageFailed),
    "Infinity": (Changed(inside(b"-Infinity")), PageFailed),
    "single quotes": (Changed(inside(b"'x'")), PageFailed),
    "a raw line break in a text": (Changed(inside(b'"a\nb"')), PageFailed),
    "a leading zero": (Changed(inside(b"01")), PageFailed),
    "bad UTF-8": (Changed(inside(b'"\xff\xfe"')), PageFailed),
    "half a character": (Changed(inside(b'"\xe6\x9d"')), PageFailed),
    "a surrogate in UTF-8": (Changed(inside(b'"\xed\xa0\x80"')), PageFailed),
    "an overlong slash": (Changed(inside(b'"\xc0\xaf"')), PageFailed),
    "UTF-16 that is UTF-8": (Changed(lambda body: body + b" ", "application/json; charset=utf-16"), PageFailed),
    "no charset": (Changed(lambda body: body, "application/json; charset=klingon"), ResponseError),
    "UTF-7": (Changed(lambda body: body, "application/json; charset=utf-7"), ResponseError),
    "UTF-16 that is not declared": (Changed(lambda body: body.decode().encode("utf-16")), PageFailed),
    "half a pair beside the rows": (Changed(beside(b'"more": "\\ud800"')), PageFailed),
    "two byte order marks": (Changed(lambda body: b"\xef\xbb\xbf" * 2 + body), PageFailed),
    "a zero byte": (Changed(lambda body: body + b"\0"), PageFailed),
}


@pytest.mark.fault("B3")
def test_what_can_be_decoded(tmp_path: Path, record_property: Recorder) -> None:
    with FaultServer(API) as server:
        for name, app in DECODED.items():
            server.app = app
            exact(job(server, tmp_path, name), API)
    record_property("runs", len(DECODED))


@pytest.mark.fault("B3")
def test_what_would_be_altered_silently(tmp_path: Path, record_property: Recorder) -> None:
    with FaultServer(API) as server:
        for name, (app, kind) in ALTERED.items():
            server.app = lambda request, app=app: (app if request.query["page"] == "5" else API)(request)
            refused(job(server, tmp_path, name), kind)
    record_property("runs", len(ALTERED))


STATUSES = [202, 204, 205, 206, 207, 226, 300, 304, 305, 306, 399]


@pytest.mark.fault("B4")
def test_other_statuses(tmp_path: Path, record_property: Recorder) -> None:
    with FaultServer(API) as server:
        for status in STATUSES:
            for body in (b"", b'{"data": []}'):
                server.log.clear()
                server.faults = on_page(5, Given(status, b"" if status in (204, 304) else body))
                ending = refused(job(server, tmp_path, f"{status}{bool(body)}"), RequestRefused)
                assert "only 200, 201 and 203 carry a page" in str(ending.error)
                assert server.log.counts["", 4] == 1
        for status in (301, 302, 303, 307, 308):
            server.faults = on_page(5, Redirect("", status))
            refused(job(server, tmp_path, f"{status}-nowhere"), RequestRefused)
    record_property("runs", 2 * len(STATUSES) + 5)


def _partial(request: Request) -> Reply:
    return replace(API(request), status=206)


def _empty_behind_the_end(request: Request) -> Reply:
    return Reply(b"", 204, ()) if int(request.query["page"]) > LAST else API(request)


@pytest.mark.fault("B4")
@pytest.mark.parametrize(
    ("app", "action", "pagination"),
    [
        (_partial, {"action": "SUCCESS", "status": 206}, PageNumber(total_path="meta.total")),
        (_empty_behind_the_end, {"action": "END", "status": 204}, PageNumber(stop_after_empty_page=True)),
        (_empty_behind_the_end, {"action": "SUCCESS", "status": 204}, PageNumber(stop_after_empty_page=True)),
    ],
)
def test_other_statuses_where_configured(
    app: Callable[[Request], Reply], action: Mapping[str, Any], pagination: Pagination, tmp_path: Path
) -> None:
    rules = ResponseRules(response_actions=[action])
    with FaultServer(app) as server:
        exact(job(server, tmp_path, client={"rules": rules}, pagination=pagination), API)
        refused(job(server, tmp_path, "without", pagination=pagination), RequestRefused)


@dataclass(frozen=True)
class Huge:
    """Rows, keys, cursors and totals of 23 digits, which neither fit a double nor 64 bits."""

    pages: int = 6
    total: int = 60

    def row(self, number: int) -> bytes:
        return b'{"id": %d, "price": %d.%d00, "next": 1.10}' % (10**22 + number, 10**23 + number, 10**22 + number)

    def page(self, number: int) -> Iterable[bytes]:
        return (self.row(10 * number + each) for each in range(10))

    def reference(self) -> bytes:
        return b"".join(row + b"\n" for number in range(self.pages) for row in self.page(number))

    def __call__(self, request: Request) -> Reply:
        number = int(request.query.get("cursor", 10**22)) - 10**22
        following = json.dumps(10**22 + number + 1 if number + 1 < self.pages else None).encode()
        rows = b", ".join(self.page(number))
        return Reply(b'{"data": [%b], "next": %b, "total": %d}' % (rows, following, self.total))


@pytest.mark.fault("B5")
def test_integers_of_23_digits(tmp_path: Path) -> None:
    api, by_cursor = Huge(), Cursor(cursor_path="next", total_path="total")
    with FaultServer(API) as server:
        assert b'"badge": 10000012345000000000000' in API.reference()
        exact(job(server, tmp_path, "rows"), API)
        server.app = api
        for name, completeness in {"cursors": Completeness(), "keys": Completeness(key="id")}.items():
            exact(job(server, tmp_path, name, pagination=by_cursor, completeness=completeness), api)
        server.app = Huge(total=10**22)
        refused(job(server, tmp_path, "total", pagination=by_cursor))


PLACES: dict[str, Callable[[bytes], Callable[[bytes], bytes]]] = {
    "a row": inside,
    "the envelope": lambda deep: beside(b'"more": %b' % deep),
    "the rows": lambda deep: lambda body: b'{"data": %b, "meta": {"total": 1000}}' % deep,
    "the body": lambda deep: lambda body: deep,
    "the body, cut": lambda deep: lambda body: deep[: len(deep) // 2],
}
DEPTHS = (50, 500, 900, 1_000, 1_024, 1_500, 10_000, 100_000)


@pytest.mark.fault("B5")
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_depth(place: Callable[[bytes], Callable[[bytes], bytes]], tmp_path: Path, record_property: Recorder) -> None:
    with FaultServer(API) as server:
        for depth in DEPTHS:
            for kind, deep in {
                "lists": b"[" * depth + b"1" + b"]" * depth,
                "objects": b'{"a":' * depth + b"1" + b"}" * depth,
            }.items():
                app = Changed(place(deep))
                server.app = lambda request, app=app: (app if request.query["page"] == "5" else API)(request)
                for name, sink in {"plain": {}, "keys": {"completeness": Completeness(key="id")}}.items():
                    ending = run(job(server, tmp_path, f"{depth}-{kind}-{name}", **sink))
                    if ending.error is None:
                        assert depth <= 1_024
                        assert ending.visible is not None
                        assert ending.visible.count(b"\n") == 1_000
                        assert manifest(f"{tmp_path}/{depth}-{kind}-{name}/")["rows"] == 1_000  # type: ignore[index]
                    else:
                        assert isinstance(ending.error, PaginatedApiError)
                        assert "unexpected" not in str(ending.error), ending.error
                        assert ending.visible is None
    record_property("runs", 4 * len(DEPTHS))


@pytest.mark.fault("B5")
def test_depth_in_an_error(tmp_path: Path) -> None:
    deep = b'{"error": %b}' % (b"[" * 100_000 + b"]" * 100_000)
    rules = ResponseRules(error_path="error", response_actions=[{"action": "FAIL", "path": "error.code"}])
    with FaultServer(API) as server:
        for status in (200, 400):
            server.faults = on_page(5, Given(status, deep))
            refused(job(server, tmp_path, str(status), client={"rules": rules}, request=PageRequest("/employees")))
