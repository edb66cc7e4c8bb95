"""Time ranges cut into windows: hours and less by the clock, days and more by the calendar of a time zone."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import count, pairwise
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.validation import check_choice, check_flag, check_text
from airflow_paginated.core.values import Json
from airflow_paginated.partitions.protocol import (
    ParameterPlace,
    Partitions,
    Places,
    ReadParent,
    check_places,
    places_of,
)

_SHORT_STEP: Final = re.compile(r"(\d{1,9}) ?(s|min|h|d|w|mo|y)")

_ISO_STEP: Final = re.compile(
    r"P(?:(?P<y>\d{1,9})Y)?(?:(?P<mo>\d{1,9})M)?(?:(?P<w>\d{1,9})W)?(?:(?P<d>\d{1,9})D)?"
    r"(?:T(?:(?P<h>\d{1,9})H)?(?:(?P<min>\d{1,9})M)?(?:(?P<s>\d{1,9})S)?)?"
)


@dataclass(frozen=True, slots=True)
class CalendarStep:
    """A duration: ``months`` and ``days`` of the calendar, then ``seconds`` of the clock."""

    months: int = 0
    days: int = 0
    seconds: int = 0

    @classmethod
    def parse(cls, given: Any) -> CalendarStep:
        """Parse ``"1d"``, ``"6h"``, ``"1mo"``, ``"P1M"``, ``"PT15M"`` or a ``timedelta``.

        Raises ``ConfigurationError`` for anything else, and for a duration of zero.
        """
        if isinstance(given, timedelta) and not given.microseconds:
            return cls._checked(given, {"d": given.days, "s": given.seconds})
        short = _SHORT_STEP.fullmatch(given) if isinstance(given, str) else None
        if short:
            return cls._checked(given, {short[2]: short[1]})
        long = _ISO_STEP.fullmatch(given) if isinstance(given, str) else None
        return cls._checked(given, long.groupdict() if long else {})

    @classmethod
    def _checked(cls, given: Any, units: dict[str, Any]) -> CalendarStep:
        each = [int(units.get(unit) or 0) for unit in ("y", "mo", "w", "d", "h", "min", "s")]
        years, months, weeks, days, hours, minutes, seconds = each
        step = cls(12 * years + months, 7 * weeks + days, 3600 * hours + 60 * minutes + seconds)
        if min(each) < 0 or step == cls():
            raise ConfigurationError(
                "partitions: step must be a positive duration such as '15min', '6h', '1d', '1w', '1mo' or '1y', an"
                f" ISO 8601 duration such as 'P1M' or 'PT6H', or a timedelta of whole seconds; got {given!r}"
            )
        return step

    def after(self, start: datetime, times: int, zone: tzinfo) -> datetime:
        """Return the instant ``times`` steps after ``start``; counting from there keeps the day of the month."""
        instant = start
        if self.months or self.days:
            wall = start.astimezone(zone).replace(tzinfo=None)
            midnight = datetime(wall.year, wall.month, wall.day)
            if localize(midnight, zone) == start:
                # Daylight saving skipped midnight: the days after this one start at theirs.
                wall = midnight
            instant = localize(_add_months(wall, self.months * times) + timedelta(days=self.days * times), zone)
        return instant + timedelta(seconds=self.seconds * times)


def borders(start: datetime, end: datetime, step: CalendarStep, zone: tzinfo) -> Iterator[datetime]:
    """Yield ``start``, the end of each step, and ``end``, strictly increasing."""
    yield start
    last = start
    for times in count(1):
        try:
            border = step.after(start, times, zone)
        except (OverflowError, ValueError):  # the calendar ends with the year 9999
            break
        if border >= end:
            break
        # In a zone that once skipped a day, two steps end at the same instant.
        if border > last:
            yield border
            last = border
    yield end


def localize(wall: datetime, zone: tzinfo) -> datetime:
    """Return the instant of a local time; the first of two, unless its ``fold`` is set."""
    return wall.replace(tzinfo=zone).astimezone(UTC)


def parse_instant(given: Any, zone: tzinfo, name: str) -> datetime:
    """Parse a date (its midnight in ``zone``), a datetime, an ISO 8601 string of either, or epoch seconds."""
    try:
        found = _parse_datetime(given)
        if found.tzinfo is None:
            return localize(found, zone)
        in_utc = found.astimezone(UTC)
        return datetime(*in_utc.timetuple()[:6], in_utc.microsecond, tzinfo=UTC)
    except (ValueError, OverflowError, TypeError):
        raise ConfigurationError(
            f"partitions: {name} must be an ISO 8601 date or time, or seconds since 1970; got {given!r}"
        ) from None


def _parse_datetime(given: Any) -> datetime:
    if isinstance(given, datetime):
        return given
    if isinstance(given, date):
        return datetime(given.year, given.month, given.day)
    # Eight digits are a date, as in {{ ds_nodash }}.
    if isinstance(given, str) and given.isdecimal() and len(given) != len("20240131"):
        given = int(given)
    if isinstance(given, int) and not isinstance(given, bool):
        return datetime.fromtimestamp(given, UTC)
    return datetime.fromisoformat(given)


def _add_months(wall: datetime, months: int) -> datetime:
    """Return the same day ``months`` later, or the last day of a shorter month."""
    year, month = divmod(wall.year * 12 + wall.month - 1 + months, 12)
    day = min(wall.day, calendar.monthrange(year, month + 1)[1])
    return wall.replace(year=year, month=month + 1, day=day)


DATETIME_FORMATS: Final = ("iso", "date", "epoch", "epoch_ms")

SECOND: Final = timedelta(seconds=1)

MILLISECOND: Final = timedelta(milliseconds=1)

UNIX_EPOCH_DATE: Final = datetime(1970, 1, 1, tzinfo=UTC)

_ANY_TIME: Final = datetime(2024, 2, 29, 13, 14, 15, tzinfo=UTC)


@dataclass
class DateWindows:
    """One partition for each ``step`` from ``start`` to ``end`` (exclusive).

    The bounds are dates or datetimes, as objects or ISO 8601 strings, or epoch seconds; without an offset they are in
    ``timezone``. A ``step`` of days, weeks, months or years (``"1d"``, ``"1mo"``, ``"P1M"``) follows the calendar of
    ``timezone``, one of hours or less (``"6h"``, ``"PT15M"``) the clock. The windows cover the range without gaps or
    overlaps.

    ``datetime_format`` is the format of the bounds in ``from_param`` and ``to_param``: ``iso``, with an offset;
    ``date``; ``epoch`` or ``epoch_ms``; or a pattern such as ``"%Y-%m-%dT%H:%M:%SZ"``, in ``timezone``. A bound that it
    cannot express exactly is refused. With ``to_inclusive``, the last day, second or millisecond of the window is sent.
    ``inject_into`` works as in ``ParameterSets``.

    Example::

        DateWindows("{{ data_interval_start }}", "{{ data_interval_end }}", "6h", from_param="since", to_param="until")
    """

    start: Any
    end: Any
    step: Any
    _: KW_ONLY
    from_param: str
    to_param: str
    datetime_format: str = "iso"
    timezone: str = "UTC"
    to_inclusive: bool = False
    inject_into: Places = None

    template_fields: ClassVar[tuple[str, ...]] = ("start", "end")
    template_ext: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        CalendarStep.parse(self.step)
        zone = _load_zone(self.timezone)
        for name in ("from_param", "to_param"):
            check_text(getattr(self, name), f"partitions: {name}")
        if self.from_param == self.to_param:
            raise ConfigurationError(f"partitions: from_param and to_param both name {self.from_param!r}")
        check_flag(self.to_inclusive, "partitions: to_inclusive")
        check_places(self.inject_into)
        places_of(self.inject_into, (self.from_param, self.to_param))
        self._check_format()
        for name in ("start", "end"):
            given = getattr(self, name)
            if given is None or (isinstance(given, str | int | date) and "{" not in str(given)):
                parse_instant(given, zone, name)

    def resolved(self, read: ReadParent) -> Partitions:
        """Return the partitions, once the bounds are rendered.

        Raises ``ConfigurationError`` for an empty range, which would silently collect nothing.
        """
        zone = _load_zone(self.timezone)
        start, end = parse_instant(self.start, zone, "start"), parse_instant(self.end, zone, "end")
        if not start < end:
            raise ConfigurationError(
                f"partitions: start {self.start!r} must be before end {self.end!r}; the data interval of a"
                " manual run is empty, and by default so is that of a cron schedule: see CronDataIntervalTimetable"
            )
        windows = ResolvedDateWindows(
            start=start,
            end=end,
            step=CalendarStep.parse(self.step),
            from_param=self.from_param,
            to_param=self.to_param,
            format=BoundFormat(self.datetime_format, zone),
            to_inclusive=self.to_inclusive,
            places=places_of(self.inject_into, (self.from_param, self.to_param)),
        )
        windows.check_bounds()
        return windows

    def _check_format(self) -> None:
        if "%" not in str(self.datetime_format):
            check_choice(self.datetime_format, DATETIME_FORMATS, "partitions: datetime_format")
            return
        try:
            datetime.strptime(_ANY_TIME.strftime(self.datetime_format), self.datetime_format)
        except ValueError:
            raise ConfigurationError(
                f"partitions: a time written with datetime_format {self.datetime_format!r} cannot be parsed back"
            ) from None


@dataclass(frozen=True, slots=True)
class BoundFormat:
    """Formats and parses instants."""

    name: str
    zone: tzinfo

    def write(self, instant: datetime) -> Json:
        """Format an instant, as precisely as the format allows."""
        local = instant.astimezone(self.zone)
        if self.name == "iso":
            return local.isoformat()
        if self.name == "date":
            return local.date().isoformat()
        if self.name.startswith("epoch"):
            return (instant - UNIX_EPOCH_DATE) // (SECOND if self.name == "epoch" else MILLISECOND)
        return local.strftime(self.name)

    def read(self, written: Json) -> datetime:
        """Parse an instant, without what the format has lost."""
        if isinstance(written, int):
            return UNIX_EPOCH_DATE + written * (SECOND if self.name == "epoch" else MILLISECOND)
        pattern = "%" in self.name
        found = datetime.strptime(written, self.name) if pattern else datetime.fromisoformat(written)
        return found.astimezone(UTC) if found.tzinfo else localize(found, self.zone)

    def last_before(self, instant: datetime) -> Json:
        """Format the last value before an instant."""
        if self.name == "date":
            return (instant.astimezone(self.zone).date() - timedelta(days=1)).isoformat()
        return self.write(instant - (MILLISECOND if self.name == "epoch_ms" else SECOND))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedDateWindows:
    """Implements ``Partitions``."""

    start: datetime
    end: datetime
    step: CalendarStep
    from_param: str
    to_param: str
    format: BoundFormat
    to_inclusive: bool = False
    places: Mapping[str, ParameterPlace] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, str]:
        """The names of both parameters."""
        return self.from_param, self.to_param

    def sets(self) -> Iterator[Mapping[str, Json]]:
        """Yield the bounds of each window.

        Raises ``ConfigurationError`` for a bound without an exact format: windows would overlap, or leave gaps.
        """
        end_of = self.format.last_before if self.to_inclusive else self._write_exactly
        for start, end in pairwise(borders(self.start, self.end, self.step, self.format.zone)):
            yield {self.from_param: self._write_exactly(start), self.to_param: end_of(end)}

    def describe(self) -> dict[str, Json]:
        """Return everything that defines the windows."""
        return {
            "type": "date_windows",
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "step": [self.step.months, self.step.days, self.step.seconds],
            "params": [self.from_param, self.to_param],
            "format": self.format.name,
            "timezone": str(self.format.zone),
            "to_inclusive": self.to_inclusive,
        }

    def check_bounds(self) -> None:
        """Raise ``ConfigurationError`` for bounds of the range that have no exact format."""
        for bound in (self.start, self.end):
            self._write_exactly(bound)
            if self.to_inclusive and bound.microsecond:
                raise ConfigurationError("partitions: to_inclusive requires bounds of whole seconds")

    def _write_exactly(self, bound: datetime) -> Json:
        written = self.format.write(bound)
        if self.format.read(written) != bound:
            raise ConfigurationError(
                f"partitions: datetime_format {self.format.name!r} writes the bound"
                f" {bound.astimezone(self.format.zone).isoformat()} as {written!r}, which means another time: choose a"
                " format with the time and its offset, or bounds and a step of whole days in that timezone"
            )
        return written


def _load_zone(name: Any) -> tzinfo:
    check_text(name, "partitions: timezone")
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ConfigurationError(f"partitions: unknown timezone {name!r}; use a name such as 'Europe/Berlin'") from None
