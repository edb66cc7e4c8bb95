"""Rows cut out of JSON Lines and CSV."""

from __future__ import annotations

import csv
import json
import re
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated.core.errors import ResponseError
from airflow_paginated.transport.body import to_utf8
from airflow_paginated.transport.decode import split_csv, split_jsonl
from airflow_paginated.transport.retry import RetryableError


def lines(body: bytes) -> list[bytes]:
    parts = split_jsonl(body)
    got = parts.lines.split(b"\n")
    assert (got.pop(), len(got), parts.envelope) == (b"", parts.count, None)
    return got


def records(body: bytes | str, columns: list[str] | None = None, **dialect: Any) -> list[dict[str, str]]:
    parts = split_csv(body.encode() if isinstance(body, str) else body, columns, **dialect)
    got = [json.loads(line) for line in parts.lines.splitlines()]
    assert (len(got), parts.envelope) == (parts.count, None)
    return got


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (b'{"a": 1.10}\n{"a":2}\n', [b'{"a": 1.10}', b'{"a":2}']),
        (b'{"a": 1}\r\n\r\n  {"a": 1, "a": 2}\t\r\n', [b'{"a": 1}', b'{"a": 1, "a": 2}']),
        (b"12345678901234567890123\n1e400", [b"12345678901234567890123", b"1e400"]),
        (b'["a\\nb"]\nnull\n"\xe2\x80\xa8"\n', [b'["a\\nb"]', b"null", b'"\xe2\x80\xa8"']),
    ],
)
def test_every_line_is_a_row_as_it_was_sent(body: bytes, rows: list[bytes]) -> None:
    assert lines(body) == rows


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"1 2\n3\n", 1),
        (b"1,2\n[3\n4]\n", 1),
        (b'{"a": 1}\n{"a":\n1}\n', 2),
        (b'{"a": 1}\n\n{"a": NaN}\n', 3),
        (b"1\n<html>", 2),
        (b"[{}\n,{}]", 1),
    ],
)
def test_a_line_that_is_no_json_is_named(body: bytes, line: int) -> None:
    with pytest.raises(RetryableError, match=f"line {line} of the body is not JSON"):
        lines(body)


def test_a_deep_line_is_an_error_and_no_crash() -> None:
    with pytest.raises(ResponseError, match="nested too deeply"):
        lines(b"1\n" + b"[" * 100_000 + b"]" * 100_000)


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\r\n\t"])
def test_nothing_may_be_tried_again(body: bytes) -> None:
    with pytest.raises(RetryableError, match="the body is empty"):
        split_jsonl(body)
    with pytest.raises(RetryableError, match="the body is empty"):
        split_csv(body, ["a"])


@given(st.lists(st.recursive(st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.text(), st.lists)))
def test_lines_are_slices_of_what_was_sent(values: list[Any]) -> None:
    texts = [json.dumps(value, ensure_ascii=False).encode() for value in values]
    if any(b"\\ud" in text or b"\xed" in text for text in texts) or not texts:
        return
    assert lines(b"\r\n".join(texts)) == texts


@pytest.mark.parametrize(
    ("body", "dialect", "rows"),
    [
        ("a,b\n1,x\n", {}, [{"a": "1", "b": "x"}]),
        ("a,b\r\n1,x\r\n\r\n2,\r\n", {}, [{"a": "1", "b": "x"}, {"a": "2", "b": ""}]),
        ('a,b\n"1,5","x ""y""\r\nz"\n', {}, [{"a": "1,5", "b": 'x "y"\r\nz'}]),
        ("a\u2028,\u00e9\n\u20ac, 1 \n", {}, [{"a\u2028": "\u20ac", "\u00e9": " 1 "}]),
        ("a;b\n'1;2';3", {"delimiter": ";", "quotechar": "'"}, [{"a": "1;2", "b": "3"}]),
        ('a\tb\n"1\t2"', {"delimiter": "\t", "quotechar": None, "quoting": csv.QUOTE_NONE}, [{"a": '"1', "b": '2"'}]),
        ("a,b\n", {}, []),
        ("a,b", {}, []),
        ("\r\na\r1\r", {}, [{"a": "1"}]),
        ('a,\n1,"\n"\n', {}, [{"a": "1", "": "\n"}]),
        ("a,b\n1.10,00042\n", {}, [{"a": "1.10", "b": "00042"}]),
    ],
)
def test_csv_rows_are_objects_of_strings(body: str, dialect: dict[str, Any], rows: list[dict[str, str]]) -> None:
    assert records(body, **dialect) == rows


def test_columns_stand_for_a_header() -> None:
    assert records("1,2\n3,4\n", ["x", "y"]) == [{"x": "1", "y": "2"}, {"x": "3", "y": "4"}]
    assert split_csv(b"1,2\n", ["y", "x"]).lines == b'{"y":"1","x":"2"}\n'


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("a,b\n1\n", "line 2 of the CSV body has 1 fields, expected 2"),
        ("a,b\n1,2\n1,2,3\n", "line 3 of the CSV body has 3 fields, expected 2"),
        ('a,b\n"1\n",2\n"3",4,5\n', "line 4 of the CSV body has 3 fields, expected 2"),
        ('a,b\n1,"x', "line 2 of the body is not CSV: unexpected end of data"),
        ('a,b\n1,"x"y\n', "line 2 of the body is not CSV: ',' expected after '\"'"),
        ("<html><body>Please log in</body></html>", "the body is not CSV: it begins like HTML or JSON"),
        ('\n {"error": "quota"}', "the body is not CSV: it begins like HTML or JSON"),
        ("[1]", "the body is not CSV: it begins like HTML or JSON"),
    ],
)
def test_a_record_that_does_not_fit_is_named(body: str, told: str) -> None:
    with pytest.raises(RetryableError, match=re.escape(told)):
        records(body)


def test_a_column_twice_would_lose_a_value() -> None:
    with pytest.raises(ResponseError, match="the CSV header has the column 'a' twice"):
        records("a,b,a\n")


def test_a_field_may_be_too_long_for_the_csv_module() -> None:
    with pytest.raises(ResponseError, match=r"line 2 of the CSV body .* too long: raise csv\.field_size_limit"):
        records("a\n" + "x" * (csv.field_size_limit() + 1))


@given(
    st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2)),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(",;\t|"),
)
def test_what_is_written_as_csv_is_read(rows: list[list[str]], end: str, delimiter: str) -> None:
    written = StringIO(newline="")
    # Python 3.11 leaves a carriage return without quotes where lines end in a line feed alone.
    quoting = csv.QUOTE_ALL if end == "\n" else csv.QUOTE_MINIMAL
    csv.writer(written, lineterminator=end, delimiter=delimiter, quoting=quoting).writerows([["a", "b"], *rows])
    assert records(written.getvalue(), delimiter=delimiter) == [dict(zip("ab", row, strict=True)) for row in rows]


@given(st.binary(max_size=60) | st.text(alphabet='",\r\n a;{[', max_size=30).map(str.encode))
def test_any_bytes_end_in_rows_or_in_a_known_error(body: bytes) -> None:
    for split in (split_jsonl, lambda text: split_csv(text, None), lambda text: split_csv(text, ["a", "b"])):
        try:
            parts = split(to_utf8(body, ""))
        except (RetryableError, ResponseError):
            continue
        assert parts.lines.count(b"\n") == parts.count
        assert all(json.loads(line) is not ... for line in parts.lines.splitlines())
