"""Where all threads wait: one pause for everybody, the rate limit, and a retry budget for the whole run."""

from __future__ import annotations

import random
import threading
import time
from typing import Final

from airflow_paginated.paging.errors import Cancelled, QuotaExceeded, RetryBudgetExhausted

SPREAD: Final = 0.1
"""After a pause the threads come back over this share of it (at most a second), not in one instant."""
COST: Final = 5
"""How many pages must succeed to pay for one retry."""


class Gate:
    """Lets requests out one by one. All threads use it; decisions are taken under the lock, waits outside."""

    def __init__(self, interval: float = 0.0) -> None:
        self._interval = interval
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._next_slot = 0.0
        """Guarded by the lock."""
        self._opens_at = 0.0
        """Guarded by the lock."""
        self._spread = 0.0
        """Guarded by the lock."""
        self._pauses = 0
        """Changed under the lock; how often the turns that were given out became void."""
        self._exhausted: tuple[str, float] | None = None
        """Set once, by any thread."""
        self.paused_seconds = 0.0
        """Guarded by the lock; the time during which the gate was shut for everybody."""

    @property
    def closed(self) -> bool:
        """Say whether the run is over."""
        return self._closed.is_set()

    def enter(self) -> None:
        """Wait for this request's turn. Raises ``Cancelled`` when the run is over, ``QuotaExceeded`` without quota."""
        while True:
            if self._exhausted is not None:
                raise QuotaExceeded(*self._exhausted)
            turn, pauses = self._turn()
            wait = turn - time.monotonic()
            if wait > 0 or self.closed:
                self.sleep(wait)
            if pauses == self._pauses:
                return

    def sleep(self, seconds: float) -> None:
        """Wait, unless the run ends before. Raises ``Cancelled`` then."""
        if self._closed.wait(max(0.0, seconds)):
            raise Cancelled("the run was told to stop")

    def exhaust(self, message: str, seconds: float) -> None:
        """Let no request out any more: there is no quota for ``seconds``, longer than anybody may wait."""
        self._exhausted = (message, seconds)

    def pause(self, seconds: float) -> None:
        """Let no request out for so long; a longer pause that is under way holds."""
        with self._lock:
            now = time.monotonic()
            until = now + seconds
            if until > self._opens_at:
                self.paused_seconds += until - max(now, self._opens_at)
                self._opens_at = until
                self._spread = min(1.0, seconds * SPREAD)
                # Whoever waits for a turn takes a new one: turns that fell into the pause must not all come at its end.
                self._pauses += 1
                self._next_slot = min(self._next_slot, max(until, now + self._interval))

    def close(self) -> None:
        """End all waits, now and later."""
        self._closed.set()

    def _turn(self) -> tuple[float, int]:
        """Return when the next request may go out, and the number of pauses for which that holds."""
        with self._lock:
            turn = time.monotonic()
            if self._interval:
                turn = max(turn, self._opens_at, self._next_slot)
                self._next_slot = turn + self._interval
            elif self._opens_at > turn:
                turn = self._opens_at + random.uniform(0, self._spread)  # noqa: S311 - spreads load, guards nothing
            return turn, self._pauses


class RetryBudget:
    """What all pages together may still retry. All threads use it, under its lock."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._left = size * COST
        self._lock = threading.Lock()

    def earn(self) -> None:
        """Add what a page that succeeded is worth."""
        with self._lock:
            self._left += 1

    def spend(self, cause: str) -> None:
        """Take one retry. Raises ``RetryBudgetExhausted`` when there is none left."""
        with self._lock:
            if self._left < COST:
                raise RetryBudgetExhausted(
                    f"too many pages fail: the run's retry budget (retry.budget={self._size}, and 1 for every {COST}"
                    f" pages that succeed) is used up; last cause: {cause}"
                )
            self._left -= COST
