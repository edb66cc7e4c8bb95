"""Retries: the errors of an attempt, the policies, and the waits between attempts."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_paginated.core.deadline import Deadline
from airflow_paginated.core.errors import Cancelled, ConfigurationError, PageFailed, QuotaExceeded, RunTimeout
from airflow_paginated.core.policies import Timeouts
from airflow_paginated.core.validation import check_number, override

if TYPE_CHECKING:
    # At run time it is imported where it is used: a DAG file that sets a policy does not need an HTTP library.
    from urllib3.util import Retry

    from airflow_paginated.transport.gate import Gate, RetryBudget

CONNECTION_WEIGHT: Final = 0.1

SERVER_WEIGHT: Final = 1.0

THROTTLE_WEIGHT: Final = 2.0


@dataclass(eq=False)
class RetryableError(Exception):
    """A failed attempt, to be retried after a backoff of ``weight`` times the policy's base.

    ``unsent``: the server certainly did not act on the request. ``stale``: an idle connection was dead, which is not
    charged to the page.
    """

    cause: str
    weight: float = CONNECTION_WEIGHT
    unsent: bool = False
    stale: bool = False


@dataclass(eq=False)
class Throttled(Exception):
    """The server requests a slower rate, for ``seconds`` if it says so. Never charged to the page."""

    cause: str
    seconds: float | None = None


@dataclass(eq=False)
class Expired(Exception):
    """The server refused the credentials of this ``generation``, which can be renewed. Not charged to the page."""

    cause: str
    generation: int
    status: int


TRANSIENT_STATUSES: Final = frozenset({408, 425, 500, 502, 503, 504})

FIRST_RETRY_SHARE: Final = 0.2
"""Most errors are isolated, and a page that waits delays those after it: its first retry comes early."""

IDEMPOTENT_METHODS: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})

ANY_METHOD: Final = IDEMPOTENT_METHODS | {"POST", "PATCH"}


@dataclass(frozen=True, kw_only=True)
class RequestRetry:
    """How a page is retried, in the terms of ``urllib3.util.Retry``; times in seconds.

    ``max_attempts`` includes the first one. ``backoff_factor`` is the base after a 5xx; a tenth of it applies after a
    broken connection or body, twice as much after throttling without ``Retry-After``; a page's first retry waits a
    fifth. For a ``Retry-After`` longer than ``retry_after_max`` the task gives its slot back instead of waiting. A
    method not in ``allowed_methods`` is retried only if the server certainly did not act on the request. ``budget``
    is the number of retries for all pages together before the run fails (``None``: 20, or 3 times the workers if that
    is more); each successful page adds 0.2.
    """

    max_attempts: int = 5
    status_forcelist: Collection[int] = TRANSIENT_STATUSES
    allowed_methods: Collection[str] = IDEMPOTENT_METHODS
    backoff_factor: float = 0.5
    backoff_max: float = 20.0
    respect_retry_after_header: bool = True
    retry_after_max: float = 300.0
    budget: int | None = None

    def __post_init__(self) -> None:
        check_number(self.max_attempts, "retry: max_attempts", least=1, whole=True)
        check_number(self.budget, "retry: budget", whole=True, optional=True)
        for name in ("backoff_factor", "backoff_max", "retry_after_max"):
            check_number(getattr(self, name), f"retry: {name}")
        for name, kind in (("status_forcelist", int), ("allowed_methods", str)):
            given = getattr(self, name)
            listed = isinstance(given, Collection) and not isinstance(given, str | Mapping)
            if not listed or not all(isinstance(each, kind) for each in given):
                raise ConfigurationError(f"retry: {name} must be a list of {kind.__name__}, got {given!r}")
        object.__setattr__(self, "status_forcelist", frozenset(self.status_forcelist))
        object.__setattr__(self, "allowed_methods", frozenset(each.upper() for each in self.allowed_methods))

    @classmethod
    def from_urllib3(cls, retry: Retry) -> RequestRetry:
        """Convert a ``urllib3.util.Retry``; values at its defaults become ours."""
        from urllib3.util import Retry

        limits = [each for each in (retry.total, retry.connect, retry.read, retry.status) if each is not None]
        taken = {
            name: getattr(retry, name)
            for name, default in (
                ("backoff_factor", 0),
                ("backoff_max", Retry.DEFAULT_BACKOFF_MAX),
                ("retry_after_max", retry_after_cap()),
            )
            if default is not None and getattr(retry, name) != default
        }
        return cls(
            max_attempts=1 + int(min(limits, default=4)),
            status_forcelist=frozenset(retry.status_forcelist) or TRANSIENT_STATUSES,
            allowed_methods=frozenset(retry.allowed_methods) if retry.allowed_methods else ANY_METHOD,
            respect_retry_after_header=retry.respect_retry_after_header,
            **taken,
        )

    def to_urllib3(self) -> Retry:
        """Return the closest ``urllib3.util.Retry``, for an adapter of plain ``requests``."""
        from urllib3.util import Retry

        capped: Any = {"retry_after_max": int(self.retry_after_max)} if retry_after_cap() is not None else {}
        return Retry(
            total=self.max_attempts - 1,
            status_forcelist=[*self.status_forcelist, 429],
            allowed_methods=list(self.allowed_methods),
            backoff_factor=self.backoff_factor,
            backoff_max=self.backoff_max,
            respect_retry_after_header=self.respect_retry_after_header,
            raise_on_status=False,
            **capped,
        )

    def budget_for(self, workers: int) -> int:
        """Return the number of retries that a run starts with."""
        return max(20, 3 * workers) if self.budget is None else self.budget


def retry_after_cap() -> int | None:
    """Return urllib3's default cap on ``Retry-After`` in seconds; ``None`` if it has none (before 2.6.3)."""
    from urllib3.util import Retry

    return getattr(Retry, "DEFAULT_RETRY_AFTER_MAX", None)


