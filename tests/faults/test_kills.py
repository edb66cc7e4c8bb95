"""Tries that are told to end, or are killed: what is visible is absent or complete, and the next try is exact."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from tests.collect.disk import leftovers, proved, published
from tests.collect.running import Job, collect
from tests.collect.siege import CLOSING, STORES, Disk, Ground, Store, besiege
from tests.collect.test_stop import check_no_thread_is_left
from tests.collect.tries import Manner, Try
from tests.servers import FaultServer, PagedApi, ServerProcess
from tests.sinks.s3_client import S3Process

SMALL = [PagedApi(rows=60, page_size=10, seed=seed) for seed in (0, 1)]
THOUSAND = pytest.param(1_000, marks=pytest.mark.kills)
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    faults = {"type": "seven_faults", "rate": 0.05, "seed": 7}
    with ServerProcess({"api": {"rows": STORES}, "faults": faults, "latency": 0.005}) as server:
        yield server


@pytest.fixture(scope="module")
def store() -> Iterator[S3Process]:
    with S3Process() as process:
        yield process


@pytest.mark.fault("K3")
@pytest.mark.parametrize("kills", [30, pytest.param(200, marks=pytest.mark.slow), THOUSAND])
def test_killed_at_any_moment(kills: int, server: ServerProcess, tmp_path: Path, record_property: Record) -> None:
    tally = besiege(kills, Disk(tmp_path), server)
    record_property("runs", tally.killed.total())
    print(tally)
    assert tally.enough(kills)
    assert (tally.stored_twice, tally.duplicates) == (0, 0)


@pytest.mark.fault("K3")
@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.kills)])
def test_killed_at_any_moment_with_a_store(
    kills: int, server: ServerProcess, store: S3Process, tmp_path: Path, record_property: Record
) -> None:
    tally = besiege(kills, Store(tmp_path, store.url), server)
    record_property("runs", tally.killed.total())
    print(tally)
    assert tally.enough(kills)
    assert (tally.stored_twice, tally.duplicates) == (0, 0)


def kill_at(ground: Ground, target: str, step: int, server: FaultServer) -> bool | None:
    """Kill a try before this step, let the next one end; say whether the first had committed, or ``None`` if it ended.

    The steps: two notes, three parts (or one file) with six pages, the accounting, a check, the manifest, (the file's
    replacement,) and four of cleaning.
    """
    before, after = SMALL[(step + 1) % 2], SMALL[step % 2]
    sink = {"part_bytes": 5_000} if target.endswith("/") else {}
    job = Job(url=server.url, path=ground.path(target), run=f"run-{step}", sink=sink, store=ground.store)
    server.app = before
    collect(replace(job, run="earlier"))
    server.app = after
    with Try(job, Manner(die=step)) as running:
        outcome = running.wait()
    visible = published(ground.look(job.path))
    assert visible in (before.reference(), after.reference())
    server.log.clear()
    collect(job)
    path = ground.look(job.path)
    assert proved(path) == after.reference()
    assert leftovers(path) == set()
    if not outcome.killed:
        return None
    # All pages had landed, and the last one ended its partition: the API is not asked, but to look beyond.
    committed = visible == after.reference()
    assert committed or set(server.log.counts) <= {("", 6)}
    return committed


@pytest.mark.fault("K4")
@pytest.mark.parametrize(("target", "steps"), [("out/", 14), ("out/rows.jsonl", 13)])
def test_killed_between_any_two_steps(target: str, steps: int, tmp_path: Path, record_property: Record) -> None:
    committed: list[bool] = []
    with FaultServer(SMALL[0]) as server:
        for step in count():
            ended = kill_at(Disk(tmp_path), target, step, server)
            if ended is None:
                break
            committed.append(ended)
    record_property("runs", len(committed))
    assert committed == [False] * steps + [True] * 4


@pytest.mark.fault("K4")
@pytest.mark.parametrize(
    ("target", "steps"), [("out/", (4, 13, 14, 16)), ("out/rows.jsonl", (12,))], ids=["folder", "file"]
)
def test_killed_between_steps_with_a_store(
    target: str, steps: tuple[int, ...], store: S3Process, tmp_path: Path, record_property: Record
) -> None:
    first_after = 14 if target == "out/" else 13
    ground = Store(tmp_path, store.url)
    with FaultServer(SMALL[0]) as server:
        for step in steps:
            assert kill_at(ground, target, step, server) is (step >= first_after)
    ground.clear(ground.path(target))
    record_property("runs", len(steps))


@pytest.fixture(params=["disk", "store"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    if request.param == "disk":
        yield Disk(tmp_path)
        return
    process: S3Process = request.getfixturevalue("store")
    bucket = Store(tmp_path, process.url)
    yield bucket
    bucket.clear(bucket.path("out/"))


@pytest.mark.fault("K5")
@pytest.mark.parametrize("step", [0, 7, 13])
def test_of_two_tries_the_newer_one_commits(ground: Ground, step: int) -> None:
    with FaultServer(SMALL[0]) as server:
        job = Job(url=server.url, path=ground.path("out/"), sink={"part_bytes": 5_000}, store=ground.store)
        with Try(job, Manner(freeze=step)) as older:
            assert older.frozen()
            with Try(job) as newer:
                won = newer.wait()
            older.signal(signal.SIGCONT)
            lost = older.wait()
    assert won.result is not None
    assert lost.error == "ClaimLost", lost
    path = ground.look(job.path)
    assert proved(path) == SMALL[0].reference()
    assert leftovers(path) == set()


@pytest.mark.fault("K5")
def test_nobody_waits_for_a_try_that_was_killed(ground: Ground) -> None:
    with FaultServer(SMALL[0]) as server:
        job = Job(url=server.url, path=ground.path("out/"), store=ground.store)
        with Try(job, replace(CLOSING, die=3)) as killed:
            assert killed.wait().killed
        started = time.monotonic()
        result = collect(job)
        seconds = time.monotonic() - started
    assert result["resumed_pages"] == 6
    # A lease would last longer than what a slow machine needs for this.
    assert seconds < 10
    assert proved(ground.look(job.path)) == SMALL[0].reference()


@pytest.mark.fault("K6")
@pytest.mark.parametrize("runs", [200, pytest.param(1_000, marks=pytest.mark.slow)])
def test_many_runs_in_one_process(runs: int, tmp_path: Path, record_property: Record) -> None:
    held: set[tuple[int, int]] = set()
    # Every 13th request breaks. In a process of its own: its sockets are not to be counted.
    faults = {"type": "seven_faults", "rate": 0.08, "seed": 7}
    with ServerProcess({"api": {"rows": 45, "page_size": 10}, "faults": faults}) as server:
        job = Job(url=server.url, path=f"{tmp_path}/out/", workers=4)
        for number in range(runs):
            assert collect(replace(job, run=f"run-{number}"))["rows"] == 45
            if number % 50 == 9:
                check_no_thread_is_left()
                held.add((len(os.listdir("/proc/self/fd")), threading.active_count()))
    record_property("runs", runs)
    assert len(held) == 1, held
