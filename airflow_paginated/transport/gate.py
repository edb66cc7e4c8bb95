"""The gate that paces all requests: rate limits, pauses, quotas, and the run's retry budget."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from airflow_paginated.core.errors import Cancelled, QuotaExceeded, RetryBudgetExhausted

TOLERATED_REFUSALS: Final = 0.05
"""Refused requests per served one that need no slower rate: it would cost more than it saves."""

MIN_REFUSALS: Final = 1.0
"""A single refusal does not show which rate is too high."""

REQUESTS_TO_DOUBLE: Final = 4
"""A rate learned from n requests doubles within n times this many requests unless one is refused."""


@dataclass(slots=True)
class AdaptiveRate:
    """The interval between requests that an API seems to allow; 0 while none is needed.

    Each period ends with a pause and shows how many requests were served in its time, the pause included; it weighs
    half as much as the next one. Used under the gate's lock.
    """

    interval: float = 0.0
    _since: float = 0.0
    _served: int = 0
    _refused: int = 0
    _all_served: float = 0.0
    _all_refused: float = 0.0
    _all_seconds: float = 0.0
    _announced: float = 0.0
    """The interval when waiting requests were last rescheduled."""

    def begin(self, now: float) -> None:
        """Start the first period."""
        self._since = self._since or now

    def served(self) -> bool:
        """Count a served request; return whether waiting requests should be rescheduled, as the interval has halved."""
        self._served += 1
        if not self.interval:
            return False
        self.interval *= 1 - 1 / (REQUESTS_TO_DOUBLE * self._all_served + self._served)
        if self.interval > self._announced / 2:
            return False
        self._announced = self.interval
        return True

    def refused(self, sent: float) -> None:
        """Count a refused request, unless it was sent before the last pause, which already accounts for it."""
        self._refused += sent >= self._since

    def settle(self, opens_at: float) -> None:
        """End a period with its pause and update the interval; a period without served requests continues."""
        if not self._served:
            return
        self._all_served = self._all_served / 2 + self._served
        self._all_refused = self._all_refused / 2 + self._refused
        self._all_seconds = self._all_seconds / 2 + opens_at - self._since
        if self.interval or self._all_refused > max(MIN_REFUSALS, TOLERATED_REFUSALS * self._all_served):
            self.interval = self._announced = self._all_seconds / self._all_served
        self._since, self._served, self._refused = opens_at, 0, 0


MAX_WAIT_SECONDS: Final = 1e10
"""Upper bound for any wait that a header states: three centuries."""

MIN_EPOCH_SECONDS: Final = 1e9
"""A larger reset is a Unix time in seconds; from ``MIN_EPOCH_MILLISECONDS`` on, in milliseconds."""

MIN_EPOCH_MILLISECONDS: Final = 1e12

# draft-ietf-httpapi-ratelimit-headers: up to version 06 a dictionary, since 07 a list with parameters.
_REMAINING: Final = re.compile(r"(?:^|[,;\s])(?:remaining|r)\s*=\s*(\d{1,18})(?=$|[,;\s])", re.IGNORECASE)

_RESET: Final = re.compile(r"(?:^|[,;\s])(?:reset|t)\s*=\s*(\d{1,18})(?=$|[,;\s])", re.IGNORECASE)

_HEADER_NUMBER: Final = re.compile(r"\d{1,18}(?:\.\d{1,9})?")

QUOTA_HEADERS: Final = (
    ("ratelimit-remaining", "ratelimit-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("x-rate-limit-remaining", "x-rate-limit-reset"),
)


def quota_wait(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Return the seconds until the quota resets if a response says that it is used up, or ``None``.

    Names in ``headers`` are in lower case; ``now`` is a Unix time. Malformed headers are ignored.
    """
    quotas = []
    for remaining, reset in QUOTA_HEADERS:
        if remaining in headers:
            quotas.append((headers[remaining], headers.get(reset, "")))
    if "ratelimit" in headers:
        # Each policy is one item of a list.
        for item in re.split(r",(?=\s*\")", headers["ratelimit"]):
            found, moment = _REMAINING.search(item), _RESET.search(item)
            quotas.append((found[1] if found else "", moment[1] if moment else ""))
    if not quotas:
        return None
    waits = [_wait(left, reset, time.time() if now is None else now) for left, reset in quotas]
    return max((wait for wait in waits if wait is not None), default=None)


