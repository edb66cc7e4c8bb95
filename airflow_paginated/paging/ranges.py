"""Ranges of numbers, dates and times, counted as whole numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, TypeAlias

from airflow_paginated.paging.errors import ConfigurationError

Border: TypeAlias = int | str
"""A whole number, or a date or time in ISO 8601."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Scale:
    """How the borders of ranges are counted: as they are, in days or in seconds."""

    kind: str
    zulu: bool = False

    def number(self, border: Border) -> int:
        """Return a border as a whole number."""
        if isinstance(border, int):
            return border
        if self.kind == "days":
            return date.fromisoformat(border).toordinal()
        return (_time(border) - EPOCH) // timedelta(seconds=1)

    def text(self, number: int) -> Border:
        """Return what ``number`` was made of."""
        if self.kind == "numbers":
            return number
        if self.kind == "days":
            return date.fromordinal(number).isoformat()
        moment = EPOCH + timedelta(seconds=number)
        return moment.isoformat().replace("+00:00", "Z") if self.zulu else moment.replace(tzinfo=None).isoformat()


def scale_of(start: object, end: object) -> Scale:
    """Return how two borders are counted.

    Raises ``ConfigurationError`` where they are not of one kind.
    """
    both = (start, end)
    if all(isinstance(each, int) and not isinstance(each, bool) for each in both):
        return Scale("numbers")
    try:
        texts = [str(each) for each in both if isinstance(each, str)]
        if len(texts) == 2 and all(len(text) == 10 for text in texts):
            for text in texts:
                date.fromisoformat(text)
            return Scale("days")
        if len(texts) == 2 and len({_time(text).microsecond for text in texts} | {0}) == 1:
            return Scale("seconds", zulu=any(text.endswith(("Z", "+00:00")) for text in texts))
    except ValueError:
        pass
    raise ConfigurationError(
        f"pagination: start and end must be two whole numbers, two dates or two times (ISO 8601, whole seconds, UTC),"
        f" got {start!r} and {end!r}"
    )


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.utcoffset():
        raise ValueError("not UTC")
    return moment.replace(tzinfo=UTC)
