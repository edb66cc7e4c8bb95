"""Tries of one collection that are killed at random moments, and what is checked after each of them."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from airflow_paginated import Offset, PageNumber
from airflow_paginated.pagination.protocols import Pagination
from tests.collect.disk import Landed, Partition, landed, leftovers, proved, published
from tests.collect.running import Job
from tests.collect.tries import Manner, Outcome, Try, until
from tests.servers import PagedApi, ServerProcess
from tests.sinks.s3_client import filesystem_at

STORES: Final = {"north": 400, "south": 560, "west": 480}

PARTITIONS: Final = [{"store": store} for store in STORES]

API: Final = PagedApi(rows=STORES)


# Publishing some 130 pages takes long enough for kills to hit every part of it.
SLOW: Final = Manner(pause=0.001)

# In a store nothing has landed before a segment is closed.
CLOSING: Final = Manner(segment_pages=7)


class Ground(Protocol):
    """Where targets lie."""

    store: str
    """The URL of an S3 server, or nothing."""
    manner: Manner
    """How a try behaves that is to be killed."""

    def path(self, name: str) -> str:
        """Return the target of this name, as a job calls it."""

    def look(self, path: str) -> str:
        """Return the target as it is now, on the disk."""

    def clear(self, path: str) -> None:
        """Remove the target with all that lies beside it."""


@dataclass(frozen=True)
class Disk:
    """Implements ``Ground``: the disk itself."""

    root: Path
    store: str = ""
    manner: Manner = SLOW

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def look(self, path: str) -> str:
        return path

    def clear(self, path: str) -> None:
        shutil.rmtree(Path(path).parent if not path.endswith("/") else path)


@dataclass(frozen=True)
class Store:
    """Implements ``Ground``: a bucket, of which a copy is made to look at it."""

    root: Path
    store: str
    manner: Manner = CLOSING
    _kept: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def path(self, name: str) -> str:
        return f"s3://lake/{name}"

    def look(self, path: str) -> str:
        bucket = filesystem_at(self.store)
        bucket.invalidate_cache()
        prefix = _folder(path)
        shutil.rmtree(self.root / prefix, ignore_errors=True)
        for name, known in bucket.find(prefix, detail=True).items():
            # Beside a try that goes on, an object may be gone or replaced by now.
            with suppress(FileNotFoundError):
                # Between two listings of its own, s3fs takes what has just gone for a folder.
                if "ETag" not in known:
                    continue
                key = (name, known["ETag"])
                if key not in self._kept:
                    self._kept[key] = bucket.cat_file(name)
                copy = self.root / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(self._kept[key])
        (self.root / prefix).mkdir(parents=True, exist_ok=True)
        return str(self.root / path.removeprefix("s3://")) + "/" * path.endswith("/")

    def clear(self, path: str) -> None:
        filesystem_at(self.store).rm(_folder(path), recursive=True)
        self._kept.clear()


def _folder(path: str) -> str:
    return path.removeprefix("s3://").rpartition("/")[0]


@dataclass
class Tally:
    """What was counted over all collections."""

    collections: int = 0
    tries: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    """By what the try was doing."""
    pages: int = 0
    """Different pages, over all collections."""
    twice: int = 0
    """Pages that more than one try of a collection asked for."""
    stored_twice: int = 0
    """Those of them that were stored for good by then: there must be none."""
    manifests: int = 0
    """Checked, each with the hashes of all that it lists."""
    rows: int = 0
    duplicates: int = 0

    def proved(self, path: str) -> bytes:
        """Check what is published, and count it."""
        data = proved(path)
        lines = data.splitlines()
        self.manifests += 1
        self.rows += len(lines)
        self.duplicates += len(lines) - len(set(lines))
        return data

    def enough(self, kills: int) -> bool:
        """Say whether there were so many kills, and each part of a try had its share; when one hits is chance."""
        shares = {"collecting": kills // 10, "publishing": kills // 10, "cleaning": 1}
        return self.killed.total() >= kills and all(self.killed[phase] >= least for phase, least in shares.items())

    def __str__(self) -> str:
        return (
            f"{self.collections} collections, {self.tries} tries, {self.killed.total()} killed ({dict(self.killed)});"
            f" {self.twice} of {self.pages} pages fetched by more than one try, {self.stored_twice} of them stored"
            f" for good before; {self.manifests} manifests checked, {self.rows} rows, {self.duplicates} of them twice"
        )


@dataclass
class Siege:
    """One collection that is killed several times on its way, by a plan that its seed makes."""

    job: Job
    ground: Ground
    server: ServerProcess
    rng: random.Random
    tally: Tally
    before: bytes | None
    """What was visible before it began."""
    after: bytes
    kills: int = 0
    seen: set[tuple[str, int]] = field(default_factory=set)
    """The pages that were asked for so far."""

    def run(self, kills: int) -> None:
        """Kill so many tries, or fewer if one of them has committed, then let one end."""
        while self.kills < kills and published(self._look().path) != self.after:
            if self._one_try(self.ground.manner, self._one_kill).killed:
                self.kills += 1
                self.tally.killed[self._phase()] += 1
        last = self._one_try(replace(self.ground.manner, pause=0.0), Try.wait)
        assert last.result is not None, last.text
        path = self._look().path
        assert self.tally.proved(path) == self.after
        assert leftovers(path) == set()
        self.tally.collections += 1
        self.tally.pages += len(self.seen)

    def _look(self) -> Job:
        """Return the job with its target as it is now."""
        return replace(self.job, path=self.ground.look(self.job.path))

    def _one_try(self, manner: Manner, end: Callable[[Try], Outcome]) -> Outcome:
        kept = landed(self._look().staging)
        self.server.reset()
        with Try(self.job, manner) as running:
            outcome = end(running)
        assert outcome.killed or outcome.result is not None, outcome.text
        self.tally.tries += 1
        self._check_requests(kept)
        path = self._look().path
        visible = published(path)
        assert visible in (self.before, self.after)
        assert outcome.killed or visible == self.after
        if visible == self.after:
            self.tally.proved(path)
        return outcome

    def _one_kill(self, running: Try) -> Outcome:
        match self.rng.choices(["anytime", "collecting", "publishing", "committed"], [2, 4, 3, 2])[0]:
            case "anytime":
                time.sleep(self.rng.uniform(0, 0.6))
            case "collecting":
                least = self.rng.uniform(0, len(self.after))
                until(lambda: self._stored_bytes() >= least or not running.running)
            case "publishing":
                until(lambda: any(self._look().staging.glob("files-*")) or not running.running)
                time.sleep(self.rng.uniform(0, 0.25))
            case "committed":
                until(lambda: self._committed() or not running.running, pause=0)
        return running.kill()

    def _stored_bytes(self) -> int:
        with suppress(FileNotFoundError):
            return sum(path.stat().st_size for path in self._look().staging.glob("shard-*/*"))
        return 0

    def _committed(self) -> bool:
        # While it is read, a version may be removed.
        with suppress(FileNotFoundError):
            return published(self._look().path) == self.after
        return False

    def _phase(self) -> str:
        seen = self._look()
        if published(seen.path) == self.after:
            return "cleaning"
        return "publishing" if any(seen.staging.glob("files-*")) else "collecting"

    def _check_requests(self, kept: Mapping[Partition, Landed]) -> None:
        asked = set(self.server.summary().counts)
        final = {(list(STORES)[number], index) for (number,), of in kept.items() for index in range(of.final)}
        again = sorted(asked & final)
        self.tally.twice += len(asked & self.seen)
        self.tally.stored_twice += len(again)
        self.seen |= asked
        assert not again, f"{kept} are stored, yet pages {again} were fetched again"


def besiege(kills: int, ground: Ground, server: ServerProcess) -> Tally:
    """Kill so many tries of ever new collections, and return what was counted."""
    tally = Tally()
    for number in range(10 * kills):
        rng = random.Random(f"kill {number}")
        path = ground.path(str(number)) + rng.choice(["/", "/employees.jsonl"])
        before = None
        if rng.random() < 0.3:
            earlier = Job(url=server.url, path=path, partitions=PARTITIONS[:1], run="run-0", store=ground.store)
            with Try(earlier) as running:
                assert running.wait().result is not None
            before = tally.proved(ground.look(path))
        job = Job(
            url=server.url,
            path=path,
            pagination=_pagination(rng),
            partitions=PARTITIONS,
            workers=rng.randint(3, 8),
            sink={"part_bytes": rng.choice([5_000, 50_000])} if path.endswith("/") else {},
            store=ground.store,
        )
        Siege(job, ground, server, rng, tally, before, API.reference()).run(rng.randint(2, 6))
        ground.clear(path)
        if tally.enough(kills):
            break
    return tally


def _pagination(rng: random.Random) -> Pagination:
    size = rng.randint(10, 13)
    by_number = PageNumber(total_path="meta.total", page_size=size, page_size_param="per_page")
    return rng.choice([by_number, Offset(total_path="meta.total", page_size=size)])
