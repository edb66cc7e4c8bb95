"""Rows cut out of JSON, byte for byte."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_paginated.core.errors import ConfigurationError, ResponseError
from airflow_paginated.transport.body import inflate, to_utf8
from airflow_paginated.transport.decode import split
from airflow_paginated.transport.retry import RetryableError


def rows(body: bytes | str, selector: str | None) -> list[bytes]:
    found = split(body.encode() if isinstance(body, str) else body, selector)
    got = found.lines.split(b"\n")
    assert (got.pop(), len(got)) == (b"", found.count)
    return got


GRAPH = (
    '{"data": {"users": {"edges": [{"node": {"id": 1.10}, "cursor": "a"}, {"node": 2}], "total": 2}}, "errors": null}'
)


@pytest.mark.parametrize(
    ("body", "selector", "expected", "envelope"),
    [
        ("[1, 2]", None, [b"1", b"2"], None),
        (" [ ] ", None, [], None),
        ("[[1],[]]", "[*]", [b"[1]", b"[]"], None),
        ("[[1,2],[],[3]]", "[*][*]", [b"1", b"2", b"3"], None),
        ('[{"a": [1]}, {"a": [2, 3]}]', "[*].a[*]", [b"1", b"2", b"3"], None),
        ('[{"a": [1]}, {"a": {}}]', "[*].a", [b"[1]", b"{}"], None),
        ('{"data": [1], "next": 2}', "data", [b"1"], {"next": 2}),
        ('{"data": [1], "next": 2}', "data[*]", [b"1"], {"next": 2}),
        ('{"odd.key": [1]}', '["odd.key"]', [b"1"], {}),
        ('{"a b": {"": [], "c": [1]}}', '["a b"].c', [b"1"], {"a b": {"": []}}),
        ('{"d\\u0061ta": [1]}', "data", [b"1"], {}),
        ('{"\u00e9": [1]}', "\u00e9", [b"1"], {}),
        (
            GRAPH,
            "data.users.edges[*].node",
            [b'{"id": 1.10}', b"2"],
            {"data": {"users": {"total": 2}}, "errors": None},
        ),
        (GRAPH, "data.users.edges[*].cursor", None, None),
        ('{"a": {"b": {"c": [1], "d": 1}, "e": 2}, "f": 3}', "a.b.c", [b"1"], {"a": {"b": {"d": 1}, "e": 2}, "f": 3}),
        ('{"last": [], "data": [], "x": "[]"}', "data", [], {"last": [], "x": "[]"}),
        ('{"n": 12345678901234567890123, "data": []}', "data", [], {"n": 12345678901234567890123}),
    ],
)
def test_selectors(body: str, selector: str | None, expected: list[bytes] | None, envelope: object) -> None:
    if expected is None:
        with pytest.raises(ResponseError, match=r"the response has nothing at '\[\*\]\.cursor', only an object"):
            rows(body, selector)
        return
    assert rows(body, selector) == expected
    assert split(body.encode(), selector).envelope == envelope


@pytest.mark.parametrize(
    ("body", "selector", "said"),
    [
        (
            '{"items": [1]}',
            None,
            "should be a list of rows, it is an object with the keys 'items'; name the list in it",
        ),
        ("1", None, "should be a list of rows, it is a number"),
        ("null", None, "should be a list of rows, it is null"),
        ('{"a": 1}', "data", "the response has nothing at 'data', only an object with the keys 'a'"),
        ("{}", "data", "the response has nothing at 'data', only an empty object"),
        (
            '{"data": {"b": 1}}',
            "data.rows",
            "the response has nothing at 'data.rows', only an object with the keys 'b'",
        ),
        ('{"data": [1]}', "data.rows", "'data.rows' should lead to a list of rows, it leads to a list of length 1"),
        ('{"data": null}', "data.rows", "it leads to null"),
        ('{"data": {"rows": {}}}', "data.rows", "it leads to an empty object"),
        ('{"data": 1}', "data[*].x", "it leads to a number"),
        ('{"data": [{"x": 1}, 7]}', "data[*].x", "it leads to a number"),
        ('{"data": [{"x": [1]}, {"x": null}]}', "data[*].x[*]", "it leads to null"),
        ('{"data": [{"y": 1}]}', "data[*].x", "the response has nothing at '[*].x', only an object with the keys 'y'"),
        ('{"data": [{"x": 1, "x": 2}]}', "data[*].x", "a name twice in an object with the keys 'x'"),
        ('{"data": [], "data": [1]}', "data", "a name twice"),
        ('{"data": [1], "d\\u0061ta": []}', "data", "a name twice"),
        ('{"data": {"rows": [1]}, "data": {"rows": []}}', "data.rows", "a name twice"),
        ('{"data": {"rows": [1], "rows": []}}', "data.rows", "a name twice"),
        ('{"%s": 1}' % ("k" * 41), "data", "only an object with the keys (a string of 41 characters)"),
    ],
)
def test_what_is_no_list(body: str, selector: str | None, said: str) -> None:
    with pytest.raises(ResponseError, match=re.escape(said)):
        rows(body, selector)


def test_a_name_twice_in_a_row_is_the_row_s_own() -> None:
    assert rows('{"data": [{"x": 1, "x": 2}]}', "data") == [b'{"x": 1, "x": 2}']
    assert rows('{"data": [{"x": {"y": 1, "y": 2}}, {"x": {"x": 3}}]}', "data[*].x") == [
        b'{"y": 1, "y": 2}',
        b'{"x": 3}',
    ]


@pytest.mark.parametrize(
    "body",
    [
        "[1, 2",
        "[1,]",
        "[1] 2",
        "[01]",
        "[1.]",
        "[.5]",
        "[+1]",
        "[NaN]",
        "[Infinity]",
        "['a']",
        '["a\nb"]',
        '["\\x"]',
        "[tru]",
        "{",
        '{"data": 1',
        "<html>",
        "[1, nul]",
        "// none\n[]",
        "[\u00a01]",
    ],
)
@pytest.mark.parametrize("selector", [None, "data", "data[*].x"])
def test_what_is_no_json_may_be_tried_again(body: str, selector: str | None) -> None:
    whole = body if selector is None else f'{{"data": {body}}}'
    with pytest.raises(RetryableError, match="the body is not JSON"):
        rows(whole, selector)


@pytest.mark.parametrize("body", [b"", b" ", b"\r\n\t"])
def test_nothing_may_be_tried_again(body: bytes) -> None:
    with pytest.raises(RetryableError, match="the body is empty"):
        split(body, "data")


def test_a_wrong_selector_is_named() -> None:
    with pytest.raises(ConfigurationError, match="position 4"):
        split(b"{}", "data..x")


def test_rows_that_begin_like_something_else_are_told_apart() -> None:
    start = "[" + "1, " * 40
    assert len(rows(f'{{"old": {start}2], "data": {start}3]}}', "data")) == 41
    with pytest.raises(ResponseError, match="a name twice"):
        rows(f'{{"old": {start}2], "data": {start}3], "old": 1}}', "data")


def test_a_text_that_only_looks_like_the_rows_hides_nothing() -> None:
    # The text of the rows is a part of a string, too: cutting it out there leaves no JSON.
    assert rows('{"k": "[", "]": 1, "data": [", "]}', "data") == [b'", "']


WHITE = st.sampled_from(["", "", "", " ", "  ", "\t", " \t "])
BREAKS = st.sampled_from(["", "", " ", "\n", "\r\n", "\n    ", "\r"])
NUMBERS = st.sampled_from(
    [
        "0",
        "-0",
        "-0.0",
        "1.10",
        "1E+2",
        "1e-7",
        "12345678901234567890123",
        "0.1000000000000000055511151231257827",
        "1e400",
    ]
)
STRINGS = st.text(max_size=8).map(lambda text: json.dumps(text, ensure_ascii=False)) | st.sampled_from(
    ['"\\u00e9"', '"\\/"', '"\\\\\\""', '"],["', '"\u2028"', '"\\ud83e\\udd8a"', '"{\\"a\\": 1}"', '"\\n\\r"']
)


def texts(white: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return JSON texts of any shape with this white space between their tokens."""

    def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        element = st.tuples(white, inner, white).map("".join)
        member = st.tuples(white, STRINGS, white, st.just(":"), element).map("".join)
        lists = st.lists(element, max_size=3).map(lambda each: f"[{','.join(each)}]")
        objects = st.lists(member, max_size=3).map(lambda each: f"{{{','.join(each)}}}")
        return lists | objects

    return st.recursive(NUMBERS | STRINGS | st.sampled_from(["true", "false", "null"]), grown, max_leaves=6)


