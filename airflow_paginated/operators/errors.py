"""The border where this package's errors become what Airflow acts on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from airflow_paginated.core.deadline import Deadline
from airflow_paginated.core.errors import NothingCollected, PermanentError, QuotaExceeded
from airflow_paginated.hooks.compat import (
    HAS_RESCHEDULE,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    airflow_version,
    conf,
)

if TYPE_CHECKING:
    from airflow.sdk.types import Logger


MAX_RESCHEDULE_SECONDS: Final = 24 * 3600.0
"""A quota that opens later than this many seconds is not waited for: what is stored would be too old to go on with."""


@contextmanager
def airflow_errors(resumable: bool, log: Logger) -> Iterator[None]:
    """Translate: permanent -> fail without retry, empty -> skip, a long quota wait -> give the worker slot back.

    A transient error passes as it is: Airflow retries on it.
    """
    try:
        yield
    except PermanentError as exc:
        raise AirflowFailException(str(exc)) from exc
    except NothingCollected as exc:
        raise AirflowSkipException(str(exc)) from exc
    except QuotaExceeded as exc:
        if not resumable or exc.seconds > MAX_RESCHEDULE_SECONDS:
            raise
        if not HAS_RESCHEDULE:
            log.warning(
                "Airflow %s cannot give the worker slot back (3.1 can): the task fails now and is retried after"
                " retry_delay; the quota opens in %.0f s",
                airflow_version,
                exc.seconds,
            )
            raise
        log.warning("%s; the worker slot is given back until then", exc)
        opens_at = datetime.now(UTC) + timedelta(seconds=exc.seconds)
        raise AirflowRescheduleException(opens_at) from exc  # type: ignore[no-untyped-call]  # Airflow leaves it open


SPARE_SECONDS: Final = 15.0
"""What a try needs at most to let its requests go and to store what it has."""


def run_deadline(run: float | None, execution_timeout: timedelta | None) -> Deadline:
    """Return the end of a try that begins now: by its own limit, or somewhat before the task's timeout."""
    own = Deadline.of(run)
    if execution_timeout is None:
        return own
    total = execution_timeout.total_seconds()
    # Of a short timeout, the spare time must not take all.
    seconds = max(total - SPARE_SECONDS, total / 2)
    airflows = Deadline.within(seconds, f"{seconds:g} s of execution_timeout={total:g} s")
    return min(own, airflows, key=lambda deadline: deadline.at)


def elsewhere(path: str) -> str | None:
    """Return the executor that may run the next task on another host, where a path is of this host's disk."""
    executor = str(conf.get("core", "executor", fallback=""))
    spread = any(name in executor for name in ("Celery", "Kubernetes"))
    return executor if spread and "://" not in path.removeprefix("file://") else None


def warn_of_local_target(path: str, log: Logger) -> None:
    """Say that a retry may not find a local target's staging where tasks run on several hosts."""
    executor = elsewhere(path)
    if executor is not None:
        log.warning(
            "the target %s is local, but with %s a retry may run on another host, where it neither finds the pages"
            " stored so far nor the published files; use an object store or a shared disk",
            path,
            executor,
        )