def backoff(retries: int, base: float, most: float, first: float = 1.0) -> float:
    """Return the seconds to wait before retry number ``retries`` (from 1): full jitter below a doubling ceiling.

    The first retry waits at most the share ``first`` of the base.
    Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog.
    """
    growth = first if retries == 1 else 2.0 ** min(retries - 1, 60)
    ceiling = min(most, base * growth)
    return random.uniform(0, ceiling)  # noqa: S311 - spreads load, guards nothing


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    """At most ``requests`` in ``per_seconds``, evenly spaced, for all threads of a run together."""

    requests: float
    per_seconds: float = 1.0

    def __post_init__(self) -> None:
        check_number(self.requests, "rate_limit: requests", least=1e-6)
        check_number(self.per_seconds, "rate_limit: per_seconds", least=1e-6)

    @property
    def interval(self) -> float:
        """Seconds from one request to the next."""
        return self.per_seconds / self.requests


def combined_retry(
    connection: Mapping[str, Any] | None, operator: Mapping[str, Any] | RequestRetry | Retry | None
) -> RequestRetry:
    """Combine default < connection < operator."""
    given: Any = operator
    if not isinstance(given, Mapping | RequestRetry | None):
        from urllib3.util import Retry

        given = RequestRetry.from_urllib3(given) if isinstance(given, Retry) else given
    combined: RequestRetry = override(override(RequestRetry(), connection, "retry (on the connection)"), given, "retry")
    return combined


def combined_rate_limit(
    connection: Mapping[str, Any] | None, operator: Mapping[str, Any] | RateLimit | None
) -> RateLimit | None:
    """Return the slower of both: an operator can only tighten the connection's limit."""
    given = [_rate_limit(connection, "rate_limit (on the connection)"), _rate_limit(operator, "rate_limit")]
    return max((each for each in given if each), key=lambda limit: limit.interval, default=None)


def _rate_limit(given: Mapping[str, Any] | RateLimit | None, where: str) -> RateLimit | None:
    if isinstance(given, Mapping) and "requests" not in given:
        raise ConfigurationError(f"{where}: 'requests' is required")
    return None if given is None else override(RateLimit(requests=1), given, where)


@dataclass(slots=True)
class AttemptState:
    """The state of one retried request. Changed by the thread that makes the attempts."""

    deadline: float
    sent: int = 0
    sent_at: float | None = None
    """When the latest request was sent, if it counts for the adaptive rate."""
    charged: int = 0
    throttled: int = 0
    stale: bool = False


