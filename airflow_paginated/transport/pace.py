"""How fast an API lets us be, learned from what it served between two refusals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

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
