"""What an API says of its quota beside an answer: how much is left, and when there is more."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Final

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
    waits = [_wait(left, reset, time.time() if now is None else now) for left, reset in _told(headers)]
    return max((wait for wait in waits if wait is not None), default=None)


def _told(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what is left and the reset, as they are written, by each kind of header that is there."""
    told = [(headers[left], headers.get(reset, "")) for left, reset in PAIRS if left in headers]
    if "ratelimit" in headers:
        # Of several policies each is one item of a list.
        for item in re.split(r",(?=\s*\")", headers["ratelimit"]):
            left, reset = _LEFT.search(item), _RESET.search(item)
            told.append((left[1] if left else "", reset[1] if reset else ""))
    return told


def _wait(left: str, reset: str, now: float) -> float | None:
    if not _HEADER_NUMBER.fullmatch(left.strip()) or float(left) >= 1 or not _HEADER_NUMBER.fullmatch(reset.strip()):
        return None
    at = float(reset)
    if at < EPOCH_FROM:
        return at
    moment = at / 1000 if at >= MILLISECONDS_FROM else at
    return min(max(0.0, moment - now), MAX_WAIT_SECONDS)
