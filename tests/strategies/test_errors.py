"""Errors of real APIs that do not look like ones, and ones that look like others."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pytest
import requests

from airflow_paginated import Cursor, PageNumber
from airflow_paginated.core.errors import PageFailed, QuotaExceeded, RequestRefused, ResponseError
from airflow_paginated.hooks.connection import ConnectionSettings
from airflow_paginated.hooks.paginated_api import PaginatedApiHook
from tests.servers import Fault, Given, HtmlOK, Reply, Request, RetryLater, TruncatedJson, on_page
from tests.servers.styles import ByNumber, ByOffset, Cap, Envelope, StyledApi, Total, employees
from tests.strategies.collecting import SECRET, Collect
from tests.strategies.scripted import Scripted, always

API = StyledApi(rows=employees(100), asked=ByNumber(), tells=(Total(),), shape=Envelope())
PAGES = PageNumber(total_path="meta.total")
DATA: dict[str, Any] = {"data_selector": "data"}


@dataclass
class SupportsRenewal:
    """A token that expires, and how often it was renewed."""

    tokens: list[str] = field(default_factory=lambda: ["old"])

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.tokens[-1]}"
        return request

    def refresh(self) -> None:
        self.tokens.append("new")


def expiring(status: int) -> Callable[[Request], Reply]:
    """Return the API behind a guard that knows the new token only."""

    def guarded(request: Request) -> Reply:
        if request.headers.get("authorization") == "Bearer new":
            return API(request)
        return Reply(b'{"error": "token expired"}', status)

    return guarded


@pytest.mark.parametrize("workers", [1, 16])
def test_403_where_401_is_meant_renews_the_credentials_once(collect: Collect, workers: int) -> None:
    auth = SupportsRenewal()

    class Hook(PaginatedApiHook):
        @cached_property
        def settings(self) -> ConnectionSettings:
            settings = super().settings
            return replace(settings, endpoint=replace(settings.endpoint, auth=auth))

    rule = {"response_actions": [{"action": "REFRESH_TOKEN_THEN_RETRY", "status": 403}]}
    found = collect(expiring(403), PAGES, response=rule, max_workers=workers, hook=Hook, **DATA)
    assert found.lines == API.reference()
    assert auth.tokens == ["old", "new"]
    error = collect.error(expiring(403), PAGES, **DATA)
    assert isinstance(error, RequestRefused)
    assert error.status == 403


@pytest.mark.parametrize("workers", [1, 16])
@pytest.mark.parametrize("after", ["0", "1", "Wed, 21 Oct 2015 07:28:00 GMT", "-5", "soon", ""])
def test_429_with_retry_after_costs_time_and_no_rows(collect: Collect, after: str, workers: int) -> None:
    faults = on_page(3, RetryLater(after), times=2 if after != "1" else 1)
    found = collect(API, PAGES, faults=faults, max_workers=workers, **DATA)
    assert found.lines == API.reference()


@pytest.mark.parametrize("workers", [1, 16])
def test_429_without_retry_after_costs_time_and_no_rows(collect: Collect, workers: int) -> None:
    faults = on_page(3, Given(429, b"slow down"), times=3)
    assert collect(API, PAGES, faults=faults, max_workers=workers, **DATA).lines == API.reference()


def test_429_that_asks_for_hours_gives_the_slot_back(collect: Collect) -> None:
    error = collect.error(API, PAGES, faults=on_page(2, RetryLater("7200")), **DATA)
    assert isinstance(error, QuotaExceeded)
    assert error.seconds == 7200


@pytest.mark.parametrize(
    ("answer", "condition"),
    [
        (Given(403, b'{"message": "secondary rate limit"}'), {"content": "secondary rate limit"}),
        (
            Given(403, b"{}", headers=(("X-RateLimit-Remaining", "0"),)),
            {"header": "x-ratelimit-remaining", "header_matches": "^0$"},
        ),
        (Given(200, b'{"errors": [{"code": "THROTTLED"}]}'), {"path": "errors[*].code", "equals": ["THROTTLED"]}),
        (Given(400, b'{"code": 1015}'), {"status": 400, "path": "code", "equals": 1015}),
    ],
)
@pytest.mark.parametrize("action", ["RATE_LIMITED", "RETRY"])
def test_a_limit_under_another_status_is_waited_for_where_that_is_declared(
    collect: Collect, answer: Given, condition: dict[str, Any], action: str
) -> None:
    rule = {"response_actions": [{"action": action, **condition}]}
    found = collect(API, PAGES, faults=on_page(3, answer, times=2), response=rule, **DATA)
    assert found.lines == API.reference()
    error = collect.error(API, PAGES, faults=on_page(3, answer), **DATA)
    assert isinstance(error, RequestRefused | ResponseError)


GARBAGE: dict[str, Fault] = {
    "a login page": HtmlOK(),
    "a login page that calls itself JSON": Given(200, b"<!doctype html><title>Log in</title>"),
    "half of it": TruncatedJson(),
    "nothing": Given(200, b""),
    "white space": Given(200, b" \r\n\t"),
    "two documents": Given(200, b'{"data": [1]}{"data": [2]}'),
    "something behind": Given(200, b'{"data": [1], "meta": {"total": 100}} <!-- 0.3 s -->'),
    "something before": Given(200, b")]}',\n" + b'{"data": [1], "meta": {"total": 100}}'),
    "a stack trace inside": Given(200, b'{"data": [1, \nTraceback (most recent call last):'),
    "bytes that are no text": Given(200, b'{"data": ["\xff\xfe"], "meta": {"total": 100}}'),
    "no number": Given(200, b'{"data": [NaN], "meta": {"total": 100}}'),
}


@pytest.mark.parametrize("name", GARBAGE)
@pytest.mark.parametrize("workers", [1, 16])
def test_a_complete_200_with_garbage_in_it_is_asked_for_again_and_never_taken(
    collect: Collect, name: str, workers: int
) -> None:
    found = collect(API, PAGES, faults=on_page(3, GARBAGE[name], times=2), max_workers=workers, **DATA)
    assert found.lines == API.reference()
    error = collect.error(API, PAGES, faults=on_page(3, GARBAGE[name]), max_workers=workers, **DATA)
    assert isinstance(error, PageFailed)
    assert str(error).startswith("page 3 (GET http://127.0.0.1:")
    assert "failed in 5 attempts; last cause: the body is" in str(error)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            b'{"error": "down for maintenance"}',
            "the response has nothing at 'data', only an object with the keys 'error'",
        ),
        (b'{"data": null, "meta": {}}', "it leads to null"),
        (b'{"data": {"0": {"id": 1}}}', "it leads to an object with the keys '0'"),
        (b'{"data": "none"}', "it leads to a string"),
        (b'{"data": 0}', "it leads to a number"),
        (b"null", "null"),
        (b'"OK"', "a string"),
        (b"[]", "a list of length 0"),
        (b"{}", "an empty object"),
    ],
)
def test_a_complete_200_of_another_shape_fails_and_is_told(collect: Collect, body: bytes, told: str) -> None:
    error = collect.error(API, PAGES, faults=on_page(3, Given(200, body)), **DATA)
    assert isinstance(error, ResponseError)
    assert "page 3 (GET " in str(error)
    assert "data_selector" in str(error)
    assert told in str(error)


def test_a_200_with_errors_is_told_with_the_words_of_the_api(collect: Collect) -> None:
    asked = ByOffset(param="page", size_param="limit", asks=1000, cap=Cap(most=100, over="errors"))
    strategy = PageNumber(total_path="meta.total", page_size=1000, page_size_param="limit", base_page=0)
    api = replace(API, asked=asked)
    error = collect.error(api, strategy, response={"error_path": "errors"}, **DATA)
    assert isinstance(error, ResponseError)
    assert "200 OK, but the body says at error_path 'errors': 'page size must not exceed 100'" in str(error)
    assert "page_size may be more than the API allows" in str(error)


def test_errors_beside_rows_are_errors(collect: Collect) -> None:
    answer = {"data": {"users": [1]}, "errors": [{"message": f"denied for {SECRET}"}], "next": None}
    error = collect.error(
        always(answer), Cursor(cursor_path="next"), data_selector="data.users", response={"error_path": "errors"}
    )
    assert isinstance(error, ResponseError)
    assert "denied for ***" in str(error)


@pytest.mark.parametrize("nothing", [None, [], False, 0, "", {}])
def test_an_error_path_that_says_nothing_is_no_error(collect: Collect, nothing: object) -> None:
    answer = {"data": [1], "error": nothing, "next": None}
    assert collect(always(answer), Cursor(cursor_path="next"), response={"error_path": "error"}, **DATA).rows == [1]


def test_a_page_that_is_ignored_on_purpose_costs_its_rows_alone(collect: Collect) -> None:
    rule = {"response_actions": [{"action": "IGNORE", "status": 404}]}
    answers: dict[str | None, Any] = {str(number): {"data": [number], "pages": 4} for number in range(1, 5)}
    api = Scripted("page", {**answers, "3": Reply(b"{}", 404)})
    strategy = PageNumber(total_path="pages", total_kind="pages")
    found = collect(api, strategy, response=rule, **DATA)
    assert found.rows == [1, 2, 4]
    assert [page.ignored for page in found.pages] == [False, False, True, False]


@pytest.mark.parametrize("action", ["END", "IGNORE"])
@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_a_server_in_trouble_neither_ends_a_run_nor_gives_up_rows(collect: Collect, action: str, status: int) -> None:
    rule = {"response_actions": [{"action": action, "path": "error"}]}
    faults = on_page(3, Given(status, b'{"error": "try later"}'), times=2)
    assert collect(API, PAGES, faults=faults, response=rule, **DATA).lines == API.reference()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 406, 410, 413, 414, 422, 451, 501])
def test_a_refusal_is_told_with_its_status_and_the_words_of_the_api(collect: Collect, status: int) -> None:
    body = json.dumps({"message": f"not for {SECRET}", "hint": "ask Ann"}).encode()
    error = collect.error(API, PAGES, faults=on_page(2, Given(status, body)), **DATA)
    assert isinstance(error, RequestRefused)
    assert error.status == status
    assert "page 2 (GET http://127.0.0.1:" in str(error)
    assert f" {status} " in str(error)
    assert "ask Ann" in str(error)
