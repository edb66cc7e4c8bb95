"""Killed at any moment, a try leaves nothing or everything visible, and the next one goes on where it stopped."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from airflow_paginated.paging import Offset, PageNumber
from airflow_paginated.paging.protocols import Pagination
from tests.pipeline.collect import Job
from tests.pipeline.disk import Landed, Partition, landed, leftovers, proved, published
from tests.pipeline.tries import Manner, Outcome, Try, until
from tests.servers import PagedApi, ServerProcess

STORES: Final = {"north": 400, "south": 560, "west": 480}
PARTITIONS: Final = [{"store": store} for store in STORES]
SLOW: Final = Manner(pause=0.001)
"""Publishing some 130 pages takes long enough for kills to hit every part of it."""


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    faults = {"type": "seven_faults", "rate": 0.05, "seed": 7}
    with ServerProcess({"api": {"rows": STORES}, "faults": faults, "latency": 0.005}) as server:
        yield server


@dataclass
class Siege:
    """One collection that is killed several times on its way, by a plan that its seed makes."""

    job: Job
    server: ServerProcess
    rng: random.Random
    before: bytes | None
    """What was visible before it began."""
    after: bytes
    hits: Counter[str] = field(default_factory=Counter)

    def run(self, kills: int) -> None:
        """Kill so many tries, or fewer if one of them has committed, then let one end."""
        while self.hits.total() < kills and published(self.job.path) != self.after:
            if self._one_try(SLOW, self._one_kill).killed:
                self.hits[self._phase()] += 1
        last = self._one_try(Manner(), Try.wait)
        assert last.result is not None, last.text
        assert proved(self.job.path) == self.after
        assert leftovers(self.job.path) == set()

    def _one_try(self, manner: Manner, end: Callable[[Try], Outcome]) -> Outcome:
        kept = landed(self.job.staging)
        self.server.reset()
        with Try(self.job, manner) as running:
            outcome = end(running)
        assert outcome.killed or outcome.result is not None, outcome.text
        self._check_requests(kept)
        visible = published(self.job.path)
        assert visible in (self.before, self.after)
        assert outcome.killed or visible == self.after
        if visible == self.after:
            proved(self.job.path)
        return outcome

    def _one_kill(self, running: Try) -> Outcome:
        match self.rng.choices(["anytime", "collecting", "publishing", "committed"], [2, 4, 3, 2])[0]:
            case "anytime":
                time.sleep(self.rng.uniform(0, 0.6))
            case "collecting":
                least = self.rng.uniform(0, len(self.after))
                until(lambda: self._stored_bytes() >= least or not running.running)
            case "publishing":
                until(lambda: any(self.job.staging.glob("files-*")) or not running.running)
                time.sleep(self.rng.uniform(0, 0.25))
            case "committed":
                until(lambda: self._committed() or not running.running, pause=0)
        return running.kill()

    def _stored_bytes(self) -> int:
        with suppress(FileNotFoundError):
            return sum(path.stat().st_size for path in self.job.staging.glob("shard-*/*"))
        return 0

    def _committed(self) -> bool:
        # While it is read, a version may be removed.
        with suppress(FileNotFoundError):
            return published(self.job.path) == self.after
        return False

    def _phase(self) -> str:
        if published(self.job.path) == self.after:
            return "cleaning"
        return "publishing" if any(self.job.staging.glob("files-*")) else "collecting"

    def _check_requests(self, kept: Mapping[Partition, Landed]) -> None:
        asked = self.server.summary().counts
        for (number,), stored in kept.items():
            store = list(STORES)[number]
            again = [index for index in range(stored.final) if asked.get((store, index))]
            assert not again, f"{stored} of {store} are stored, yet pages {again} were fetched again"


def _pagination(rng: random.Random) -> Pagination:
    size = rng.randint(10, 13)
    by_number = PageNumber(total_path="meta.total", page_size=size, page_size_param="per_page")
    return rng.choice([by_number, Offset(total_path="meta.total", page_size=size)])


def enough(hits: Counter[str], kills: int) -> bool:
    """Say whether there were so many kills, and each part of a try had its share; when a kill hits is chance."""
    shares = {"collecting": kills // 10, "publishing": kills // 10, "cleaning": 1}
    return hits.total() >= kills and all(hits[phase] >= least for phase, least in shares.items())


@pytest.mark.parametrize("kills", [30, pytest.param(200, marks=pytest.mark.slow)])
def test_after_any_kill_the_next_try_is_exact(kills: int, server: ServerProcess, tmp_path: Path) -> None:
    api = PagedApi(rows=STORES)
    hits: Counter[str] = Counter()
    for number in range(10 * kills):
        rng = random.Random(f"kill {number}")
        path = str(tmp_path / str(number)) + rng.choice(["/", "/employees.jsonl"])
        before = None
        if rng.random() < 0.3:
            with Try(Job(url=server.url, path=path, partitions=PARTITIONS[:1], run="run-0")) as earlier:
                assert earlier.wait().result is not None
            before = proved(path)
        job = Job(
            url=server.url,
            path=path,
            pagination=_pagination(rng),
            partitions=PARTITIONS,
            workers=rng.randint(3, 8),
            sink={"part_bytes": rng.choice([5_000, 50_000])} if path.endswith("/") else {},
        )
        siege = Siege(job, server, rng, before, api.reference())
        siege.run(rng.randint(2, 6))
        hits += siege.hits
        shutil.rmtree(tmp_path / str(number))
        if enough(hits, kills):
            break
    print(f"{number + 1} collections, killed while {dict(hits)}")
    assert enough(hits, kills)
