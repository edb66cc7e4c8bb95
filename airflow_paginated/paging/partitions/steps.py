"""Time ranges cut into steps: clock time by the second, days and months by the calendar of a time zone."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import count
from typing import Any, Final

from airflow_paginated.paging.errors import ConfigurationError

_SHORT: Final = re.compile(r"(\d{1,9}) ?(s|min|h|d|w|mo|y)")
_LONG: Final = re.compile(
    r"P(?:(?P<y>\d{1,9})Y)?(?:(?P<mo>\d{1,9})M)?(?:(?P<w>\d{1,9})W)?(?:(?P<d>\d{1,9})D)?"
    r"(?:T(?:(?P<h>\d{1,9})H)?(?:(?P<min>\d{1,9})M)?(?:(?P<s>\d{1,9})S)?)?"
)


@dataclass(frozen=True, slots=True)
class CalendarStep:
    """A length of time: ``months`` and ``days`` of the calendar, then ``seconds`` of the clock."""

    months: int = 0
    days: int = 0
    seconds: int = 0

    @classmethod
    def parse(cls, given: Any) -> CalendarStep:
        """Read ``"1d"``, ``"6h"``, ``"1mo"``, ``"P1M"``, ``"PT15M"`` or a ``timedelta``.

        Raises ``ConfigurationError`` for anything else, and for what is no time at all.
        """
        if isinstance(given, timedelta) and not given.microseconds:
            return cls._checked(given, {"d": given.days, "s": given.seconds})
        short = _SHORT.fullmatch(given) if isinstance(given, str) else None
        if short:
            return cls._checked(given, {short[2]: short[1]})
        long = _LONG.fullmatch(given) if isinstance(given, str) else None
        return cls._checked(given, long.groupdict() if long else {})

    @classmethod
    def _checked(cls, given: Any, units: dict[str, Any]) -> CalendarStep:
        each = [int(units.get(unit) or 0) for unit in ("y", "mo", "w", "d", "h", "min", "s")]
        years, months, weeks, days, hours, minutes, seconds = each
        step = cls(12 * years + months, 7 * weeks + days, 3600 * hours + 60 * minutes + seconds)
        if min(each) < 0 or step == cls():
            raise ConfigurationError(
                "partitions: step must be a time as '15min', '6h', '1d', '1w', '1mo', '1y', in ISO 8601 as 'P1M' or"
                f" 'PT6H', or a timedelta of whole seconds, and more than nothing; got {given!r}"
            )
        return step

    def after(self, start: datetime, times: int, zone: tzinfo) -> datetime:
        """Return the instant so many steps after ``start``: each is counted from there, so that no day drifts."""
        instant = start
        if self.months or self.days:
            wall = start.astimezone(zone).replace(tzinfo=None)
            instant = localized(_later(wall, self.months * times) + timedelta(days=self.days * times), zone)
        return instant + timedelta(seconds=self.seconds * times)


def borders(start: datetime, end: datetime, step: CalendarStep, zone: tzinfo) -> Iterator[datetime]:
    """Yield ``start``, each instant at which a step ends, and ``end``: strictly growing."""
    yield start
    last = start
    for times in count(1):
        try:
            border = step.after(start, times, zone)
        except (OverflowError, ValueError):  # the calendar ends with the year 9999
            break
        if border >= end:
            break
        # Where a zone has left out a day, two of them end at once.
        if border > last:
            yield border
            last = border
    yield end


def localized(wall: datetime, zone: tzinfo) -> datetime:
    """Return the instant of a time on the wall; of one that is there twice the first, unless its ``fold`` is set."""
    return wall.replace(tzinfo=zone).astimezone(UTC)


def instant_of(given: Any, zone: tzinfo, name: str) -> datetime:
    """Return the instant of a date (its midnight in ``zone``), a time, a text of one in ISO 8601, or epoch seconds."""
    try:
        found = _parsed(given)
        if found.tzinfo is None:
            return localized(found, zone)
        in_utc = found.astimezone(UTC)
        return datetime(*in_utc.timetuple()[:6], in_utc.microsecond, tzinfo=UTC)
    except (ValueError, OverflowError, TypeError):
        raise ConfigurationError(
            f"partitions: {name} must be a date or a time in ISO 8601, or seconds since 1970; got {given!r}"
        ) from None


def _parsed(given: Any) -> datetime:
    if isinstance(given, datetime):
        return given
    if isinstance(given, date):
        return datetime(given.year, given.month, given.day)
    # Eight digits are a date, as {{ ds_nodash }} writes it.
    if isinstance(given, str) and given.isdecimal() and len(given) != len("20240131"):
        given = int(given)
    if isinstance(given, int) and not isinstance(given, bool):
        return datetime.fromtimestamp(given, UTC)
    return datetime.fromisoformat(given)


def _later(wall: datetime, months: int) -> datetime:
    """Return the same day so many months later, or the last of a month that is too short."""
    year, month = divmod(wall.year * 12 + wall.month - 1 + months, 12)
    day = min(wall.day, calendar.monthrange(year, month + 1)[1])
    return wall.replace(year=year, month=month + 1, day=day)
