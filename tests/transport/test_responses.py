"""Response rules on the wire: what a response may mean beyond its status."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from airflow_paginated.core.errors import ConfigurationError, PageFailed, QuotaExceeded, RequestRefused, ResponseError
from airflow_paginated.core.values import Page, PageRequest
from airflow_paginated.transport import ResponseRules
from tests.servers import CutHeaders, EmptyOK, Fault, FaultServer, Given, Redirect, RetryLater, TruncatedJson, on_page
from tests.transport.clients import ONCE, SECRET, connect, fetch, headers_of, lines, page, refused

ROWS = b'{"data": [1, 2]}'
GRAPHQL = {"error_path": "errors"}


def rules(*actions: dict[str, Any], **given: Any) -> ResponseRules:
    return ResponseRules(response_actions=actions, **given)


def answered(server: FaultServer, fault: Fault, *actions: dict[str, Any], **given: Any) -> Page:
    """Fetch a page to which the server gives this answer first, and then a good one."""
    due = [fault]
    server.faults = lambda request, nth: due.pop() if due else None
    return fetch(server.url, rules=rules(*actions, **given))


def refusing(server: FaultServer, fault: Fault, *actions: dict[str, Any], **given: Any) -> Exception:
    server.faults = lambda request, nth: fault
    return refused(server.url, rules=rules(*actions, **given))


@pytest.mark.parametrize(
    ("body", "selector", "lenient", "told"),
    [
        (b'{"total": 0}', "data", "missing_rows", "the response has nothing at 'data', only an object with the keys"),
        (b'{"a": {}}', "a.b.c", "missing_rows", "the response has nothing at 'a.b', only an empty object"),
        (b'{"data": [{"y": []}]}', "data[*].x[*]", "missing_rows", "nothing at '[*].x'"),
        (b'{"data": null}', "data", "null_rows", "it leads to null"),
        (b'{"a": null}', "a.b.c", "null_rows", "it leads to null"),
        (b"null", "data", "null_rows", "it leads to null"),
        (b"null", None, "null_rows", "it is null"),
        (b'{"data": [{"x": null}, null]}', "data[*].x[*]", "null_rows", "it leads to null"),
    ],
)
def test_absent_and_null_rows_are_errors_unless_they_are_said_to_be_none(
    server: FaultServer, body: bytes, selector: str | None, lenient: str, told: str
) -> None:
    server.faults = lambda request, nth: Given(200, body)
    other = {"missing_rows": "null_rows", "null_rows": "missing_rows"}[lenient]
    for given in ({}, {other: "empty"}):
        error = refused(server.url, data_selector=selector, rules=ResponseRules(**given))
        assert isinstance(error, ResponseError)
        assert told in str(error)
        assert f"if this means that there are no rows, set {lenient}='empty' in response" in str(error)
    got = fetch(server.url, data_selector=selector, rules=ResponseRules(**{lenient: "empty"}))
    assert (got.lines, got.count, got.end, got.ignored) == (b"", 0, None, False)


def test_what_is_beside_missing_rows_is_kept(server: FaultServer) -> None:
    got = answered(server, Given(200, b'{"a": {"n": 1}, "more": true}'), missing_rows="empty")
    assert got.envelope == {"a": {"n": 1}, "more": True}
    server.faults = lambda request, nth: Given(200, b'{"a": {"n": 1, "rows": null}, "more": true}')
    both = ResponseRules(missing_rows="empty", null_rows="empty")
    assert fetch(server.url, data_selector="a.rows", rules=both).envelope == {"a": {"n": 1}, "more": True}
    assert fetch(server.url, data_selector="a.x.rows", rules=both).envelope == {
        "a": {"n": 1, "rows": None},
        "more": True,
    }


@pytest.mark.parametrize(
    "body",
    [
        b'{"data": [1], "data": null}',
        b'{"more": 1, "more": 2}',
        b'{"data": {"id": 1}}',
        b'{"data": "null"}',
        b"[]",
    ],
)
def test_leniency_ends_at_absent_and_null(server: FaultServer, body: bytes) -> None:
    error = refusing(server, Given(200, body), missing_rows="empty", null_rows="empty")
    assert isinstance(error, ResponseError)


def test_leniency_is_for_whole_responses(server: FaultServer) -> None:
    got = answered(server, TruncatedJson(at=0.1), missing_rows="empty", null_rows="empty")
    assert (got.lines, got.attempts) == (lines(1), 2)
    got = answered(server, CutHeaders(), missing_rows="empty", null_rows="empty")
    assert (got.lines, got.attempts) == (lines(1), 2)


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ('"quota"', "quota"),
        ('[{"message": "quota", "path": ["a"]}, {"message": "b"}]', "quota"),
        ('{"message": "quota"}', "quota"),
        ('{"code": 7}', '{"code":7}'),
        ("[[1]]", "[[1]]"),
        ('{"message": 7}', '{"message":7}'),
        ("true", "true"),
        ("12345678901234567890123", "12345678901234567890123"),
    ],
)
@pytest.mark.parametrize("beside", ['"data": [1]', '"data": null', '"data": {}', '"other": 1'])
def test_an_error_in_a_200_is_one(server: FaultServer, errors: str, said: str, beside: str) -> None:
    body = f'{{{beside}, "errors": {errors}}}'.encode()
    error = refusing(server, Given(200, body), **GRAPHQL, missing_rows="empty", null_rows="empty")
    assert isinstance(error, ResponseError)
    assert str(error).endswith(f"): 200 OK, but the body says at error_path 'errors': {said!r}")
    assert len(server.log.requests) == 1


@pytest.mark.parametrize("nothing", ["null", "false", "0", "0.0", '""', "[]", "{}"])
def test_no_error_is_none(server: FaultServer, nothing: str) -> None:
    assert answered(server, Given(200, f'{{"data": [1], "errors": {nothing}}}'.encode()), **GRAPHQL).count == 1
    assert answered(server, Given(200, b'{"data": [1]}'), **GRAPHQL).count == 1


def test_an_error_on_the_way_to_the_rows(server: FaultServer) -> None:
    server.faults = lambda request, nth: Given(200, b'{"data": {"error": "locked"}}')
    for selector in ("data", "data.rows", None):
        error = refused(server.url, data_selector=selector, rules=ResponseRules(error_path="data.error"))
        assert str(error).endswith("the body says at error_path 'data.error': 'locked'")


def test_an_error_says_no_secret_and_not_much(server: FaultServer) -> None:
    said = "x" * 190 + SECRET + "y" * 70_000
    for errors in (said, [{"message": said}], {"detail": said}):
        error = refusing(server, Given(200, json.dumps({"data": [], "errors": errors}).encode()), **GRAPHQL)
        assert SECRET[:4] not in str(error)
        assert "***" in str(error)
        assert len(str(error)) < 400


def test_a_status_is_told_before_an_error_path(server: FaultServer) -> None:
    error = refusing(server, Given(403, b'{"errors": "no"}'), **GRAPHQL)
    assert isinstance(error, RequestRefused)


@pytest.mark.parametrize(
    ("fault", "predicates"),
    [
        (Given(404, b'{"error": "no such page"}'), {"status": 404}),
        (Given(404, b'{"error": "no such page"}'), {"status": [404, 410], "content": "no such page"}),
        (Given(404, b'{"error": "no such page"}'), {"path": "error", "equals": "no such page"}),
        (Given(404, gzip.compress(b"no such page"), headers=(("Content-Encoding", "gzip"),)), {"content": "such"}),
        (Given(404, b"\xe9t\xe9"), {"content": "\u00e9t\u00e9"}),
        (Given(404, b"", headers=(("X-End", "1"),)), {"header": "x-end"}),
    ],
)
def test_a_response_may_be_the_end(server: FaultServer, fault: Fault, predicates: dict[str, Any]) -> None:
    got = answered(server, fault, {"action": "END", **predicates})
    assert (got.lines, got.count, got.end, got.ignored) == (b"", 0, "404 Not Found", False)
    assert (got.envelope, got.attempts, got.url) == (None, 1, f"{server.url}/employees")
    assert answered(server, fault, {"action": "END", "message": "past it", **predicates}).end == "past it"


def test_a_response_may_be_ignored(server: FaultServer) -> None:
    got = answered(server, Given(500, b"broken"), {"action": "IGNORE", "status": 500})
    assert (got.lines, got.end, got.ignored, got.attempts) == (b"", None, True, 1)


def test_a_response_may_be_a_success(server: FaultServer) -> None:
    assert answered(server, Given(404, ROWS), {"action": "SUCCESS", "status": 404}).count == 2
    assert answered(server, Given(206, ROWS), {"action": "SUCCESS", "status": [202, 206]}).count == 2
    warned = b'{"data": [1], "errors": ["deprecated"]}'
    assert answered(server, Given(200, warned), {"action": "SUCCESS", "content": "deprec"}, **GRAPHQL).count == 1


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_success_without_a_body_is_a_page_without_rows(server: FaultServer, status: int) -> None:
    got = answered(server, Given(status), {"action": "SUCCESS", "status": status})
    assert (got.lines, got.count, got.envelope, got.attempts) == (b"", 0, None, 1)


@pytest.mark.parametrize("headers", [(), (("Content-Encoding", "gzip"),)])
def test_a_success_may_say_that_it_is_empty(server: FaultServer, headers: tuple[tuple[str, str], ...]) -> None:
    body = gzip.compress(b"") if headers else b""
    got = answered(server, Given(200, body, headers=headers), {"action": "SUCCESS", "status": 200})
    assert (got.count, got.attempts) == (0, 1)


def test_a_success_that_broke_off_is_tried_again(server: FaultServer) -> None:
    got = answered(server, CutHeaders(), {"action": "SUCCESS", "status": 200})
    assert (got.lines, got.attempts) == (lines(1), 2)
    got = answered(server, TruncatedJson(), {"action": "SUCCESS", "status": 200})
    assert (got.lines, got.attempts) == (lines(1), 2)


def test_a_response_may_be_a_failure(server: FaultServer) -> None:
    fault = Given(200, json.dumps({"data": [], "state": f"locked {SECRET}"}).encode())
    told = {"action": "FAIL", "path": "state", "message": "unlock the table first"}
    error = refusing(server, fault, told)
    assert isinstance(error, ResponseError)
    assert "): 200 OK: unlock the table first; the API says: " in str(error)
    assert SECRET not in str(error)
    error = refusing(server, Given(503), {"action": "FAIL", "status": 503})
    assert str(error).endswith("): 503 Service Unavailable: response_actions declares this a failure")
    assert len(server.log.requests) == 2


def test_a_response_may_be_worth_another_attempt(server: FaultServer) -> None:
    fault = Given(200, b'{"data": [], "state": "warming up"}')
    action = {"action": "RETRY", "path": "state", "equals": "warming up"}
    got = answered(server, fault, action)
    assert (got.lines, got.attempts) == (lines(1), 2)
    error = refusing(server, fault, action)
    assert isinstance(error, PageFailed)
    assert str(error).endswith("failed in 3 attempts; last cause: 200 OK (RETRY by response_actions)")


def test_a_response_may_ask_to_slow_down(server: FaultServer) -> None:
    action = {"action": "RATE_LIMITED", "status": 403, "content": "slow down"}
    server.faults = on_page(1, RetryLater("1", 403), times=1)
    with connect(server.url, rules=rules(action), retry=ONCE) as client:
        assert client.fetch(page(1)).attempts == 2
        assert 0.9 < client.throttled_seconds < 1.1
    server.faults = lambda request, nth: RetryLater("1000", 403)
    error = refused(server.url, rules=rules(action))
    assert isinstance(error, QuotaExceeded)
    assert error.seconds == 1000
    assert "403 Forbidden (RATE_LIMITED by response_actions); the API asks to wait 1000 s" in str(error)


def test_the_first_action_that_holds_decides(server: FaultServer) -> None:
    actions = ({"action": "END", "status": 410}, {"action": "IGNORE", "status": 404}, {"action": "END", "status": 404})
    assert answered(server, Given(404), *actions).ignored
    assert refusing(server, Given(418), *actions).args[0].endswith("only 200, 201 and 203 carry a page")


def test_a_redirect_may_be_a_response(server: FaultServer) -> None:
    action = {"action": "END", "header": "location", "header_matches": "/login$"}
    assert answered(server, Redirect("http://elsewhere.test/login"), action).end == "302 Found"
    assert answered(server, Redirect("/v2/employees?page=1"), action).lines == lines(1)
    assert [seen.request.path for seen in server.log.requests] == ["/employees", "/employees", "/v2/employees"]


def test_a_body_that_cannot_be_read_matches_nothing(server: FaultServer) -> None:
    action = {"action": "END", "content": "e"}
    broken = Given(200, b"no gzip", headers=(("Content-Encoding", "gzip"),))
    assert answered(server, broken, action).attempts == 2
    assert answered(server, EmptyOK(), action).attempts == 2


def test_actions_see_the_response_to_a_post(server: FaultServer) -> None:
    server.faults = lambda request, nth: Given(500, b"again")
    action = {"action": "RETRY", "status": 500}
    error = refused(server.url, PageRequest("employees", "POST", body={}), rules=rules(action))
    assert "the server may have acted on the POST" in str(error)


def test_rules_that_do_not_fit_are_refused_before_anything_is_asked(server: FaultServer) -> None:
    with pytest.raises(ConfigurationError, match="data_selector: every line of a csv response is a row"):
        connect(server.url, rules=ResponseRules(response_format="csv"))
    assert not server.log.requests


def test_json_is_asked_for(server: FaultServer) -> None:
    fetch(server.url)
    fetch(server.url, headers={"accept": "application/vnd.api+json"})
    assert [seen["accept"] for seen in headers_of(server)] == ["application/json", "application/vnd.api+json"]