def _wait(left: str, reset: str, now: float) -> float | None:
    if not _HEADER_NUMBER.fullmatch(left.strip()) or float(left) >= 1 or not _HEADER_NUMBER.fullmatch(reset.strip()):
        return None
    at = float(reset)
    if at < MIN_EPOCH_SECONDS:
        return at
    moment = at / 1000 if at >= MIN_EPOCH_MILLISECONDS else at
    return min(max(0.0, moment - now), MAX_WAIT_SECONDS)


SPREAD_SHARE: Final = 0.1
"""After a pause the threads resume spread over this share of it, at most a second."""

POLL_SECONDS: Final = 0.25
"""Polling interval of a waiting thread."""

PAGES_PER_RETRY: Final = 5
"""Successful pages that pay for one retry."""


class Gate:
    """Lets requests pass one by one. Shared by all threads, which decide under the lock and wait outside it."""

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
        """Changed under the lock; incremented when the slots handed out become void."""
        self._exhausted: tuple[str, float] | None = None
        """Set once, by any thread."""
        self.paused_seconds = 0.0
        """Guarded by the lock; seconds for which the gate was closed to all workers."""

    @property
    def closed(self) -> bool:
        """Whether the run is over."""
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
        """Wait. Raises ``Cancelled`` as soon as the run ends."""
        if self._closed.wait(max(0.0, seconds)):
            raise Cancelled("the run was told to stop")

    def served(self) -> None:
        """Count a served request."""
        with self._lock:
            if self._rate.served():
                self._recall(time.monotonic())

    def exhaust(self, message: str, seconds: float) -> None:
        """Refuse all further requests: there is no quota for ``seconds``, longer than allowed to wait."""
        self._exhausted = (message, seconds)

    def pause(self, seconds: float, refused: float | None = None) -> None:
        """Close the gate for ``seconds``; a pause that ends later stays.

        ``refused`` is the time at which a refused request was sent.
        """
        with self._lock:
            if refused is not None:
                self._rate.refused(refused)
            now = time.monotonic()
            until = now + seconds
            if until > self._opens_at:
                self.paused_seconds += until - max(now, self._opens_at)
                self._opens_at, self._fresh = until, True
                self._spread = min(1.0, seconds * SPREAD_SHARE)
                # Requests waiting for a slot within the pause must not all go out when it ends.
                self._recall(now)

    def _recall(self, now: float) -> None:
        """Make waiting threads take a new slot."""
        self._round += 1
        self._next_slot = min(self._next_slot, max(self._opens_at, now + max(self._interval, self._rate.interval)))

    def close(self) -> None:
        """End all waits, now and later."""
        self._closed.set()


class RetryBudget:
    """The retries left to all pages together. Changed by all threads, under its lock."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._left = size * PAGES_PER_RETRY
        self._lock = threading.Lock()

    def earn(self) -> None:
        """Credit a successful page."""
        with self._lock:
            self._left += 1

    def spend(self, cause: str) -> None:
        """Use one retry. Raises ``RetryBudgetExhausted`` if none is left."""
        with self._lock:
            if self._left < PAGES_PER_RETRY:
                raise RetryBudgetExhausted(
                    f"too many pages fail: the run's retry budget (retry.budget={self._size}, and 1 for every"
                    f" {PAGES_PER_RETRY} pages that succeed) is used up; last cause: {cause}"
                )
            self._left -= PAGES_PER_RETRY
