"""When a run has to be over, and by whose word."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from airflow_paginated.core.errors import RunTimeout


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of a run, ``at`` on the monotonic clock; ``limit`` says who set it."""

    at: float
    limit: str

    @classmethod
    def of(cls, run_timeout: float | None) -> Deadline:
        """Return the end of a run that begins now and may last so many seconds."""
        return NEVER if run_timeout is None else cls.within(run_timeout, f"limits.run_timeout={run_timeout:g} s")

    @classmethod
    def within(cls, seconds: float, limit: str) -> Deadline:
        """Return the moment in so many seconds."""
        return cls(time.monotonic() + seconds, limit)

    @property
    def left(self) -> float:
        """The seconds until then; negative when it is over."""
        return self.at - time.monotonic()

    def check(self) -> None:
        """Raise ``RunTimeout`` when it is over."""
        if self.left <= 0:
            raise RunTimeout(f"this try ran out of time ({self.limit})")


NEVER: Final = Deadline(float("inf"), "no limit")