def utf8(text: str) -> bool:
    return not any("\ud800" <= each <= "\udfff" for each in text)


def compact(text: str) -> str:
    """Drop the white space between tokens, by another way than the code's."""
    return re.sub(r'("(?:[^"\\]|\\.)*")|[ \t\r\n]+', lambda found: found.group(1) or "", text)


Wrap = tuple[str | None, Callable[[str], str], object]
WRAPS: list[Wrap] = [
    (None, lambda listed: f" {listed}\n", None),
    ("[*]", lambda listed: listed, None),
    ("data", lambda listed: f'{{"data":{listed}}}', {}),
    ("data[*]", lambda listed: f'{{"page": 1, "data" : {listed} , "more": [] }}', {"page": 1, "more": []}),
    (
        'a["b.c"].d',
        lambda listed: f'{{"x": "]", "a":{{"b.c":{{"d":{listed}}},"n":null}}}}',
        {"x": "]", "a": {"b.c": {}, "n": None}},
    ),
]


@settings(max_examples=100)
@given(st.lists(texts(WHITE).filter(utf8), max_size=6), st.sampled_from(WRAPS), WHITE)
def test_rows_are_slices_of_what_was_sent(given_: list[str], wrap: Wrap, white: str) -> None:
    selector, write, envelope = wrap
    body = write("[" + f"{white},{white}".join(given_) + white + "]")
    assert rows(body, selector) == [each.encode() for each in given_]
    assert split(body.encode(), selector).envelope == envelope


