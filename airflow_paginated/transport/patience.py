"""When to try again, and when to give up: one thing that is asked for, within the policies of the run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from airflow_paginated.paging.deadline import Deadline
from airflow_paginated.paging.errors import Cancelled, PageFailed, QuotaExceeded, RunTimeout
from airflow_paginated.paging.policies import Timeouts
from airflow_paginated.transport.faults import THROTTLE, Fault, Throttled
from airflow_paginated.transport.gate import Gate, RetryBudget
from airflow_paginated.transport.policies import EARLY, RequestRetry, backoff


@dataclass(slots=True)
class Tries:
    """The attempts at one thing. Changed by the thread that makes them."""

    deadline: float
    sent: int = 0
    sent_at: float | None = None
    """When the newest request went out, where it says something of the pace that the API allows."""
    charged: int = 0
    throttled: int = 0
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Patience:
    """The policies of a run, and where its threads wait. All of them use it.

    ``name`` is what is asked for, in messages; it is called only when there is something to say.
    """

    retry: RequestRetry
    timeouts: Timeouts
    deadline: Deadline
    gate: Gate
    budget: RetryBudget

    def tries(self) -> Tries:
        """Return that nothing was tried yet."""
        return Tries(deadline=time.monotonic() + self.timeouts.page)

    def attempt_ends(self, tries: Tries) -> float:
        """Return when an attempt that begins now must be over."""
        return min(time.monotonic() + self.timeouts.attempt, tries.deadline, self.deadline.at)

    def excess(self, wait: float) -> str:
        """Name what forbids to wait so long, if anything does."""
        longest = self.retry.retry_after_max
        if wait > longest:
            return f"retry.retry_after_max={longest:g}"
        left = self.deadline.left
        return f"the {max(left, 0):.0f} s that this try has left ({self.deadline.limit})" if wait >= left else ""

    def wait(self, trouble: Throttled | Fault, tries: Tries, name: Callable[[], str], once: str | None = None) -> None:
        """Wait until another attempt is due, or raise the error of giving up.

        ``once`` is the method of a request that must not reach the server a second time.
        """
        if isinstance(trouble, Throttled):
            self._pause(trouble, tries, name)
        else:
            self._back_off(trouble, tries, name, once)

    def check_open(self) -> None:
        """Raise ``Cancelled`` when the run is over: whatever else there is, that is why."""
        if self.gate.closed:
            raise Cancelled("the run was told to stop")

    def _pause(self, throttled: Throttled, tries: Tries, name: Callable[[], str]) -> None:
        tries.throttled += 1
        asked = throttled.seconds or 0.0
        if asked and (excess := self.excess(asked)):
            raise QuotaExceeded(
                f"{name()}: {throttled.cause}; the API asks to wait {asked:.0f} s, more than {excess}", asked
            )
        # Zero seconds, or a date that has passed, is no leave to hammer.
        seconds = asked or backoff(tries.throttled, self.retry.backoff_factor * THROTTLE, self.retry.backoff_max)
        self._check_time(throttled.cause, tries, name, seconds)
        self.gate.pause(seconds, refused=tries.sent_at)

    def _back_off(self, fault: Fault, tries: Tries, name: Callable[[], str], once: str | None) -> None:
        self.check_open()
        self._check_run(fault.cause, name, 0)
        if once and not fault.unsent:
            raise _failed(
                f"{fault.cause}, and a {once} may have been acted on; if sending it twice is harmless,"
                " add its method to retry.allowed_methods",
                tries,
                name,
            )
        if fault.stale and not tries.stale:
            tries.stale = True
            return
        tries.charged += 1
        if tries.charged >= self.retry.max_attempts:
            raise _failed(fault.cause, tries, name)
        self.budget.spend(f"{name()}: {fault.cause}")
        base = self.retry.backoff_factor * fault.weight
        seconds = backoff(tries.charged, base, self.retry.backoff_max, first=EARLY)
        self._check_time(fault.cause, tries, name, seconds)
        self.gate.sleep(seconds)

    def _check_time(self, cause: str, tries: Tries, name: Callable[[], str], wait: float) -> None:
        self._check_run(cause, name, wait)
        if time.monotonic() + wait >= tries.deadline:
            limit = self.timeouts.page
            raise _failed(f"{cause}; no time left within timeouts.page={limit:g} s", tries, name)

    def _check_run(self, cause: str, name: Callable[[], str], wait: float) -> None:
        if wait >= self.deadline.left:
            raise RunTimeout(
                f"the time of this try is over ({self.deadline.limit}); {name()} was still to come, last cause: {cause}"
            )


def _failed(cause: str, tries: Tries, name: Callable[[], str]) -> PageFailed:
    plural = "attempt" if tries.sent == 1 else "attempts"
    return PageFailed(f"{name()} failed in {tries.sent} {plural}; last cause: {cause}")
