"""How a run under a fault may end: with exactly the API's rows, or refused with nothing new visible."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol

from airflow_paginated.core.errors import PaginatedApiError
from tests.collect.disk import proved, published
from tests.collect.running import Job, collect


@dataclass(frozen=True)
class Ending:
    """What came of a run: the sink's result or the error, what is visible, and how many seconds it took."""

    result: dict[str, Any] | None
    error: PaginatedApiError | None
    visible: bytes | None
    seconds: float


def run(job: Job) -> Ending:
    """Collect and publish; anything but an error of ours is a defect and passes."""
    started = time.monotonic()
    result, error = None, None
    try:
        result = collect(job)
    except PaginatedApiError as exc:
        error = exc
    seconds = time.monotonic() - started
    return Ending(result, error, published(job.path) if result is None else proved(job.path), seconds)


class Api(Protocol):
    """Whatever knows its rows."""

    def reference(self) -> bytes: ...


def exact(job: Job, api: Api) -> dict[str, Any]:
    """Run, assert that exactly the API's rows are there, and return the result."""
    ending = run(job)
    if ending.error is not None:
        raise ending.error
    assert ending.visible == api.reference()
    assert ending.result is not None
    return ending.result


def refused(job: Job, kind: type[PaginatedApiError] = PaginatedApiError, before: bytes | None = None) -> Ending:
    """Run, assert that it fails in this way and that the target shows what it showed before."""
    ending = run(job)
    assert isinstance(ending.error, kind), ending
    assert ending.visible == before
    return ending
