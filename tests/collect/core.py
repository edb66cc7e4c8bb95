"""The core without a network: the pipeline over a paged API that is a plain function, in tries that may die."""

from __future__ import annotations

import os
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, cast

from airflow_paginated import Completeness, Page, PageRequest, Total
from airflow_paginated.collect.collection import Collection
from airflow_paginated.collect.collector import Collector, StopSignal
from airflow_paginated.collect.scheduler import Window
from airflow_paginated.core.errors import PageFailed
from airflow_paginated.core.values import PageRecord, Successor
from airflow_paginated.pagination.protocols import Pagination, SupportsPrefetch, totals_of, trimmed_by
from airflow_paginated.sinks import FileSink
from airflow_paginated.sinks.files.file_sink import local_or_fsspec
from airflow_paginated.sinks.protocol import Dataset, Owner, Run
from airflow_paginated.transport import PageClient
from airflow_paginated.transport.client import Traffic
from tests.collect.api import Api, no_delay, seeds_of
from tests.collect.disk import Landed, Partition, landed
from tests.collect.tables import Tables, plain_pages

Key = tuple[tuple[int, ...], int]

Moment = Literal["landing", "fetching", "publishing"]

# A disk that has to sync makes some thousand commits slow.
_FAST: Final = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Death(BaseException):
    """Ends a try where it stands."""


