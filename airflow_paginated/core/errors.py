"""Every error of this package, named by what remedies it.

.. code-block:: text

    PaginatedApiError
    ├── TransientError              another try of the task may succeed; it goes on where this one stopped
    │   ├── PageFailed              one page failed in all its attempts, or ran out of time
    │   ├── RetryBudgetExhausted    too many pages need retries: the API is down
    │   ├── QuotaExceeded           the API asks to wait longer than we may; carries the seconds
    │   ├── RunTimeout              the time of this try is over, by ``limits.run_timeout`` or ``execution_timeout``
    │   ├── StoreError              the target's file system failed
    │   ├── WatermarkMoved          another run has gone on from where this one began
    │   ├── IncompleteError         the pages do not add up to what the API declares
    │   └── Cancelled               told to stop
    ├── NothingCollected            no rows, and ``completeness.on_empty`` is ``skip``: Airflow skips the task
    └── PermanentError              another try would fail as well: somebody has to change something
        ├── ConfigurationError      an argument or a connection is wrong (also a ValueError)
        ├── RequestRefused          the API refuses the request (401, 403, 404, ...)
        ├── ResponseError           the API's answer is not what the configuration describes
        ├── OriginError             a URL leads away from the connection's origin
        ├── LimitExceeded           a cap of ``Limits`` was passed, or a slice is too large
        ├── TargetError             the target holds something that must not be replaced
        └── ClaimLost               a newer try of the same task owns the target's staging
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Self


class PaginatedApiError(Exception):
    """Base of every error that this package raises."""

    partition: tuple[int, ...] = ()
    """The partition that it is about, where it is about one."""

    def with_message(self, message: str) -> Self:
        """Return the same error in other words, with all that it carries beside them."""
        other = copy(self)
        other.args = (message,)
        return other


@contextmanager
def about(partition: tuple[int, ...]) -> Iterator[None]:
    """Note in what is raised inside that it is about a partition, unless it says so itself."""
    try:
        yield
    except PaginatedApiError as exc:
        exc.partition = exc.partition or partition
        raise


class TransientError(PaginatedApiError):
    """Another try may succeed."""


class PageFailed(TransientError):
    """One page failed in all its attempts, or ran out of time."""


class RetryBudgetExhausted(TransientError):
    """The run used up its retries."""


class QuotaExceeded(TransientError):
    """The API asks for a pause of ``seconds``, more than one task may wait."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds

    def __reduce__(self) -> tuple[type[QuotaExceeded], tuple[str, float]]:
        # Without it the seconds would be missing when the error is unpickled, in another process.
        return type(self), (str(self), self.seconds)


class RunTimeout(TransientError):
    """The try used up the time that it may take."""


class StoreError(TransientError):
    """The file system of the target failed."""


class WatermarkMoved(TransientError):
    """Another run has moved the watermark since this one began; the next try begins from there."""


class IncompleteError(TransientError):
    """The collected pages do not add up to what the API declares."""


class Cancelled(TransientError):
    """The run was told to stop."""


class NothingCollected(PaginatedApiError):
    """There are no rows, and the task asked to be skipped then."""


class PermanentError(PaginatedApiError):
    """Another try would fail in the same way."""


class ConfigurationError(PermanentError, ValueError):
    """An argument, a policy or a connection is wrong."""


class RequestRefused(PermanentError):
    """The API refuses the request, with ``status`` where it is that of an answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> tuple[type[RequestRefused], tuple[str, int | None]]:
        return type(self), (str(self), self.status)


class ResponseError(PermanentError):
    """The answer is not what the configuration describes."""


class OriginError(PermanentError):
    """A URL leads away from the origin of the connection."""


class LimitExceeded(PermanentError):
    """A configured cap was passed."""


class TargetError(PermanentError):
    """The target holds something that must not be replaced."""


class ClaimLost(PermanentError):
    """A newer try of the same task has taken over."""
