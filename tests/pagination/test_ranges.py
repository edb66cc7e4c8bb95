"""Bounds of ranges as integers, and back."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.pagination.sliced import Bound, scale_of


@pytest.mark.parametrize(
    ("start", "end", "steps"),
    [
        (0, 10, 10),
        (-5, 5, 10),
        (0, 10**30, 10**30),
        ("2024-01-01", "2024-12-31", 365),
        ("2023-12-31", "2024-01-01", 1),
        ("2024-02-28", "2024-03-01", 2),
        ("2023-02-28", "2023-03-01", 1),
        ("0001-01-01", "9999-12-31", 3_652_058),
        ("2024-01-01T00:00:00", "2024-01-02T00:00:00", 86_400),
        ("2024-02-29T23:59:59Z", "2024-03-01T00:00:00Z", 1),
        ("1969-12-31T23:59:59Z", "1970-01-01T00:00:01Z", 2),
        ("2024-01-01T00:00:00+00:00", "2024-01-01T01:00:00+00:00", 3600),
        ("2024-01-01 00:00:00", "2024-01-01 00:01:00", 60),
        ("2024-01-01 00:00:00Z", "2024-01-01 00:01:00Z", 60),
        ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", 315_537_897_599),
    ],
)
def test_a_border_is_written_as_it_came(start: Bound, end: Bound, steps: int) -> None:
    scale = scale_of(start, end)
    assert scale.number(end) - scale.number(start) == steps
    assert [scale.text(scale.number(each)) for each in (start, end)] == [start, end]


@pytest.mark.parametrize(
    ("start", "end", "middle"),
    [
        (0, 11, 5),
        ("2024-02-28", "2024-03-01", "2024-02-29"),
        ("2023-12-01", "2024-01-31", "2023-12-31"),
        ("2024-02-29T12:00:00Z", "2024-03-01T12:00:00Z", "2024-03-01T00:00:00Z"),
        ("2024-01-01T00:00:00", "2024-01-01T00:00:03", "2024-01-01T00:00:01"),
        ("2024-01-01 00:00:00+00:00", "2024-01-03 00:00:00+00:00", "2024-01-02 00:00:00+00:00"),
    ],
)
def test_a_border_in_between_is_written_alike(start: Bound, end: Bound, middle: Bound) -> None:
    scale = scale_of(start, end)
    assert scale.text((scale.number(start) + scale.number(end)) // 2) == middle


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, "2024-01-01"),
        ("2024-01-01", "2024-01-02T00:00:00"),
        ("2024-01-01T00:00:00", "2024-01-02T00:00:00Z"),
        ("2024-01-01T00:00:00Z", "2024-01-02T00:00:00+00:00"),
        ("2024-01-01T00:00:00", "2024-01-02 00:00:00"),
        ("2024-01-01T00:00:00+02:00", "2024-01-02T00:00:00+02:00"),
        ("2024-01-01T00:00:00.5", "2024-01-02T00:00:00"),
        ("2024-01-01T00:00:00.000", "2024-01-02T00:00:00.000"),
        ("2024-01-01T00:00", "2024-01-02T00:00"),
        ("20240101", "20240201"),
        ("2024-W01-1", "2024-W02-1"),
        ("2024-02-30", "2024-03-01"),
        ("2023-02-29", "2023-03-01"),
        ("2024-01", "2024-02"),
        ("0", "10"),
        ("", ""),
        (0.0, 10.0),
        (True, 10),
        (False, True),
        (None, None),
        (date(2024, 1, 1), date(2024, 2, 1)),
        (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)),
        (["2024-01-01"], ["2024-02-01"]),
    ],
)
def test_borders_that_are_not_written_alike_are_refused(start: Any, end: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        scale_of(start, end)
    assert str(caught.value) == (
        "pagination: start and end must be two integers, or two strings in the same format, such as 2024-01-31,"
        f" 2024-01-31T00:00:00 or 2024-01-31T00:00:00Z; got {start!r} and {end!r}"
    )


moments = st.datetimes().map(lambda moment: moment.replace(microsecond=0))

borders = st.one_of(
    st.tuples(st.integers(), st.integers()),
    st.tuples(st.dates(), st.dates()).map(lambda both: tuple(each.isoformat() for each in both)),
    st.tuples(moments, moments, st.sampled_from(["T", " "]), st.sampled_from(["", "Z", "+00:00"])).map(
        lambda drawn: tuple(each.isoformat(drawn[2]) + drawn[3] for each in drawn[:2])
    ),
)


@given(both=borders, share=st.floats(0, 1))
def test_numbers_and_texts_are_one_to_one_and_in_one_order(both: tuple[Any, Any], share: float) -> None:
    scale = scale_of(*both)
    low, high = (scale.number(each) for each in both)
    assert (low < high) == (both[0] < both[1])
    between = low + int((high - low) * share) if abs(high - low) < 10**15 else low
    assert scale.number(scale.text(between)) == between
    assert scale_of(scale.text(between), both[1]) == scale


def test_times_are_counted_in_seconds() -> None:
    scale = scale_of("2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z")
    moment = datetime(2024, 2, 29, 12, tzinfo=UTC)
    assert scale.number("2024-02-29T12:00:00Z") == moment.timestamp()
    assert scale.text(int((moment + timedelta(days=1)).timestamp())) == "2024-03-01T12:00:00Z"
