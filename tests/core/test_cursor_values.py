"""Cursor values: parsing, comparing and formatting."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated.core.cursor_values import CursorValue, cursor_value_from_json, parse_cursor_value
from airflow_paginated.core.errors import ConfigurationError


def mark(value: Any, kind: Any = "auto") -> CursorValue:
    found = parse_cursor_value(json.dumps(value).encode(), kind)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "same",
    [
        ["2024-03-31T03:30:00+02:00", "2024-03-31T01:30:00Z", "2024-03-30T20:30-05", "2024-03-31 07:00:00.000+05:30"],
        ["2024-01-01T00:00:00.5Z", "2024-01-01T00:00:00,500000000Z", "2024-01-01t01:00:00.50+0100"],
        ["2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"],
        ["2024-01-01", "2024-01-01T00:00", "2024-01-01 00:00:00.0"],
        ["17", "17.0", "017"],
    ],
)
def test_what_is_the_same_is_the_same_in_any_notation(same: list[str]) -> None:
    marks = [mark(text) for text in same]
    assert len({each.at for each in marks}) == 1
    assert len({each.kind for each in marks}) == 1
    assert [each.sent for each in marks] == same


@pytest.mark.parametrize(
    "rising",
    [
        ["2024-10-27T02:30:00+02:00", "2024-10-27T02:30:00+01:00"],
        ["2024-01-01T00:00:00.000000000001Z", "2024-01-01T00:00:00.000000000002Z"],
        ["9", "10", "10.5"],
        [9, 10, 10.5, 10**30],
        [-2, -1.5, 0],
        ["01HX", "01HY"],
        ["2024-01-01", "2024-01-02"],
        ["1969-12-31T23:59:59.5Z", "1970-01-01T00:00:00Z"],
    ],
)
def test_values_rise(rising: list[Any]) -> None:
    at = [mark(each).at for each in rising]
    assert all(one < other for one, other in pairwise(at))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (5, "number"),
        ("5", "number"),
        ("2024-01-01T00:00:00Z", "timestamp"),
        ("2024-01-01T00:00:00", "timestamp without an offset"),
        ("2024-01-01", "timestamp without an offset"),
        ("2024-02-30", "text"),
        ("2024-01-01T24:00:00Z", "text"),
        ("01HXYZ", "text"),
        ("", "text"),
    ],
)
def test_it_sees_what_a_value_is(value: Any, kind: str) -> None:
    assert mark(value).kind == kind


@pytest.mark.parametrize(("value", "kind"), [("5", "text"), ("2024-01-01T00:00:00Z", "text"), ("5", "number")])
def test_it_takes_a_value_for_what_it_is_told(value: Any, kind: str) -> None:
    assert mark(value, kind).kind == kind


@pytest.mark.parametrize(
    ("raw", "kind", "said"),
    [
        ("true", "auto", "neither a number nor a string"),
        ("[1]", "auto", "neither a number nor a string"),
        ('{"a":1}', "auto", "neither a number nor a string"),
        ('"Mon, 01 Jan 2024 00:00:00 GMT"', "auto", "a date in a format that does not sort"),
        ('"Jan 1, 2024"', "auto", "a date in a format that does not sort"),
        ('"01/02/2024"', "auto", "a date in a format that does not sort"),
        ('"1-Jan-2024 10:00"', "auto", "a date in a format that does not sort"),
        ('"yesterday"', "timestamp", "a string that is not a timestamp"),
        ('"17"', "timestamp", "a string that is not a timestamp"),
        ('"2024-01-01"', "number", "a string that is not a number"),
        ("17", "timestamp", "a number, but kind='timestamp' expects a string"),
        ("1e999999999", "auto", "a number with more than 60 digits"),
        ("1" * 61, "auto", "a number with more than 60 digits"),
        (f'"{"x" * 257}"', "auto", "a string of 257 characters"),
    ],
)
def test_what_cannot_be_compared_is_refused(raw: str, kind: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_cursor_value(raw.encode(), kind)


def test_a_null_is_no_mark() -> None:
    assert parse_cursor_value(b"null", "auto") is None
    with pytest.raises(ValueError, match="null"):
        cursor_value_from_json(None, "auto")


@pytest.mark.parametrize(
    ("value", "less", "expected"),
    [
        ("2024-03-31T03:30:00+02:00", 3600, "2024-03-31T02:30:00+02:00"),
        ("2024-01-01T00:00:00Z", 1, "2023-12-31T23:59:59Z"),
        ("2024-01-01T00:00:00.25Z", 0.5, "2023-12-31T23:59:59.75Z"),
        ("2024-01-01T00:00:00Z", 0.25, "2023-12-31T23:59:59Z"),
        ("2024-01-01T10:00+0530", 1, "2024-01-01T09:59+0530"),
        ("2024-01-01 10:00:00", 60, "2024-01-01 09:59:00"),
        ("2024-01-01", 3600, "2023-12-31"),
        ("2024-01-01", 86400, "2023-12-31"),
        ("0001-01-02T00:00:00Z", 10**9, "0001-01-01T00:00:00Z"),
        ("2024-01-01T00:00:00Z", 0, "2024-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59-05:00", 1, "9999-12-31T23:59:58-05:00"),
        (1000, 300, 700),
        ("1000", 300, "700"),
        ("1000.50", 300, "700.50"),
        (10**22, 1, str(10**22 - 1)),
        ("texts", 0, "texts"),
    ],
)
def test_what_lies_before_is_written_alike_and_rounded_down(value: Any, less: float, expected: Any) -> None:
    assert mark(value).before(Decimal(str(less))).sent == expected


def test_nothing_lies_before_a_text() -> None:
    with pytest.raises(ConfigurationError, match="lookback cannot be applied to a string such as 'abc'"):
        mark("abc").before(Decimal(1))


NOON = datetime(2024, 6, 1, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("value", "less", "expected"),
    [
        ("2024-06-01T11:59:59Z", 0, "2024-06-01T11:59:59Z"),
        ("2024-06-01T14:30:00+02:00", 0, "2024-06-01T14:00:00+02:00"),
        ("2024-06-01T12:30:00Z", 60, "2024-06-01T11:59:00Z"),
        ("9999-12-31T00:00:00Z", 0, "2024-06-01T12:00:00Z"),
        # Only an instant can be compared with a clock.
        ("2024-06-01T12:30:00", 0, "2024-06-01T12:30:00"),
        (2 * NOON, 0, str(2 * NOON)),
    ],
)
def test_it_lies_before_now_as_well(value: Any, less: int, expected: Any) -> None:
    assert mark(value).before(Decimal(less), Decimal(repr(NOON))).sent == expected


INSTANTS = st.datetimes(datetime(1000, 1, 1), datetime(9000, 1, 1))

OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(INSTANTS, OFFSETS, INSTANTS, OFFSETS)
def test_timestamps_compare_as_instants(one: datetime, east: timezone, other: datetime, west: timezone) -> None:
    left, right = one.replace(tzinfo=east), other.replace(tzinfo=west)
    assert (mark(left.isoformat()).at < mark(right.isoformat()).at) == (left < right)
    assert (mark(left.isoformat()).at == mark(right.isoformat()).at) == (left == right)


@given(INSTANTS, OFFSETS, st.integers(0, 10**8))
def test_a_lookback_is_exact(at: datetime, offset: timezone, less: int) -> None:
    at = at.replace(tzinfo=offset)
    assert mark(at.isoformat()).before(Decimal(less)).sent == (at - timedelta(seconds=less)).isoformat(
        timespec="microseconds" if at.microsecond else "seconds"
    )


@given(
    st.one_of(
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False, min_value=-1e20, max_value=1e20),
        INSTANTS.map(datetime.isoformat),
        st.text(max_size=20),
    )
)
def test_what_is_kept_becomes_the_same_again(value: Any) -> None:
    try:
        found = mark(value)
    except ValueError:
        return
    assert cursor_value_from_json(json.loads(json.dumps(found.json)), "auto") == found
