"""Translates this package's errors into Airflow's, and Airflow's timeouts into deadlines."""

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
"""A quota that opens later than this fails the try: the stored pages would be too old to resume from."""


@contextmanager
def airflow_errors(resumable: bool, log: Logger) -> Iterator[None]:
    """Translate: permanent -> fail without retry, empty -> skip, long quota wait -> release the worker slot.

    Transient errors pass unchanged: Airflow retries them.
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
                "Airflow %s cannot release the worker slot (3.1 can): this try fails, and Airflow retries it after"
                " retry_delay; the quota opens in %.0f s",
                airflow_version,
                exc.seconds,
            )
            raise
        log.warning("%s; releasing the worker slot until then", exc)
        opens_at = datetime.now(UTC) + timedelta(seconds=exc.seconds)
        raise AirflowRescheduleException(opens_at) from exc  # type: ignore[no-untyped-call]  # not annotated by Airflow


SHUTDOWN_SECONDS: Final = 15.0
"""The most that a try needs to cancel its requests and to store its pages."""


def run_deadline(run: float | None, execution_timeout: timedelta | None) -> Deadline:
    """Return the deadline of a try that starts now: its own limit, or shortly before the task's timeout."""
    own = Deadline.of(run)
    if execution_timeout is None:
        return own
    total = execution_timeout.total_seconds()
    # The shutdown must not use up a short timeout.
    seconds = max(total - SHUTDOWN_SECONDS, total / 2)
    before_timeout = Deadline.within(seconds, f"{seconds:g} s of execution_timeout={total:g} s")
    return min(own, before_timeout, key=lambda deadline: deadline.at)


def distributed_executor(path: str) -> str | None:
    """Return the executor if it may run the next task on another host and the path is on this host's disk."""
    executor = str(conf.get("core", "executor", fallback=""))
    distributed = any(name in executor for name in ("Celery", "Kubernetes"))
    return executor if distributed and "://" not in path.removeprefix("file://") else None


def warn_of_local_target(path: str, log: Logger) -> None:
    """Log a warning if tasks run on several hosts: a retry may not find the staging of a local target."""
    executor = distributed_executor(path)
    if executor is not None:
        log.warning(
            "the target %s is local, but with %s a retry may run on another host, which has neither the pages stored so"
            " far nor the published files: use an object store or a shared disk",
            path,
            executor,
        )