@dataclass(frozen=True)
class Fate:
    """What happens to a try: ``strike`` at the n-th landing, fetch or step of publishing, and a torn tail.

    ``kept`` is the share of the newest segment that survives a death; with ``zeros`` the rest is not cut off but
    comes to naught, as after a loss of power.
    """

    moment: Moment
    at: int
    kept: float = 1.0
    zeros: bool = False


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is collected, how, and into what."""

    api: Api | Tables
    pagination: Pagination
    workers: int = 4
    window: int = 16
    part_bytes: int = 2_000
    completeness: Completeness = field(default_factory=Completeness)

    @property
    def expected(self) -> bytes:
        """All rows, in the order of the tables."""
        return b"".join(self.api.everything)

    @property
    def by_partition(self) -> dict[Partition, bytes]:
        """The rows of each partition, as a plain loop reads them."""
        prompt = replace(self.api, delay=no_delay)
        texts: dict[Partition, bytes] = {}
        for seed in seeds_of(self.pagination, self.api.count):
            for landing in plain_pages(seed, prompt, self.pagination):
                partition = landing.page.request.partition
                texts[partition] = texts.get(partition, b"") + landing.page.lines
        return texts


@dataclass
class Watch:
    """What a try demands of the API: which pages, how many at once, how many at once that wait for their turn."""

    fetch: Callable[[PageRequest], Page]
    asked: Counter[Key] = field(default_factory=Counter)
    landed: list[Key] = field(default_factory=list)
    most_running: int = 0
    most_held: int = 0
    _running: set[Key] = field(default_factory=set)
    _waiting: set[Key] = field(default_factory=set)
    _ended: set[tuple[int, ...]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: PageRequest) -> Page:
        key = request.partition, request.index
        with self._lock:
            self.asked[key] += 1
            self._running.add(key)
            self.most_running = max(self.most_running, len(self._running))
            self.most_held = max(self.most_held, len(self._running) + len(self._waiting))
        try:
            page = self.fetch(request)
        finally:
            with self._lock:
                self._running.discard(key)
        with self._lock:
            if request.partition not in self._ended:
                self._waiting.add(key)
        return page

    def follows(self, page: Page, successor: Successor) -> None:
        partition = page.request.partition
        with self._lock:
            self._waiting.discard((partition, page.request.index))
            if not isinstance(successor, PageRequest):
                self._ended.add(partition)
                self._waiting = {key for key in self._waiting if key[0] != partition}


class _Watched:
    """A strategy whose decisions a watch is told of."""

    def __init__(self, whole: Pagination, watch: Watch) -> None:
        self._whole, self._watch = whole, watch

    def first(self, request: PageRequest) -> PageRequest:
        return self._whole.first(request)

    def follow(self, page: Page) -> Successor:
        successor = self._whole.follow(page)
        self._watch.follows(page, successor)
        return successor

    def trim(self, page: Page) -> Page:
        return trimmed_by(self._whole)(page)

    def total(self, page: Page) -> Total | None:
        return totals_of(self._whole)(page)


class _WatchedAhead(_Watched):
    def ahead(self, page: Page, sent: PageRequest) -> PageRequest | None:
        return cast(SupportsPrefetch, self._whole).ahead(page, sent)


class _Doomed:
    """A dataset that notes what lands and strikes at a landing; in all else the one that it stands before."""

    def __init__(self, whole: Dataset, watch: Watch, strike: Callable[[Moment], None]) -> None:
        self._whole, self._watch, self._strike = whole, watch, strike

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)

    def store_page(self, record: PageRecord, lines: bytes) -> None:
        self._whole.store_page(record, lines)
        self._watch.landed.append((record.request.partition, record.request.index))
        self._strike("landing")


class Wire:
    """Stands where a client, a network and a server would be."""

    def __init__(self, fetch: Callable[[PageRequest], Page]) -> None:
        self.fetch = fetch
        self.traffic = Traffic()
        self.throttled_seconds = 0.0


def _nobody(request: PageRequest) -> Page:
    raise AssertionError("there was no try yet")


@dataclass
class Task:
    """One task with a target of its own, tried as often as it takes."""

    root: Path
    one_file: bool = False
    kept: Mapping[Partition, Landed] = field(default_factory=dict)
    """What was stored when the newest try began."""
    watch: Watch = field(default_factory=lambda: Watch(_nobody))
    """Of the newest try."""

    @property
    def path(self) -> str:
        return str(self.root / "out" / "rows.jsonl") if self.one_file else f"{self.root}/out/"

    @property
    def run(self) -> Run:
        return Run(Owner("dag", "task", "run"), {"endpoint": "/rows"}, PageRequest("/rows"))

    @property
    def staging(self) -> Path:
        return self.root / "out" / "_staging" / self.run.key

    def attempt(self, case: Case, strike: Callable[[Moment], None], stop: StopSignal | None = None) -> dict[str, Any]:
        """Try once; ``strike`` is called at each moment and may raise or ask to stop."""
        stop = stop or StopSignal()
        self.kept = landed(self.staging)

        def fetch(request: PageRequest) -> Page:
            strike("fetching")
            return case.api(request)

        def check_cancelled() -> None:
            strike("publishing")
            stop.check()

        self.watch = watch = Watch(fetch)
        strategy = (_WatchedAhead if isinstance(case.pagination, SupportsPrefetch) else _Watched)(
            case.pagination, watch
        )
        request = self.run.base
        partitions = [{"table": number} for number in range(case.api.count)]
        run = Run(self.run.owner, self.run.plan, request, check_cancelled=check_cancelled)
        sink = FileSink(self.path, part_bytes=case.part_bytes)
        with closing(cast(Dataset, sink.resolved(local_or_fsspec).open(run))) as dataset:
            result: dict[str, Any] = Collector(
                collection=Collection(request=request, pagination=strategy, partitions=partitions),
                client=cast(PageClient, Wire(watch)),
                dataset=cast(Dataset, _Doomed(dataset, watch, strike)),
                workers=case.workers,
                window=Window(case.window),
                completeness=case.completeness,
                stop=stop,
            ).run()
            return result

    def check_manners(self, case: Case) -> None:
        """Assert of the newest try that it kept its bounds and the order, and fetched nothing in vain."""
        asked = self.watch.asked
        again = [key for key in asked if key[0] in self.kept and key[1] < self.kept[key[0]].final]
        assert not again, f"{self.kept} were stored, and yet fetched: {again}"
        assert all(times == 1 for times in asked.values())
        assert self.watch.most_running <= case.workers
        assert self.watch.most_held <= case.window
        for partition in {key[0] for key in self.watch.landed}:
            indexes = [index for each, index in self.watch.landed if each == partition]
            assert indexes == list(range(indexes[0], indexes[0] + len(indexes)))

    def die(self, case: Case, fate: Fate) -> dict[str, Any] | None:
        """Try once, and die on the way unless the end comes first; return the result if it does."""
        try:
            return self.attempt(case, striking(fate))
        except (Death, PageFailed):
            tear(self.staging, fate)
            return None


def striking(fate: Fate, act: Callable[[], None] | None = None) -> Callable[[Moment], None]:
    """Return what acts as its fate says; by default a failing page ends a fetch, a death anything else."""
    left, lock = fate.at, threading.Lock()

    def strike(moment: Moment) -> None:
        nonlocal left
        with lock:
            left -= moment == fate.moment
            struck = moment == fate.moment and left == 0
        if struck and act is not None:
            act()
        elif struck:
            raise PageFailed("struck") if moment == "fetching" else Death

    return strike


def tear(staging: Path, fate: Fate) -> None:
    """Spoil the end of the newest segment."""
    segments = sorted(staging.glob("shard-0000/*"), key=lambda path: [int(n) for n in path.name.split("-")[1:]])
    if segments:
        size = segments[-1].stat().st_size
        os.truncate(segments[-1], int(size * fate.kept))
        if fate.zeros:
            os.truncate(segments[-1], size)


@contextmanager
def task(one_file: bool = False) -> Iterator[Task]:
    """Give a task a target, on a disk that is fast."""
    with tempfile.TemporaryDirectory(dir=_FAST) as root:
        yield Task(Path(root), one_file)
