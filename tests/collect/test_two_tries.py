"""Several tries of one task, and readers beside them: the newest try commits, and nobody ever sees a mixture."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from tests.collect.disk import landed, leftovers, manifest, proved
from tests.collect.running import Job, collect
from tests.collect.tries import Manner, Reader, Try, until
from tests.servers import FaultServer, PagedApi

OLD, NEW = PagedApi(rows=400, page_size=10), PagedApi(rows=430, page_size=10, seed=1)

TARGETS = ["out/", "out/rows.jsonl"]


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(OLD) as server:
        yield server


def job_of(server: FaultServer, path: str) -> Job:
    return Job(url=server.url, path=path, sink={"part_bytes": 10_000} if path.endswith("/") else {})


@pytest.mark.parametrize("target", TARGETS)
def test_of_two_tries_the_newest_commits(server: FaultServer, tmp_path: Path, target: str) -> None:
    server.latency = 0.2
    job = job_of(server, f"{tmp_path}/{target}")
    with Try(job) as older:
        until(lambda: any(page.pages > 3 for page in landed(job.staging).values()))
        # Asleep until the newer one has its claim, or it might be done before.
        older.signal(signal.SIGSTOP)
        server.latency = 0.01
        with Try(job) as newer:
            until(lambda: (job.staging / "claim-2").exists())
            older.signal(signal.SIGCONT)
            won, lost = newer.wait(), older.wait()
    assert won.result is not None
    assert won.result["resumed_pages"] > 3
    assert lost.error == "ClaimLost"
    assert proved(job.path) == OLD.reference()
    assert leftovers(job.path) == set()


# Of a folder, 2 steps come first, then nine parts with 40 pages, then 3 more steps; of a file, 2, 1 with 40, 4.
@pytest.mark.parametrize(
    ("target", "step"),
    [("out/", step) for step in (0, 2, 3, 30, 51, 52, 53)]
    + [("out/rows.jsonl", step) for step in (0, 2, 3, 30, 43, 45, 46)],
)
def test_a_try_that_slept_while_a_newer_one_committed_publishes_nothing(
    server: FaultServer, tmp_path: Path, target: str, step: int
) -> None:
    job = job_of(server, f"{tmp_path}/{target}")
    with Try(job, Manner(freeze=step)) as older:
        assert older.frozen()
        server.app = NEW
        # What the older one stored is too old for the newer one, which therefore publishes other rows.
        with Try(replace(job, resume_max_age=0)) as newer:
            assert newer.wait().result is not None
        committed = manifest(job.path)
        older.signal(signal.SIGCONT)
        lost = older.wait()
    assert lost.error == "ClaimLost", lost.text
    assert manifest(job.path) == committed
    assert proved(job.path) == NEW.reference()
    assert leftovers(job.path) == set()


@pytest.mark.parametrize("target", TARGETS)
def test_readers_see_one_version_while_it_is_replaced_50_times(
    server: FaultServer, tmp_path: Path, target: str
) -> None:
    versions = [PagedApi(rows=60 + number, page_size=10, seed=number) for number in range(51)]
    digests = [sha256(version.reference()).hexdigest() for version in versions]
    job = replace(job_of(server, f"{tmp_path}/{target}"), workers=2)
    server.app = versions[0]
    collect(job)
    with Reader(job.path, digests) as reader:
        for number, version in enumerate(versions[1:]):
            server.app = version
            # In turn a cleared task, run again, and another run of its DAG.
            collect(replace(job, run=f"run-{number // 2}"))
            assert proved(job.path) == version.reference()
            assert leftovers(job.path) == set()
        seen = reader.seen()
    print(
        f"{len(set(digests) & set(seen))} versions in {seen.total()} reads, {seen['missing']} of them with a file gone"
    )
    assert not seen["wrong"]
    assert not seen["nothing"]
    assert len(set(digests) & set(seen)) > 5