@dataclass(frozen=True, slots=True)
class RetryController:
    """Applies a run's retry policies. Shared by all threads.

    ``name()`` describes the request in messages; it is called only for an error.
    """

    retry: RequestRetry
    timeouts: Timeouts
    deadline: Deadline
    gate: Gate
    budget: RetryBudget

    def new_state(self) -> AttemptState:
        """Return the state before the first attempt."""
        return AttemptState(deadline=time.monotonic() + self.timeouts.page)

    def attempt_ends(self, state: AttemptState) -> float:
        """Return the deadline of an attempt that starts now."""
        return min(time.monotonic() + self.timeouts.attempt, state.deadline, self.deadline.at)

    def exceeded_limit(self, wait: float) -> str:
        """Return the limit that ``wait`` exceeds, or an empty string."""
        longest = self.retry.retry_after_max
        if wait > longest:
            return f"retry.retry_after_max={longest:g}"
        left = self.deadline.left
        return f"the {max(left, 0):.0f} s that this try has left ({self.deadline.limit})" if wait >= left else ""

    def wait(
        self, error: Throttled | RetryableError, state: AttemptState, name: Callable[[], str], once: str | None = None
    ) -> None:
        """Wait until the next attempt, or raise the final error.

        ``once`` is the method of a request that must not reach the server twice.
        """
        if isinstance(error, Throttled):
            self._pause(error, state, name)
        else:
            self._back_off(error, state, name, once)

    def check_open(self) -> None:
        """Raise ``Cancelled`` if the run is over, which then explains any other error."""
        if self.gate.closed:
            raise Cancelled("the run was told to stop")

    def _pause(self, throttled: Throttled, state: AttemptState, name: Callable[[], str]) -> None:
        state.throttled += 1
        requested = throttled.seconds or 0.0
        if requested and (limit := self.exceeded_limit(requested)):
            raise QuotaExceeded(
                f"{name()}: {throttled.cause}; the API asks to wait {requested:.0f} s, more than {limit}", requested
            )
        # `Retry-After: 0` or a past date does not mean "retry at once".
        seconds = requested or backoff(
            state.throttled, self.retry.backoff_factor * THROTTLE_WEIGHT, self.retry.backoff_max
        )
        self._check_time(throttled.cause, state, name, seconds)
        self.gate.pause(seconds, refused=state.sent_at)

    def _back_off(self, error: RetryableError, state: AttemptState, name: Callable[[], str], once: str | None) -> None:
        self.check_open()
        self._check_run(error.cause, name, 0)
        if once and not error.unsent:
            raise _failed(
                f"{error.cause}, and the server may have acted on the {once}; if sending it twice is harmless,"
                " add its method to retry.allowed_methods",
                state,
                name,
            )
        if error.stale and not state.stale:
            state.stale = True
            return
        state.charged += 1
        if state.charged >= self.retry.max_attempts:
            raise _failed(error.cause, state, name)
        self.budget.spend(f"{name()}: {error.cause}")
        base = self.retry.backoff_factor * error.weight
        seconds = backoff(state.charged, base, self.retry.backoff_max, first=FIRST_RETRY_SHARE)
        self._check_time(error.cause, state, name, seconds)
        self.gate.sleep(seconds)

    def _check_time(self, cause: str, state: AttemptState, name: Callable[[], str], wait: float) -> None:
        self._check_run(cause, name, wait)
        if time.monotonic() + wait >= state.deadline:
            limit = self.timeouts.page
            raise _failed(f"{cause}; no time left within timeouts.page={limit:g} s", state, name)

    def _check_run(self, cause: str, name: Callable[[], str], wait: float) -> None:
        if wait >= self.deadline.left:
            raise RunTimeout(
                f"this try ran out of time ({self.deadline.limit}); {name()} was not fetched; last cause: {cause}"
            )


def _failed(cause: str, state: AttemptState, name: Callable[[], str]) -> PageFailed:
    plural = "attempt" if state.sent == 1 else "attempts"
    return PageFailed(f"{name()} failed in {state.sent} {plural}; last cause: {cause}")
