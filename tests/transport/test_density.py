"""How much may be in a body: told without decoding it."""

from __future__ import annotations

import json

import pytest

from airflow_paginated.core.errors import LimitExceeded, ResponseError
from airflow_paginated.core.paths import ABSENT
from airflow_paginated.transport.decode import (
    MIN_CHECKED_BYTES,
    Tolerance,
    check_beside,
    check_rows,
    json_value,
    most_values,
    split,
    split_csv,
    split_jsonl,
)
from airflow_paginated.transport.retry import RetryableError

MIB = 1024 * 1024
ROWS = {
    "numbers": b"0",
    "objects": b'{"a":1,"b":[2,3],"c" : {"d":4}}',
    "lists": b"[1,2,[3]]",
    "empty objects": b"{}",
    "texts": b'"a,b"',
    "texts like JSON": rb'"[{\"a\":0},\\"',
    "objects of texts like JSON": rb'{"a": "}, {", "b\"": "\":"}',
    "white space": b' \n{ "a" :\t1 } ',
}


def many(row: bytes) -> tuple[bytes, int]:
    """Return a list of just more than what is never looked at, and how many rows it has."""
    count = MIN_CHECKED_BYTES // (len(row) + 1) + 2
    return b"[" + b",".join([row] * count) + b"]", count


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_rows_are_counted_to_the_last(row: bytes) -> None:
    text, count = many(row)
    assert len(json.loads(text)) == count
    check_rows(text, count)
    with pytest.raises(LimitExceeded, match=f"the body has more than {count - 1} rows, or values beside them"):
        check_rows(text, count - 1)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_rows_are_not_counted_as_values_beside_them(row: bytes) -> None:
    text, count = many(row)
    body = b'{"total": 7, "data": %b, "next": {"page": 2, "all": [3, 4, 5]}}' % text
    check_beside(body, "data", 6)
    commas = text.count(b",")
    check_beside(body, "other", commas + 6)
    with pytest.raises(LimitExceeded):
        check_beside(body, "other", commas - 1)
    assert split(body, "data", Tolerance(most=count)).count == count
    with pytest.raises(LimitExceeded):
        split(body, "data", Tolerance(most=count - 1))


def test_values_in_the_rows_are_no_rows() -> None:
    vectors = b"[" + b",".join([b'{"id": 1, "v": [%b0]}' % (b"0," * 6000)] * 250) + b"]"
    check_rows(vectors, 250)
    with pytest.raises(LimitExceeded):
        check_rows(vectors, 249)


@pytest.mark.parametrize("first", [b"{}", b"[]", b'"a"', b"null"])
def test_rows_of_several_kinds_hide_none(first: bytes) -> None:
    text, count = many(b"0")
    with pytest.raises(LimitExceeded):
        check_rows(b"[%b,%b" % (first, text[1:]), count)


def test_a_small_body_is_never_too_much() -> None:
    text = b"[" + b"0," * (MIN_CHECKED_BYTES // 2 - 2) + b"0]"
    assert len(text) < MIN_CHECKED_BYTES
    check_rows(text, 1)
    check_beside(b'{"x": %b, "y": 2}' % text[:-20], "x", 1)


def test_a_list_that_is_no_json_is_left_to_the_decoder() -> None:
    text, count = many(b'"a')
    check_rows(text, count)
    with pytest.raises(RetryableError):
        split(b'{"data": %b}' % text, "data", Tolerance(most=count // 8))


def test_rows_of_several_lists_are_added_up() -> None:
    body = json.dumps({"data": [{"all": [1, 2]}] * 100}).encode()
    assert split(body, "data[*].all[*]", Tolerance(most=200)).count == 200
    with pytest.raises(LimitExceeded):
        split(body, "data[*].all[*]", Tolerance(most=199))


def test_lines_are_counted() -> None:
    count = MIN_CHECKED_BYTES // 2 + 1
    assert split_jsonl(b"0\n" * count, count).count == count
    assert split_csv(b"0\n" * count, ["a"], count).count == count
    for body in (b"0\n" * count, b"\r" * (2 * count) + b"0"):
        with pytest.raises(LimitExceeded):
            split_jsonl(body, count // 2 - 1)
        with pytest.raises(LimitExceeded):
            split_csv(body, ["a"], count // 2 - 1)


def test_the_fields_of_a_line_are_counted() -> None:
    head = ";" * 100_000
    assert split_csv(f"{head}\n".encode(), [str(each) for each in range(100_001)], delimiter=";").count == 1
    with pytest.raises(LimitExceeded, match="a line of the CSV body has more than 100000 fields"):
        split_csv(f"a\n{head};\n".encode(), None, delimiter=";")


def test_what_an_error_says_is_not_decoded_whatever_is_in_it() -> None:
    text, count = many(b"0")
    assert json_value(text.decode(), count)[:2] == [0, 0]
    assert json_value(text.decode(), count - 2) is ABSENT
    with pytest.raises(ResponseError, match="no list of rows where one is expected, and is too large"):
        split(text, "data", Tolerance(most=count - 2))


def test_a_larger_page_may_have_more_rows() -> None:
    assert most_values(64 * MIB) == 2 * MIB
    assert most_values(1) == MIB // 32
