"""Ranges of numbers, dates and times, counted as whole numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Literal, TypeAlias

from airflow_paginated.paging.errors import ConfigurationError

Border: TypeAlias = int | str
"""A whole number, or a date or time in ISO 8601."""
UNIX_EPOCH: Final = datetime(1970, 1, 1)  # the zone, which is UTC or unknown, is written down only


@dataclass(frozen=True, slots=True)
class Scale:
    """How the borders of ranges are counted, as they are, in days or in seconds, and how they are written."""

    kind: Literal["numbers", "days", "seconds"]
    zone: str = ""
    mark: str = "T"

    def number(self, border: Border) -> int:
        """Return a border as a whole number."""
        if self.kind == "numbers":
            return int(border)
        if self.kind == "days":
            return date.fromisoformat(str(border)).toordinal()
        return (datetime.fromisoformat(str(border).removesuffix(self.zone)) - UNIX_EPOCH) // timedelta(seconds=1)

    def text(self, number: int) -> Border:
        """Return what ``number`` was made of."""
        if self.kind == "numbers":
            return number
        if self.kind == "days":
            return date.fromordinal(number).isoformat()
        return (UNIX_EPOCH + timedelta(seconds=number)).isoformat(self.mark) + self.zone

    def writes(self, border: object) -> bool:
        """Say whether this is how a border is written: the API will see others that are written alike."""
        if isinstance(border, bool) or not isinstance(border, int if self.kind == "numbers" else str):
            return False
        try:
            return self.text(self.number(border)) == border
        except (ValueError, TypeError):
            return False


SCALES: Final = (
    Scale("numbers"),
    Scale("days"),
    *(Scale("seconds", zone, mark) for mark in ("T", " ") for zone in ("", "Z", "+00:00")),
)


def scale_of(start: object, end: object) -> Scale:
    """Return how two borders are counted.

    Raises ``ConfigurationError`` where they are not written alike.
    """
    for scale in SCALES:
        if scale.writes(start) and scale.writes(end):
            return scale
    raise ConfigurationError(
        "pagination: start and end must be two whole numbers, or two texts that are written alike, as 2024-01-31,"
        f" 2024-01-31T00:00:00 or 2024-01-31T00:00:00Z; got {start!r} and {end!r}"
    )
