"""The border where this package's errors become what Airflow acts on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from airflow_paginated.hooks.compat import (
    HAS_RESCHEDULE,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    airflow_version,
)
from airflow_paginated.paging.errors import NothingCollected, PermanentError, QuotaExceeded

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
