"""A configuration that does not fit the API: the message names the argument and what the API sent instead."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_paginated import Cursor, HeaderCursor, HeaderLink, JsonLink, Keyset, Offset, PageNumber
from airflow_paginated.core.errors import ConfigurationError, PermanentError, ResponseError
from tests.strategies.collecting import HIDDEN, SECRET, Collect
from tests.strategies.scripted import Scripted, always, with_headers

DATA: dict[str, Any] = {"data_selector": "data"}
BODY = {
    "data": [{"id": 1, "user": {"name": SECRET}}],
    "meta": {"cursor": SECRET, "count": 1, "more": "maybe", "deep": {"next_token": SECRET}},
    "links": {"following": f"?token={SECRET}", "list": [{"rel": "following", "href": SECRET}]},
    "token": SECRET,
}
ANSWER = with_headers(BODY, X_Next=SECRET, X_Total="12", Link=f'<?t={SECRET}>; rel="following"')

META = "'meta' is an object with the keys 'cursor', 'count', 'more', 'deep'"
TOP = "the body is an object with the keys 'meta', 'links', 'token'"
HEADERS = "its headers are "

WRONG: list[tuple[object, list[str]]] = [
    (Cursor(cursor_path="meta.next"), ["cursor_path 'meta.next'", META]),
    (Cursor(cursor_path="meta.deep.cursor"), ["cursor_path 'meta.deep.cursor'", "'meta.deep' is", "'next_token'"]),
    (Cursor(cursor_path="meta.cursor.next"), ["cursor_path 'meta.cursor.next'", "'meta.cursor' is a string"]),
    (Cursor(cursor_path="next"), ["cursor_path 'next'", TOP]),
    (Cursor(cursor_path=["meta.a", "links.b"], cursor_param=["a", "b"]), ["cursor_path 'meta.a' and 'links.b'", META]),
    (HeaderCursor(cursor_header="X-Cursor"), ["cursor_header 'X-Cursor'", HEADERS, "'x-next'", "'x-total'"]),
    (JsonLink(next_url_path="links.next"), ["next_url_path 'links.next'", "'links' is", "'following', 'list'"]),
    (JsonLink(next_url_path="links.list"), ["next_url_path 'links.list'", "relation"]),
    (JsonLink(next_url_path="meta.deep"), ["next_url_path 'meta.deep'", "an object with the keys 'next_token'"]),
    (HeaderLink(), ["no Link header with rel='next'", HEADERS, "'link'"]),
    (HeaderLink(link_header="X-Link"), ["no X-Link header", HEADERS, "'x-next'"]),
    (PageNumber(total_path="meta.total"), ["total_path 'meta.total'", META]),
    (PageNumber(total_path="meta.more"), ["the total at 'meta.more'", "a string"]),
    (PageNumber(total_path="meta.cursor"), ["the total at 'meta.cursor'", "a string"]),
    (PageNumber(total_path="meta.deep"), ["the total at 'meta.deep'", "an object with the keys 'next_token'"]),
    (PageNumber(total_header="X-Count"), ["total_header 'X-Count'", HEADERS, "'x-total'"]),
    (PageNumber(total_header="X-Next"), ["the total at header 'X-Next'", "a string"]),
    (Offset(has_more_path="meta.has_more"), ["has_more_path 'meta.has_more'", META]),
    (Offset(has_more_path="meta.more"), ["has_more_path 'meta.more'", "a string"]),
    (Offset(has_more_path="token"), ["has_more_path 'token'", "a string"]),
    (Keyset(key_path="uid", key_param="after"), ["key_path 'uid'", "an object with the keys 'id', 'user'"]),
    (Keyset(key_path="user.id", key_param="after"), ["key_path 'user.id'", "'user' is", "'name'"]),
    (Keyset(key_path=["id", "at"], key_param=["a", "b"]), ["key_path ['id', 'at']", "'id', 'user'"]),
]


@pytest.mark.parametrize(("strategy", "told"), WRONG)
def test_a_place_that_does_not_exist_is_told_with_what_is_there(
    collect: Collect, strategy: object, told: list[str]
) -> None:
    error = collect.error(always(ANSWER), strategy, **DATA)
    assert isinstance(error, ResponseError)
    assert [each for each in told if each not in str(error)] == []


@pytest.mark.parametrize(
    ("selector", "told"),
    [
        ("items", "has nothing at 'items', only an object with the keys 'data', 'meta', 'links', 'token'"),
        ("meta.items", "has nothing at 'meta.items', only an object with the keys 'cursor', 'count', 'more', 'deep'"),
        ("data[*].users", "has nothing at '[*].users', only an object with the keys 'id', 'user'"),
        (
            "meta",
            "should lead to a list of rows, it leads to an object with the keys 'cursor', 'count', 'more', 'deep'",
        ),
        ("token", "should lead to a list of rows, it leads to a string"),
        (None, "should be a list of rows, it is an object with the keys 'data', 'meta', 'links', 'token'"),
    ],
)
def test_a_selector_that_leads_to_no_rows_is_told_with_what_is_there(
    collect: Collect, selector: str | None, told: str
) -> None:
    error = collect.error(always(ANSWER), Cursor(cursor_path="meta.cursor"), data_selector=selector)
    assert isinstance(error, ResponseError)
    assert "data_selector" in str(error)
    assert told in str(error)


ECHOES: dict[str, Any] = {
    "a key": {"data": [{"id": 1}], SECRET: 1, HIDDEN: 2},
    "a key of a row": {"data": [{SECRET: 1, HIDDEN: 2}], "next": {SECRET: SECRET}, "total": None},
    "a header": with_headers({"data": [{"a": 1}]}, X_A=SECRET, c4n4ry=HIDDEN, Link=f"<{SECRET}>"),
    "a value": {"data": [{"id": 1}], "next": {"more": SECRET}, "total": SECRET},
    "a value that is a list": {"data": [{"id": 1}], "next": [SECRET], "total": [HIDDEN]},
}


@pytest.mark.parametrize("answer", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize(
    "strategy",
    [
        Cursor(cursor_path="cursor"),
        PageNumber(total_path="total"),
        PageNumber(total_header="X-Total"),
        Offset(has_more_path="next.more"),
        JsonLink(next_url_path="next"),
        Keyset(key_path="uid", key_param="after"),
        HeaderLink(),
    ],
    ids=lambda strategy: type(strategy).__name__,
)
def test_a_secret_that_the_api_repeats_is_masked_wherever_it_stands(
    collect: Collect, strategy: object, answer: object
) -> None:
    assert isinstance(collect.error(always(answer), strategy, **DATA), ResponseError)


def test_a_bare_list_has_no_place_for_a_cursor_or_a_total(collect: Collect) -> None:
    for strategy, name in (
        (Cursor(cursor_path="next"), "cursor_path 'next'"),
        (PageNumber(total_path="total"), "total_path 'total'"),
        (JsonLink(next_url_path="next"), "next_url_path 'next'"),
    ):
        error = collect.error(always([1, 2]), strategy)
        assert name in str(error)
        assert "contains only its rows" in str(error)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"type": "cursor", "cursor_path": "a..b"}, "cursor_path: invalid path 'a..b'"),
        ({"type": "cursor", "cursor_path": ""}, "cursor_path: expected a non-empty string"),
        ({"type": "cursor", "cursor_path": ["a", "b"]}, "cursor_param names 1 parameters for 2 tokens"),
        ({"type": "cursor", "curser_path": "a"}, "unknown key 'curser_path' (did you mean 'cursor_path'?)"),
        ({"type": "cursor"}, "'cursor_path' is required"),
        ({"type": "cursor", "cursor_path": "a", "inject_into": "path"}, "inject_into: 'path' is not one of query"),
        ({"type": "keyset", "key_path": "a[*].b", "key_param": "c"}, "key_path must lead to a single value of a row"),
        ({"type": "keyset", "key_path": ["a"], "key_param": ["b", "c"]}, "must have the same length"),
        ({"type": "header_cursor", "cursor_header": ["A", "B"]}, "cursor_param names 1 parameters for 2 tokens"),
        ({"type": "json_link", "page_size": 5}, "page_size and page_size_param require each other"),
        ({"type": "header_link", "own_host": "yes"}, "own_host: expected true or false"),
        ({"type": "page_number"}, "no stop condition"),
        (
            {"type": "offset", "step": "received", "total_path": "n", "page_size": 0},
            "page_size: expected an integer",
        ),
        ({"type": "link"}, "type: 'link' is not one of"),
    ],
)
def test_a_wrong_strategy_is_told_before_anything_is_asked(collect: Collect, given: dict[str, Any], told: str) -> None:
    error = collect.error(lambda request: pytest.fail("asked"), given)
    assert isinstance(error, ConfigurationError)
    assert "pagination" in str(error)
    assert told in str(error)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"error_pth": "x"}, "response: unknown key 'error_pth' (did you mean 'error_path'?)"),
        ({"response_format": "xml"}, "response: response_format: 'xml' is not one of json, jsonl, csv"),
        (
            {"response_actions": [{"action": "END"}]},
            "response: response_actions[0]: END: give at least one of status, ",
        ),
        ({"response_actions": [{"action": "STOP", "status": 404}]}, "'STOP' is not one of SUCCESS"),
        ({"error_path": "data[*].error"}, "error_path 'data[*].error' leads into the rows"),
    ],
)
def test_a_wrong_rule_for_answers_is_told_before_anything_is_asked(
    collect: Collect, given: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        collect(lambda request: pytest.fail("asked"), Cursor(cursor_path="a"), response=given, **DATA)
    assert told in str(caught.value)


def test_a_body_that_has_no_room_for_a_parameter_is_told(collect: Collect) -> None:
    strategy = Cursor(cursor_path="next", cursor_param="page.token", inject_into="body")
    api = always({"data": [1], "next": "t"})
    error = collect.error(api, strategy, method="POST", body={"page": [SECRET]}, **DATA)
    assert isinstance(error, ConfigurationError)
    assert "cannot set 'page.token' in the body: the path leads through a list of length 1" in str(error)


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "a\nb", "\x00", "é€"])
def test_a_token_that_a_header_cannot_carry_is_told(collect: Collect, token: str) -> None:
    strategy = Cursor(cursor_path="next", cursor_param="X-Cursor", inject_into="header")
    api = Scripted("page", {None: {"data": [1], "next": f"{token}{SECRET}"}})
    error = collect.error(api, strategy, **DATA)
    assert isinstance(error, PermanentError)
    assert "X-Cursor" in str(error)
