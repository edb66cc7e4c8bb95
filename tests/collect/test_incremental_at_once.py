"""Runs beside others, tried again, killed, and a table that changes while they read: each change once."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_paginated.core.errors import PaginatedApiError, TargetError, WatermarkMoved
from tests.collect.changing import NOON, Site, at, fill
from tests.collect.disk import leftovers, published
from tests.collect.running import Job, collect
from tests.collect.tries import Manner, Try
from tests.servers import FaultServer, ServerError, on_page, seven_faults
from tests.servers.changing import ChangingTable


def steps_of(site: Site, run: str) -> int:
    """Return how often a run asks whether it may go on while it publishes."""
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    collect(site.job(run), check_cancelled=count)
    return steps


# From the end: 1 is when all but the manifest is there, 2 before the last look at the watermark.
@pytest.mark.parametrize("left", [2, 3, 5, 9])
def test_of_two_runs_at_once_one_publishes_and_the_other_begins_again(site: Site, left: int) -> None:
    fill(site)
    steps = steps_of(site, "run-1")
    for key in range(8):
        site.table.change(key, at(20 + key))
    older = site.job("run-2")
    with Try(older, Manner(freeze=steps - left)) as frozen:
        assert frozen.frozen()
        site.table.change(9, at(40))
        newer = site.run("run-3")
        assert len(newer) == 9
        state = site.state
        frozen.signal(signal.SIGCONT)
        lost = frozen.wait()
    assert lost.error == "WatermarkMoved", lost.text
    assert published(older.path) is None
    assert leftovers(older.path) <= {"_pages"}
    assert site.state == state
    site.table.change(2, at(41))
    # The next try of the older one: only what the newer one has not published.
    assert site.run("run-2") == [site.table.rows[2]]


def test_two_runs_that_publish_in_the_same_moment_are_told_of(site: Site) -> None:
    fill(site)
    steps = steps_of(site, "run-1")
    for key in range(8):
        site.table.change(key, at(20 + key))
    older = site.job("run-2")
    with Try(older, Manner(freeze=steps - 1)) as frozen:
        assert frozen.frozen()
        site.table.change(9, at(40))
        site.run("run-3")
        state = site.state
        frozen.signal(signal.SIGCONT)
        lost = frozen.wait()
    assert lost.error == "TargetError"
    assert "run 'run-3'" in lost.text
    assert "remove the dataset of this run" in lost.text
    assert site.state == state
    with pytest.raises(TargetError, match="later runs have gone on from there"):
        site.run("run-2")


@pytest.mark.parametrize("seed", range(3))
def test_three_runs_under_faults_and_kills(site: Site, seed: int) -> None:
    site.table.page_size = 10
    site = site.with_policy(lookback=30)
    fill(site, 200)
    site.server.faults = seven_faults(0.1, seed=seed)
    expected: Counter[str] = Counter()
    delivered: Counter[str] = Counter()
    for number in range(3):
        expected.update({json.dumps(row) for row in site.table.rows.values()} - set(expected))
        job = site.job(f"run-{number}")
        site.server.latency = 0.01
        with Try(job) as doomed:
            time.sleep(0.02 * seed)
            doomed.kill()
        site.server.latency = 0.0
        with Try(job) as good:
            result = good.wait().result
        assert result is not None
        assert result["watermark"] == max(row["updated_at"] for row in site.table.rows.values())
        delivered.update(json.dumps(row) for row in site.rows(job))
        for key in range(number, 220, 7):
            site.table.change(key, at(300 * (number + 1) - key / 10))
    assert delivered == expected


def failed(site: Site, run: str) -> Job:
    """Return a job that has failed at page 4; what made it fail is over."""
    job = replace(site.job(run), workers=1)
    site.server.faults = on_page(4, ServerError())
    with pytest.raises(PaginatedApiError, match="page 4"):
        collect(job)
    site.server.faults = lambda request, nth: None
    return job


def test_a_retry_asks_for_the_same_and_goes_on(site: Site) -> None:
    fill(site)
    site.run("run-1")
    for key in range(12):
        site.table.change(key, at(20 + key))
    job = failed(site, "run-2")
    result = collect(job)
    assert (result["resumed_pages"], result["rows"], result["watermark"]) == (3, 12, at(31))
    assert set(site.table.asked) == {at(0), at(7)}


def test_what_another_run_has_published_meanwhile_a_retry_does_not_ask_for_again(site: Site) -> None:
    fill(site)
    site.run("run-1")
    for key in range(12):
        site.table.change(key, at(20 + key))
    job = failed(site, "run-2")
    assert len(site.run("run-3")) == 12
    # What it had stored is of no use: the run now begins elsewhere.
    result = collect(job)
    assert (result["resumed_pages"], result["rows"]) == (0, 0)


def now() -> str:
    return datetime.now(UTC).isoformat()


def test_a_row_that_changes_behind_a_run_comes_with_the_next(site: Site) -> None:
    for key in range(9):
        site.table.change(key, now())

    def behind(number: int) -> None:
        if number == 3:
            site.table.change(0, now(), behind=True)
            site.table.change(8, now(), ahead=True)

    site.table.on_page = behind
    first = site.run("run-1")
    assert [row["id"] for row in first if len(row) > 2] == [8]
    site.table.on_page = lambda number: None
    assert site.run("run-2") == [site.table.rows[0]]
    assert site.run("run-3") == []


def test_a_row_that_changes_between_two_tries_comes_with_the_next_run(site: Site) -> None:
    for key in range(12):
        site.table.change(key, now())
    job = failed(site, "run-1")
    missed, seen = site.table.change(0, now(), behind=True), site.table.change(11, now(), ahead=True)
    assert collect(job)["resumed_pages"] == 3
    assert missed not in site.rows(job)
    assert seen in site.rows(job)
    assert site.run("run-2") == [missed]


@settings(max_examples=15)
@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(-12, 12)), min_size=1, max_size=25),
    st.integers(1, 4),
    st.integers(0, 2**16),
)
def test_the_watermark_is_the_maximum_whatever_faults_there_are(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], workers: int, seed: int
) -> None:
    table = ChangingTable()
    for key, (seconds, hours) in enumerate(changes):
        table.change(key, (NOON + timedelta(seconds=seconds, hours=hours)).isoformat())
    with FaultServer(table, seven_faults(0.2, seed=seed)) as server:
        site = Site(server, table, tmp_path_factory.mktemp("site"), {"initial_value": None})
        result = collect(replace(site.job("run-1"), workers=workers))
    assert datetime.fromisoformat(result["watermark"]) == NOON + max(
        timedelta(seconds=seconds, hours=hours) for seconds, hours in changes
    )


def test_of_two_runs_that_end_at_once_none_moves_the_watermark_back(site: Site) -> None:
    """Each of several processes, over and over: publish, or be told that another was faster."""
    fill(site)
    site.run("run-0")
    for turn in range(4):
        site.table.change(turn, at(100 * (turn + 1)))
        jobs = [site.job(f"run-{turn}-{number}") for number in range(3)]
        tries = [Try(job) for job in jobs]
        outcomes = [one.wait() for one in tries]
        assert any(outcome.result is not None for outcome in outcomes)
        assert {outcome.error for outcome in outcomes} <= {"", WatermarkMoved.__name__, TargetError.__name__}
        assert site.state["watermark"] == at(100 * (turn + 1))
