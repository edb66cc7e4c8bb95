"""Date windows cover their range exactly, whatever calendars and clocks do."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_paginated import DateWindows
from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.partitions import partitions_from, resolved
from airflow_paginated.partitions.date_windows import CalendarStep, borders, localize, parse_instant

# Summer time at two in the morning, at midnight, by half an hour, the other way round; a day left out; odd offsets.
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Asia/Kathmandu",
)
STEPS = ("1s", "15min", "90min", "6h", "1d", "2d", "1w", "1mo", "5mo", "1y", "P1DT6H", "P1M1D", timedelta(days=1))
instants = st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))


def no_parent(path: str) -> Any:
    raise AssertionError(path)


def windows(start: Any, end: Any, step: Any, **options: Any) -> list[tuple[Any, Any]]:
    names = {"from_param": "a", "to_param": "b"}
    found = resolved(DateWindows(start, end, step, **{**names, **options}), no_parent)
    assert found is not None
    return [(each["a"], each["b"]) for each in found.sets()]


@st.composite
def ranges(draw: Any) -> tuple[datetime, datetime, CalendarStep, ZoneInfo]:
    """Draw a range of not too many steps, with either end on or off a calendar boundary."""
    zone, step = ZoneInfo(draw(st.sampled_from(ZONES))), CalendarStep.parse(draw(st.sampled_from(STEPS)))
    start = draw(instants).replace(microsecond=0)
    if draw(st.booleans()):
        start = localize(start.astimezone(zone).replace(tzinfo=None, hour=0, minute=0, second=0), zone)
    length = timedelta(days=31 * step.months + step.days, seconds=step.seconds)
    return start, start + length * draw(st.floats(0.01, 40)), step, zone


def iso(step: CalendarStep) -> str:
    return f"P{step.months}M{step.days}DT{step.seconds}S"


@given(ranges())
@example((datetime(2024, 2, 28, tzinfo=UTC), datetime(2024, 3, 2, tzinfo=UTC), CalendarStep(days=1), ZoneInfo("UTC")))
@example(
    (datetime(2011, 12, 28, 10, tzinfo=UTC), datetime(2012, 1, 2, tzinfo=UTC), CalendarStep(days=1), ZoneInfo(ZONES[6]))
)
def test_borders_grow_from_the_start_to_the_end(drawn: tuple[datetime, datetime, CalendarStep, ZoneInfo]) -> None:
    start, end, step, zone = drawn
    found = list(borders(start, end, step, zone))
    assert (found[0], found[-1]) == (start, end)
    assert all(one < next_one for one, next_one in pairwise(found))


@given(ranges())
def test_a_step_of_the_calendar_ends_at_the_time_on_the_wall_at_which_it_began(
    drawn: tuple[datetime, datetime, CalendarStep, ZoneInfo],
) -> None:
    start, end, step, zone = drawn
    wall = start.astimezone(zone).time()
    for border in list(borders(start, end, step, zone))[1:-1]:
        local = border.astimezone(zone)
        exists = localize(local.replace(tzinfo=None), zone).astimezone(zone).time() == wall
        if not step.seconds and exists:
            assert local.time() == wall
        if not (step.months or step.days):
            assert (border - start) % timedelta(seconds=step.seconds) == timedelta(0)


@given(ranges(), st.sampled_from(["iso", "epoch", "epoch_ms", "%Y-%m-%dT%H:%M:%S%z"]), st.booleans())
def test_every_second_of_a_range_is_in_one_window(
    drawn: tuple[datetime, datetime, CalendarStep, ZoneInfo], how: str, to_inclusive: bool
) -> None:
    start, end, step, zone = drawn
    start, end = start.replace(microsecond=0), end.replace(microsecond=0) + timedelta(seconds=1)
    options = {"timezone": zone.key, "datetime_format": how, "to_inclusive": to_inclusive}
    found = windows(start, end, iso(step), **options)

    def read(sent: Any) -> datetime:
        if isinstance(sent, int):
            return datetime.fromtimestamp(sent / (1000 if how == "epoch_ms" else 1), UTC)
        return datetime.fromisoformat(sent)

    last = timedelta(milliseconds=1 if how == "epoch_ms" else 1000) * to_inclusive
    assert read(found[0][0]) == start
    assert read(found[-1][1]) + last == end
    assert all(read(until) + last == read(since) for (_, until), (since, _) in pairwise(found))


@given(st.dates(date(1990, 1, 1), date(2036, 1, 1)), st.integers(1, 500), st.sampled_from(ZONES), st.booleans())
@example(date(2005, 10, 16), 8, "America/Sao_Paulo", False)
def test_every_day_of_a_range_is_in_one_window(first: date, days: int, zone: str, to_inclusive: bool) -> None:
    options = {"timezone": zone, "datetime_format": "date", "to_inclusive": to_inclusive}
    found = windows(first, first + timedelta(days=days), "1w", **options)
    covered = [
        date.fromisoformat(since) + timedelta(days=number)
        for since, until in found
        for number in range((date.fromisoformat(until) - date.fromisoformat(since)).days + to_inclusive)
    ]
    assert covered == [first + timedelta(days=number) for number in range(days)]


def test_a_start_whose_midnight_was_skipped_moves_no_other_day() -> None:
    assert windows("2005-10-16", "2005-10-19", "1d", timezone="America/Sao_Paulo") == [
        ("2005-10-16T01:00:00-02:00", "2005-10-17T00:00:00-02:00"),
        ("2005-10-17T00:00:00-02:00", "2005-10-18T00:00:00-02:00"),
        ("2005-10-18T00:00:00-02:00", "2005-10-19T00:00:00-02:00"),
    ]


def test_a_day_of_23_hours_and_one_of_25() -> None:
    assert windows("2024-03-30", "2024-04-02", "1d", timezone="Europe/Berlin") == [
        ("2024-03-30T00:00:00+01:00", "2024-03-31T00:00:00+01:00"),
        ("2024-03-31T00:00:00+01:00", "2024-04-01T00:00:00+02:00"),
        ("2024-04-01T00:00:00+02:00", "2024-04-02T00:00:00+02:00"),
    ]
    assert windows("2024-10-27", "2024-10-28", "6h", timezone="Europe/Berlin")[-1] == (
        "2024-10-27T23:00:00+01:00",
        "2024-10-28T00:00:00+01:00",
    )


def test_months_are_counted_from_the_start() -> None:
    found = windows("2024-01-31", "2024-05-15", "1mo", datetime_format="date")
    assert [since for since, _ in found] == ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"]
    leap = windows("2020-02-29", "2025-01-01", "P1Y", datetime_format="date")
    assert [since for since, _ in leap] == ["2020-02-29", "2021-02-28", "2022-02-28", "2023-02-28", "2024-02-29"]


def test_a_day_that_a_zone_left_out_is_no_window_of_its_own() -> None:
    found = windows("2011-12-29", "2012-01-01", "1d", timezone="Pacific/Apia")
    assert [since for since, _ in found] == ["2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00"]


@pytest.mark.parametrize(
    ("start", "options", "sent"),
    [
        ("2024-01-31", {}, "2024-01-31T00:00:00+00:00"),
        ("20240131", {}, "2024-01-31T00:00:00+00:00"),
        (date(2024, 1, 31), {"timezone": "Asia/Tokyo"}, "2024-01-31T00:00:00+09:00"),
        (datetime(2024, 1, 31, 12), {"timezone": "Asia/Tokyo"}, "2024-01-31T12:00:00+09:00"),
        (datetime(2024, 1, 31, tzinfo=timezone(timedelta(hours=-5))), {}, "2024-01-31T05:00:00+00:00"),
        ("2024-01-31 00:00:00+00:00", {"datetime_format": "epoch"}, 1706659200),
        ("2024-01-31T00:00:00Z", {"datetime_format": "epoch_ms"}, 1706659200000),
        (1706659200, {"datetime_format": "date"}, "2024-01-31"),
        ("1706659200", {"datetime_format": "%Y-%m-%dT%H:%M:%SZ"}, "2024-01-31T00:00:00Z"),
        ("2024-01-31", {"datetime_format": "%d.%m.%Y"}, "31.01.2024"),
        ("2024-01-31T00:00:00.25", {}, "2024-01-31T00:00:00.250000+00:00"),
    ],
)
def test_bounds_are_read_and_written_in_many_ways(start: Any, options: dict[str, Any], sent: Any) -> None:
    assert windows(start, "2024-02-10", "1mo", **options)[0][0] == sent


def test_airflow_s_own_times_are_plain_ones() -> None:
    import pendulum

    start, end = pendulum.datetime(2024, 1, 31, tz="Europe/Berlin"), pendulum.datetime(2024, 2, 1, tz="UTC")
    assert windows(start, end, "1y") == [("2024-01-30T23:00:00+00:00", "2024-02-01T00:00:00+00:00")]
    assert type(parse_instant(start, ZoneInfo("UTC"), "start")) is datetime


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("30s", CalendarStep(seconds=30)),
        ("15min", CalendarStep(seconds=900)),
        ("6h", CalendarStep(seconds=21600)),
        ("1d", CalendarStep(days=1)),
        ("2w", CalendarStep(days=14)),
        ("1mo", CalendarStep(months=1)),
        ("1y", CalendarStep(months=12)),
        ("PT1H30M5S", CalendarStep(seconds=5405)),
        ("P1Y2M3W4DT5H", CalendarStep(months=14, days=25, seconds=18000)),
        (timedelta(days=1, hours=1), CalendarStep(days=1, seconds=3600)),
    ],
)
def test_steps_are_read(text: Any, step: CalendarStep) -> None:
    assert CalendarStep.parse(text) == step


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "0d",
        "P",
        "PT",
        "P0D",
        "1m",
        "1M",
        "-1d",
        "1.5h",
        "d",
        5,
        None,
        timedelta(0),
        timedelta(-1),
        timedelta(0, 1, 5),
    ],
)
def test_what_is_no_step_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="step must be a positive duration such as '15min'"):
        DateWindows("2024-01-01", "2024-01-02", wrong, from_param="a", to_param="b")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"start": "yesterday"}, "start must be an ISO 8601 date or time"),
        ({"start": None}, "start must be an ISO 8601 date or time"),
        ({"end": "None"}, "end must be an ISO 8601 date or time, or seconds since 1970; got 'None'"),
        ({"from_param": ""}, "from_param: expected a non-empty string"),
        ({"to_param": "a"}, "from_param and to_param both name 'a'"),
        ({"datetime_format": "ISO"}, "'ISO' is not one of iso, date, epoch, epoch_ms"),
        ({"datetime_format": "%Q"}, "cannot be parsed back"),
        ({"timezone": "Mars/Base"}, "unknown timezone 'Mars/Base'"),
        ({"timezone": "../etc/passwd"}, "unknown timezone"),
        ({"to_inclusive": "yes"}, "to_inclusive: expected true or false"),
        ({"inject_into": "path"}, "'path' is not one of query, header, body, none"),
        ({"inject_into": {"c": "header"}}, "unknown key 'c'"),
    ],
)
def test_wrong_arguments_are_refused_when_the_dag_is_parsed(change: dict[str, Any], said: str) -> None:
    known = {"start": "2024-01-01", "end": "2024-01-02", "step": "1d", "from_param": "a", "to_param": "b"}
    with pytest.raises(ConfigurationError, match=said):
        DateWindows(**{**known, **change})


@pytest.mark.parametrize(("start", "end"), [("2024-01-02", "2024-01-02"), ("2024-01-02", "2024-01-01")])
def test_an_empty_range_is_refused(start: str, end: str) -> None:
    with pytest.raises(ConfigurationError, match=r"must be before end .* CronDataIntervalTimetable"):
        windows(start, end, "1d")


@pytest.mark.parametrize(
    ("start", "step", "options"),
    [
        ("2024-01-01", "6h", {"datetime_format": "date"}),
        ("2024-01-01T01:00", "1d", {"datetime_format": "date"}),
        ("2024-01-01", "1d", {"datetime_format": "%Y-%m"}),
        ("2024-01-01T00:00:00.5", "1d", {"datetime_format": "epoch"}),
        ("2024-01-01T00:00:00.0005", "1d", {"datetime_format": "epoch_ms"}),
        # Two hours of this night have the same name.
        ("2024-10-26T12:30", "1h", {"timezone": "Europe/Berlin", "datetime_format": "%Y-%m-%d %H:%M"}),
    ],
)
def test_a_bound_that_would_lose_something_is_refused(start: str, step: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"datetime_format .* writes the bound .*, which means another time"):
        windows(start, "2024-11-01", step, **options)


def test_parts_of_seconds_have_no_last_one() -> None:
    with pytest.raises(ConfigurationError, match="to_inclusive requires bounds of whole seconds"):
        windows("2024-01-01T00:00:00.5", "2024-01-02", "1d", to_inclusive=True)


def test_the_calendar_has_an_end() -> None:
    assert len(windows("9998-12-31", "9999-12-31", "1mo")) == 12
    assert len(windows("9999-12-30", "9999-12-31", "P900000000D")) == 1


def test_the_dict_of_windows_is_the_same() -> None:
    made = partitions_from(
        {
            "type": "date_windows",
            "start": "2024-01-01",
            "end": "2024-02-01",
            "step": "1w",
            "from_param": "since",
            "to_param": "until",
        }
    )
    assert made == DateWindows("2024-01-01", "2024-02-01", "1w", from_param="since", to_param="until")


@given(ranges(), ranges())
def test_the_plan_tells_ranges_apart(one: Any, other: Any) -> None:
    def said(drawn: tuple[datetime, datetime, CalendarStep, ZoneInfo]) -> Any:
        start, end, step, zone = drawn
        windows = DateWindows(start, end, iso(step), from_param="a", to_param="b", timezone=zone.key)
        return windows.resolved(no_parent).describe()

    assert (said(one) == said(other)) == (one == other)
