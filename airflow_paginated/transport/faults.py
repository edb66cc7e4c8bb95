"""What one attempt can come to, when it is not a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CONNECTION: Final = 0.1
SERVER: Final = 1.0
THROTTLE: Final = 2.0


@dataclass(eq=False)
class RetryableError(Exception):
    """An attempt that failed and may be made again after a backoff of ``weight`` times the policy's base.

    ``unsent``: the server surely did not act on the request. ``stale``: a connection that had been idle turned out to
    be dead, which says nothing about the server and is not charged.
    """

    cause: str
    weight: float = CONNECTION
    unsent: bool = False
    stale: bool = False


@dataclass(eq=False)
class Throttled(Exception):
    """The server asks to slow down; for ``seconds``, where it says so. Never charged to the page."""

    cause: str
    seconds: float | None = None


@dataclass(eq=False)
class Expired(Exception):
    """The server refuses the credentials of this ``generation``, and there may be new ones. Not charged to the page."""

    cause: str
    generation: int
    status: int
