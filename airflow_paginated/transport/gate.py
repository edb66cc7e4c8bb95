"""Where all threads wait: one pause for everybody, the rate limit, and a retry budget for the whole run."""

from __future__ import annotations

import random
import threading
import time
from typing import Final, NamedTuple

from airflow_paginated.paging.errors import Cancelled, QuotaExceeded, RetryBudgetExhausted
from airflow_paginated.transport.pace import AdaptiveRate

SPREAD: Final = 0.1
"""After a pause the threads come back over this share of it (at most a second), not in one instant."""
GLANCE: Final = 0.25
"""How often one who waits looks whether the turn still holds."""
COST: Final = 5
"""How many pages must succeed to pay for one retry."""


class _Turn(NamedTuple):
    """When a request may go out, as long as the round lasts; or when the gate opens, where it is not ``open``."""

    at: float
    round: int
    open: bool = True


class Gate:
    """Lets requests out one by one. All threads use it; decisions are taken under the lock, waits outside."""

    def __init__(self, interval: float = 0.0) -> None:
        self._interval = interval
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._pace = AdaptiveRate()
        """Guarded by the lock."""
        self._next_slot = 0.0
        """Guarded by the lock."""
        self._opens_at = 0.0
        """Guarded by the lock."""
        self._paused = False
        """Guarded by the lock; whether nobody has come through since the last pause began."""
        self._spread = 0.0
        """Guarded by the lock."""
        self._round = 0
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
        held = False
        while True:
            if self._exhausted is not None:
                raise QuotaExceeded(*self._exhausted)
            turn = self._turn(held)
            self._wait(turn)
            if turn.open and turn.round == self._round:
                return
            held = True

    def _wait(self, turn: _Turn) -> None:
        """Wait for a turn, or until it is void."""
        while (wait := turn.at - time.monotonic()) > 0 and turn.round == self._round:
            self.sleep(min(wait, GLANCE))
        if self.closed:
            self.sleep(0.0)

    def sleep(self, seconds: float) -> None:
        """Wait, unless the run ends before. Raises ``Cancelled`` then."""
        if self._closed.wait(max(0.0, seconds)):
            raise Cancelled("the run was told to stop")

    def served(self) -> None:
        """Count a request that was not refused."""
        with self._lock:
            if self._pace.served():
                self._recall(time.monotonic())

    def exhaust(self, message: str, seconds: float) -> None:
        """Let no request out any more: there is no quota for ``seconds``, longer than anybody may wait."""
        self._exhausted = (message, seconds)

    def pause(self, seconds: float, refused: float | None = None) -> None:
        """Let no request out for so long; a longer pause that is under way holds.

        ``refused`` is when the request went out that was refused, if one was.
        """
        with self._lock:
            if refused is not None:
                self._pace.refused(refused)
            now = time.monotonic()
            until = now + seconds
            if until > self._opens_at:
                self.paused_seconds += until - max(now, self._opens_at)
                self._opens_at, self._paused = until, True
                self._spread = min(1.0, seconds * SPREAD)
                # Turns that fell into the pause must not all come at its end.
                self._recall(now)

    @property
    def _spacing(self) -> float:
        return max(self._interval, self._pace.interval)

    def _recall(self, now: float) -> None:
        """Let whoever waits for a turn take a new one."""
        self._round += 1
        self._next_slot = min(self._next_slot, max(self._opens_at, now + self._spacing))

    def close(self) -> None:
        """End all waits, now and later."""
        self._closed.set()

    def _turn(self, held: bool) -> _Turn:
        """Return when the next request may go out; ``held`` says that this one has waited for a pause to end."""
        with self._lock:
            now = time.monotonic()
            if now < self._opens_at:
                # At what pace requests go out then is known when the pause has ended.
                return _Turn(self._opens_at, self._round, open=False)
            if self._paused:
                self._paused = False
                self._pace.settle(self._opens_at)
            self._pace.begin(now)
            if not self._spacing:
                spread = self._spread if held else 0.0
                return _Turn(now + random.uniform(0, spread), self._round)  # noqa: S311 - spreads load, guards nothing
            turn = max(now, self._next_slot)
            self._next_slot = turn + self._spacing
            return _Turn(turn, self._round)


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
