"""A run whose time is over ends in order: nothing is published, what has landed stays, and the next try goes on."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_paginated import Timeouts
from airflow_paginated.collect.collector import StopSignal
from airflow_paginated.core.deadline import NEVER, Deadline
from airflow_paginated.core.errors import PageFailed, QuotaExceeded, RunTimeout
from airflow_paginated.operators.errors import run_deadline
from airflow_paginated.transport import RateLimit, RequestRetry
from tests.collect.disk import landed, leftovers, proved, published
from tests.collect.running import Job, collect
from tests.collect.test_stop import check_no_thread_is_left
from tests.servers import (
    DribbleBody,
    Fault,
    FaultServer,
    Given,
    PagedApi,
    RetryLater,
    ServerError,
    StallBeforeHeaders,
    StallInBody,
    on_page,
)

API = PagedApi(rows=400, page_size=10)

LONG = 30.0
"""Seconds that no run here may take: each of them hangs, or is told to wait, for much longer."""


@pytest.mark.parametrize(
    ("own", "timeout", "seconds", "limit"),
    [
        (None, None, None, NEVER.limit),
        (20.0, None, 20, "timeouts.run=20 s"),
        (None, 3_600, 3_585, "3585 s of execution_timeout=3600 s"),
        (20.0, 3_600, 20, "timeouts.run=20 s"),
        (5_000.0, 3_600, 3_585, "3585 s of execution_timeout=3600 s"),
        (None, 30, 15, "15 s of execution_timeout=30 s"),
        (None, 20, 10, "10 s of execution_timeout=20 s"),
        (None, 1, 0.5, "0.5 s of execution_timeout=1 s"),
    ],
)
def test_the_smaller_of_both_limits_holds(
    own: float | None, timeout: float | None, seconds: float | None, limit: str
) -> None:
    before = time.monotonic()
    found = run_deadline(own, None if timeout is None else timedelta(seconds=timeout))
    after = time.monotonic()
    assert found.limit == limit
    if seconds is None:
        assert found == NEVER
    else:
        assert before + seconds <= found.at <= after + seconds


def test_a_deadline_is_there_or_is_not() -> None:
    NEVER.check()
    Deadline.within(60, "a minute").check()
    with pytest.raises(RunTimeout, match=r"^this try ran out of time \(no time at all\)$"):
        Deadline.within(0, "no time at all").check()


def job_of(server: FaultServer, tmp_path: Path, seconds: float = 1.0, **client: Any) -> Job:
    return Job(url=server.url, path=f"{tmp_path}/out/", workers=4, client={"timeouts": Timeouts(run=seconds), **client})


def ends_early(job: Job, **options: Any) -> Exception:
    """Collect, check that it ends as it should without anything to show for, and return the error."""
    started = time.monotonic()
    with pytest.raises((RunTimeout, QuotaExceeded, PageFailed)) as caught:
        collect(job, **options)
    assert time.monotonic() - started < LONG
    check_no_thread_is_left()
    assert published(job.path) is None
    return caught.value


def check_the_next_try(job: Job, server: FaultServer) -> None:
    """Check that another try without a limit goes on where this one stopped."""
    kept = landed(job.staging)
    server.faults = on_page(10**6, StallInBody())
    before = server.log.counts
    result = collect(replace(job, client={}))
    again = [index for (_, index), times in server.log.counts.items() if times > before.get(("", index), 0)]
    assert all(index >= stored.final for stored in kept.values() for index in again)
    assert result["resumed_pages"] == sum(stored.pages for stored in kept.values())
    # Nothing of the first try is still asking: it would be seen beside the second.
    assert server.log.summary().peak_connections <= job.workers
    assert proved(job.path) == API.reference()
    assert leftovers(job.path) == set()


@pytest.mark.parametrize(
    "fault",
    [StallBeforeHeaders(seconds=600), StallInBody(seconds=600), DribbleBody(every=5.0)],
    ids=lambda f: type(f).__name__,
)
def test_a_page_that_hangs(fault: Fault, tmp_path: Path) -> None:
    with FaultServer(API, on_page(15, fault)) as server:
        job = job_of(server, tmp_path)
        error = ends_early(job)
        assert isinstance(error, RunTimeout)
        assert "timeouts.run=1 s" in str(error)
        assert "14 pages with 140 rows are stored, and the next try resumes from there" in str(error)
        assert landed(job.staging)[(0,)].pages == 14
        check_the_next_try(job, server)


def test_pages_that_fail_again_and_again(tmp_path: Path) -> None:
    patient = RequestRetry(max_attempts=10**6, budget=10**6, backoff_factor=0.02)
    with FaultServer(API, on_page(15, ServerError(503))) as server:
        job = job_of(server, tmp_path, retry=patient)
        error = ends_early(job)
        assert isinstance(error, RunTimeout)
        assert "14 pages with 140 rows are stored" in str(error)
        check_the_next_try(job, server)


def test_a_rate_limit_that_lasts_longer(tmp_path: Path) -> None:
    with FaultServer(API) as server:
        job = job_of(server, tmp_path, rate_limit=RateLimit(requests=1, per_seconds=600))
        assert isinstance(ends_early(job), RunTimeout)
        assert server.log.summary().requests == 1
        check_the_next_try(job, server)


def quota_is_gone(reset: str) -> Fault:
    return Given(429, b"", headers=(("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", reset)))


@pytest.mark.parametrize("fault", [RetryLater("250"), RetryLater("250", 503), quota_is_gone("250")], ids=repr)
def test_a_pause_that_reaches_past_the_end_is_not_slept_through(fault: Fault, tmp_path: Path) -> None:
    with FaultServer(API, on_page(15, fault)) as server:
        # Less than retry.retry_after_max: without the deadline, it would be waited for.
        job = job_of(server, tmp_path, seconds=200.0)
        error = ends_early(job)
        assert isinstance(error, QuotaExceeded)
        assert error.seconds == 250
        assert "s that this try has left (timeouts.run=200 s)" in str(error)
        check_the_next_try(job, server)


def test_a_quota_that_a_good_answer_says_is_gone(tmp_path: Path) -> None:
    rows = b",".join(API.reference_lines()).split(b"\n")[0]
    told = (("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "250"))
    last = Given(200, b'{"data": [' + rows + b'], "meta": {"total": 400}}', headers=told)
    with FaultServer(API, on_page(1, last, times=1)) as server:
        error = ends_early(job_of(server, tmp_path, seconds=200.0))
    assert isinstance(error, QuotaExceeded)
    assert "used up for 250 s, more than the" in str(error)
    assert server.log.summary().requests == 1


def test_while_it_publishes(tmp_path: Path) -> None:
    with FaultServer(API) as server:
        job = job_of(server, tmp_path, seconds=60.0)
        steps = 0

        def slowly() -> None:
            nonlocal steps
            steps += 1
            if steps == 5:
                stop.deadline = Deadline.within(0, "a test")

        stop = StopSignal()
        error = ends_early(job, stop=stop, check_cancelled=slowly)
        assert isinstance(error, RunTimeout)
        assert "40 pages with 400 rows are stored" in str(error)
        check_the_next_try(job, server)
