"""Told to stop, a run ends at once, publishes nothing, and leaves its pages to the next try."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from airflow_paginated.collect.collector import StopSignal
from airflow_paginated.core.errors import Cancelled
from tests.collect.core import Case, Fate, striking, task
from tests.collect.disk import landed, leftovers, proved, published
from tests.collect.draws import NEVER, cases, thorough
from tests.collect.running import Job, collect
from tests.servers import FaultServer, PagedApi, StallInBody, on_page

STORES = {"north": 300, "south": 200}

PARTITIONS = [{"store": store} for store in STORES]


def page_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("page")]


def check_no_thread_is_left() -> None:
    deadline = time.monotonic() + 10
    for thread in page_threads():
        thread.join(max(0.0, deadline - time.monotonic()))
    assert page_threads() == []


@given(
    case=cases(least=1),
    fate=st.builds(Fate, st.sampled_from(["landing", "fetching", "publishing"]), st.integers(1, 20)),
)
@thorough(max_examples=80)
def test_a_stop_at_any_moment_is_the_end_of_the_try(case: Case, fate: Fate) -> None:
    stop = StopSignal()
    with task() as made:
        try:
            made.attempt(case, striking(fate, stop.request), stop)
        except Cancelled:
            pass
        else:
            # A page that was asked for ahead, and that nobody needs, may be fetched after the commit.
            assert not stop.requested or fate.moment == "fetching"
            reject()
        assert published(made.path) is None
        made.check_manners(case)
        assert made.die(case, NEVER) is not None
        made.check_manners(case)
        assert proved(made.path) == case.expected
        assert leftovers(made.path) == set()


@pytest.mark.parametrize("seed", range(12))
def test_a_run_over_http_stops_at_any_moment(tmp_path: Path, seed: int) -> None:
    rng = random.Random(f"stop {seed}")
    api = PagedApi(rows=STORES, page_size=10)
    target = rng.choice(["out/", "out/rows.jsonl"])
    with FaultServer(api, latency=0.01) as server:
        job = Job(url=server.url, path=f"{tmp_path}/{target}", partitions=PARTITIONS, workers=rng.randint(1, 8))
        stop = StopSignal()
        # As a signal does, it comes from outside, at any time.
        timer = threading.Timer(rng.uniform(0, 0.4), stop.request)
        timer.start()
        try:
            with pytest.raises(Cancelled):
                collect(job, stop, check_cancelled=lambda: time.sleep(0.01))
        finally:
            timer.join()
        check_no_thread_is_left()
        assert published(job.path) is None
        kept = landed(job.staging)
        server.log.clear()
        collect(job)
        for (number,), stored in kept.items():
            asked = [index for index in range(stored.final) if server.log.counts.get((list(STORES)[number], index))]
            assert not asked
        assert proved(job.path) == api.reference()
        assert leftovers(job.path) == set()


def test_a_run_that_hangs_in_a_body_stops_soon(tmp_path: Path) -> None:
    api = PagedApi(rows=200, page_size=10)
    with FaultServer(api, on_page(5, StallInBody())) as server:
        job = Job(url=server.url, path=f"{tmp_path}/out/", workers=4)
        stop = StopSignal()
        asked_at = 0.0

        def ask() -> None:
            nonlocal asked_at
            while not any(page.pages == 4 for page in landed(job.staging).values()):
                time.sleep(0.001)
            asked_at = time.monotonic()
            stop.request()

        asking = threading.Thread(target=ask)
        asking.start()
        with pytest.raises(Cancelled):
            collect(job, stop)
        assert time.monotonic() - asked_at < 2
        asking.join()
        check_no_thread_is_left()
        assert published(job.path) is None
        assert landed(job.staging)[(0,)].pages == 4
