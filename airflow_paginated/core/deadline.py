"""When a run must end, and which setting says so."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from airflow_paginated.core.errors import RunTimeout


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of a run: ``at`` on the monotonic clock; ``limit`` names the setting for messages."""

    at: float
    limit: str

    @classmethod
    def of(cls, seconds: float | None) -> Deadline:
        """Return the deadline of a run that starts now and may take ``seconds``."""
        return NEVER if seconds is None else cls.within(seconds, f"timeouts.run={seconds:g} s")

    @classmethod
    def within(cls, seconds: float, limit: str) -> Deadline:
        """Return the deadline ``seconds`` from now."""
        return cls(time.monotonic() + seconds, limit)

    @property
    def left(self) -> float:
        """The seconds left; negative once the deadline has passed."""
        return self.at - time.monotonic()

    def check(self) -> None:
        """Raise ``RunTimeout`` if the deadline has passed."""
        if time.monotonic() >= self.at:
            raise RunTimeout(f"this try ran out of time ({self.limit})")


NEVER: Final = Deadline(float("inf"), "no limit")
