"""Every error of this package, named by its remedy.

.. code-block:: text

    PaginatedApiError
    ├── TransientError              another try may succeed; it resumes where this one stopped
    │   ├── PageFailed              one page failed in every attempt, or ran out of time
    │   ├── RetryBudgetExhausted    too many pages need retries: the API is probably down
    │   ├── QuotaExceeded           the API demands a longer wait than allowed; has ``seconds``
    │   ├── RunTimeout              ``timeouts.run`` or ``execution_timeout`` has passed
    │   ├── StoreError              the target's file system failed
    │   ├── WatermarkMoved          another run moved the watermark that this one began with
    │   ├── IncompleteError         the pages do not add up to what the API declares
    │   └── Cancelled               the run was told to stop
    ├── NothingCollected            no rows, and ``completeness.on_empty`` is ``skip``: Airflow skips the task
    └── PermanentError              another try would fail, too: something must be changed first
        ├── ConfigurationError      an argument or a connection is wrong (also a ValueError)
        ├── RequestRefused          the API refused the request (401, 403, 404, ...)
        ├── ResponseError           the response does not match the configuration
        ├── OriginError             a URL points outside the connection's origin
        ├── LimitExceeded           a limit was exceeded, or a slice is too large
        ├── TargetError             the target contains something that must not be replaced
        └── ClaimLost               a newer try of the same task owns the target's staging
"""

from __future__ import annotations

from copy import copy
from typing import Self


class PaginatedApiError(Exception):
    """Base of every error that this package raises."""

    partition: tuple[int, ...] = ()
    """The partition that the error concerns; empty for none."""

    def with_message(self, message: str) -> Self:
        """Return a copy of the error with another message."""
        other = copy(self)
        other.args = (message,)
        return other


class TransientError(PaginatedApiError):
    """Another try of the task may succeed."""


class PageFailed(TransientError):
    """One page failed in every attempt, or ran out of time."""


class RetryBudgetExhausted(TransientError):
    """The run used up its retries."""


class QuotaExceeded(TransientError):
    """The API demands a pause of ``seconds``, longer than a task may wait."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds

    def __reduce__(self) -> tuple[type[QuotaExceeded], tuple[str, float]]:
        # Exception's own would lose the seconds on the way to another process.
        return type(self), (str(self), self.seconds)


class RunTimeout(TransientError):
    """The try ran out of time."""


class StoreError(TransientError):
    """The target's file system failed."""


class WatermarkMoved(TransientError):
    """Another run has moved the watermark since this one began; the next try starts from there."""


class IncompleteError(TransientError):
    """The collected pages do not add up to what the API declares."""


class Cancelled(TransientError):
    """The run was told to stop."""


class NothingCollected(PaginatedApiError):
    """The collection has no rows, and ``on_empty`` is ``skip``."""


class PermanentError(PaginatedApiError):
    """Another try would fail in the same way."""


class ConfigurationError(PermanentError, ValueError):
    """An argument, a policy or a connection is wrong."""


class RequestRefused(PermanentError):
    """The API refused the request; ``status`` is that of the response, if there was one."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> tuple[type[RequestRefused], tuple[str, int | None]]:
        return type(self), (str(self), self.status)


class ResponseError(PermanentError):
    """The response does not match the configuration."""


class OriginError(PermanentError):
    """A URL points outside the connection's origin."""


class LimitExceeded(PermanentError):
    """A configured limit was exceeded."""


class TargetError(PermanentError):
    """The target contains something that must not be replaced."""


class ClaimLost(PermanentError):
    """A newer try of the same task has taken over the staging."""
