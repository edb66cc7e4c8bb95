"""How long a try may take, so that it ends in order before Airflow ends it."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from airflow_paginated.paging.deadline import Deadline

SPARE_SECONDS: Final = 15.0
"""What a try needs at most to let its requests go and to store what it has."""


def run_deadline(run: float | None, execution_timeout: timedelta | None) -> Deadline:
    """Return the end of a try that begins now: by its own limit, or somewhat before the task's timeout."""
    own = Deadline.of(run)
    if execution_timeout is None:
        return own
    total = execution_timeout.total_seconds()
    # Of a short timeout, the spare time must not take all.
    seconds = max(total - SPARE_SECONDS, total / 2)
    airflows = Deadline.within(seconds, f"{seconds:g} s of execution_timeout={total:g} s")
    return min(own, airflows, key=lambda deadline: deadline.at)