@settings(max_examples=100)
@given(st.lists(texts(BREAKS).filter(utf8), min_size=1, max_size=6), st.sampled_from(WRAPS))
def test_only_rows_with_line_breaks_lose_white_space(given_: list[str], wrap: Wrap) -> None:
    selector, write, _ = wrap
    body = write("[\n" + ",\r\n".join(given_) + "]")
    broken = [compact(each) if "\n" in each or "\r" in each else each for each in given_]
    assert rows(body, selector) == [each.encode() for each in broken]


@settings(max_examples=60)
@given(st.lists(st.lists(texts(WHITE).filter(utf8), max_size=4), max_size=4))
def test_nested_lists_are_flattened_in_order(groups: list[list[str]]) -> None:
    body = '{"g": [' + ",".join(f'{{"n": 1, "r": [{",".join(group)}]}}' for group in groups) + "]}"
    assert rows(body, "g[*].r[*]") == [each.encode() for group in groups for each in group]
    whole = [f"[{','.join(group)}]".encode() for group in groups]
    assert rows(body, "g[*].r") == whole


@settings(max_examples=100)
@given(st.binary(max_size=40) | st.text(alphabet='[]{},:"\\ue1.-+ntf\n ', max_size=30).map(str.encode))
def test_any_bytes_end_in_rows_or_in_a_known_error(body: bytes) -> None:
    for selector in (None, "data", "data[*].x"):
        try:
            found = split(to_utf8(body, ""), selector)
        except (RetryableError, ResponseError):
            continue
        value: Any = json.loads(body)
        assert selector is not None or [json.loads(row) for row in found.lines.splitlines()] == value


@given(st.binary(max_size=60))
def test_any_bytes_inflate_or_end_in_a_known_error(body: bytes) -> None:
    for start in (b"", b"\x1f\x8b\x08\0\0\0\0\0\0\xff"):
        with pytest.raises(RetryableError):
            inflate(start + body, "gzip", 1000)


@given(st.text(max_size=60), st.binary(max_size=20))
def test_any_media_type_is_read_or_refused(content_type: str, body: bytes) -> None:
    for text in (content_type, f"x; charset={content_type}"):
        try:
            to_utf8(body, text).decode()
        except (RetryableError, ResponseError):
            continue
