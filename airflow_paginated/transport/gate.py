"""How fast an API lets us be, learned from what it served between two refusals."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from airflow_paginated.core.errors import Cancelled, QuotaExceeded, RetryBudgetExhausted

TOLERABLE: Final = 0.05
"""Requests refused for each that is served; where there are no more, a pace would cost more than it saves."""

BY_CHANCE: Final = 1.0
"""A single refusal says nothing of how much is too much."""

TRUST: Final = 4
"""A pace that was learned from so many requests doubles in this many times as many, unless one is refused."""


@dataclass(slots=True)
class AdaptiveRate:
    """The interval between requests that an API seems to allow; 0 while there is no need for one.

    Each stretch of time ends with a pause, and tells how many requests are served in it, the pause included; it counts
    half as much as the next one. Used under the lock of the gate.
    """

    interval: float = 0.0
    _since: float = 0.0
    _served: int = 0
    _refused: int = 0
    _all_served: float = 0.0
    _all_refused: float = 0.0
    _all_seconds: float = 0.0
    _told: float = 0.0
    """The interval when turns were last given out anew."""

    def begin(self, now: float) -> None:
        """Note when the first request goes out."""
        self._since = self._since or now

    def served(self) -> bool:
        """Count a request that was served; say whether turns that wait are twice as far apart as they need be."""
        self._served += 1
        if not self.interval:
            return False
        self.interval *= 1 - 1 / (TRUST * self._all_served + self._served)
        if self.interval > self._told / 2:
            return False
        self._told = self.interval
        return True

    def refused(self, sent: float) -> None:
        """Count a request that was refused, unless it was sent before the last pause, which that one accounts for."""
        self._refused += sent >= self._since

    def settle(self, opens_at: float) -> None:
        """End a stretch with the end of a pause, and learn from it; one in which nothing was served goes on."""
        if not self._served:
            return
        self._all_served = self._all_served / 2 + self._served
        self._all_refused = self._all_refused / 2 + self._refused
        self._all_seconds = self._all_seconds / 2 + opens_at - self._since
        if self.interval or self._all_refused > max(BY_CHANCE, TOLERABLE * self._all_served):
            self.interval = self._told = self._all_seconds / self._all_served
        self._since, self._served, self._refused = opens_at, 0, 0


MAX_WAIT_SECONDS: Final = 1e10
"""What a wait of any number of digits is read as at most: three centuries."""

EPOCH_FROM: Final = 1e9
"""A reset that is larger is a moment, in seconds since 1970, or in milliseconds where it is larger by far."""

MILLISECONDS_FROM: Final = 1e12

# draft-ietf-httpapi-ratelimit-headers: up to version 06 a dictionary, since 07 a list with parameters.
_LEFT: Final = re.compile(r"(?:^|[,;\s])(?:remaining|r)\s*=\s*(\d{1,18})(?=$|[,;\s])", re.IGNORECASE)

_RESET: Final = re.compile(r"(?:^|[,;\s])(?:reset|t)\s*=\s*(\d{1,18})(?=$|[,;\s])", re.IGNORECASE)

_HEADER_NUMBER: Final = re.compile(r"\d{1,18}(?:\.\d{1,9})?")

PAIRS: Final = (
    ("ratelimit-remaining", "ratelimit-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("x-rate-limit-remaining", "x-rate-limit-reset"),
)


def quota_wait(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Return the seconds until there is quota again, where an answer says that it has none left; else ``None``.

    ``headers`` have names in lower case; ``now`` is in seconds since 1970. What is malformed says nothing.
    """
    quotas = [(headers[left], headers.get(reset, "")) for left, reset in PAIRS if left in headers]
    if "ratelimit" in headers:
        # Each policy is one item of a list.
        for item in re.split(r",(?=\s*\")", headers["ratelimit"]):
            found, moment = _LEFT.search(item), _RESET.search(item)
            quotas.append((found[1] if found else "", moment[1] if moment else ""))
    if not quotas:
        return None
    waits = [_wait(left, reset, time.time() if now is None else now) for left, reset in quotas]
    return max((wait for wait in waits if wait is not None), default=None)


def _wait(left: str, reset: str, now: float) -> float | None:
    if not _HEADER_NUMBER.fullmatch(left.strip()) or float(left) >= 1 or not _HEADER_NUMBER.fullmatch(reset.strip()):
        return None
    at = float(reset)
    if at < EPOCH_FROM:
        return at
    moment = at / 1000 if at >= MILLISECONDS_FROM else at
    return min(max(0.0, moment - now), MAX_WAIT_SECONDS)


SPREAD: Final = 0.1
"""After a pause the threads come back over this share of it (at most a second), not in one instant."""

POLL_SECONDS: Final = 0.25
"""Polling interval of a waiting thread."""

COST: Final = 5
"""How many pages must succeed to pay for one retry."""


class Gate:
    """Lets requests out one by one. All threads use it; decisions are taken under the lock, waits outside."""

    def __init__(self, interval: float = 0.0) -> None:
        self._interval = interval
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._rate = AdaptiveRate()
        """Guarded by the lock."""
        self._next_slot = 0.0
        """Guarded by the lock."""
        self._opens_at = 0.0
        """Guarded by the lock."""
        self._fresh = True
        """Guarded by the lock; whether no request has passed since the start, or since the last pause began."""
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
        """Wait for this request's slot. Raises ``Cancelled`` when the run ends, ``QuotaExceeded`` without quota."""
        waited = False
        while True:
            if self._exhausted is not None:
                raise QuotaExceeded(*self._exhausted)
            with self._lock:
                now = time.monotonic()
                round_, is_open = self._round, now >= self._opens_at
                if not is_open:
                    # The rate after the pause is known only when the pause has ended.
                    slot = self._opens_at
                else:
                    if self._fresh:
                        self._fresh = False
                        self._rate.settle(self._opens_at)
                        self._rate.begin(now)
                    if spacing := max(self._interval, self._rate.interval):
                        slot = max(now, self._next_slot)
                        self._next_slot = slot + spacing
                    else:
                        slot = now + random.uniform(0, self._spread) if waited else now  # noqa: S311 - spreads load
            while (wait := slot - time.monotonic()) > 0 and round_ == self._round:
                self.sleep(min(wait, POLL_SECONDS))
            if self._closed.is_set():
                raise Cancelled("the run was told to stop")
            if is_open and round_ == self._round:
                return
            waited = True

    def sleep(self, seconds: float) -> None:
        """Wait, unless the run ends before. Raises ``Cancelled`` then."""
        if self._closed.wait(max(0.0, seconds)):
            raise Cancelled("the run was told to stop")

    def served(self) -> None:
        """Count a request that was not refused."""
        with self._lock:
            if self._rate.served():
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
                self._rate.refused(refused)
            now = time.monotonic()
            until = now + seconds
            if until > self._opens_at:
                self.paused_seconds += until - max(now, self._opens_at)
                self._opens_at, self._fresh = until, True
                self._spread = min(1.0, seconds * SPREAD)
                # Turns that fell into the pause must not all come at its end.
                self._recall(now)

    def _recall(self, now: float) -> None:
        """Let whoever waits for a turn take a new one."""
        self._round += 1
        self._next_slot = min(self._next_slot, max(self._opens_at, now + max(self._interval, self._rate.interval)))

    def close(self) -> None:
        """End all waits, now and later."""
        self._closed.set()


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
