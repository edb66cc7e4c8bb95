"""From requests to a published dataset: resume, walk, audit, land, publish. Knows no Airflow."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from queue import SimpleQueue
from typing import Any, Final

from airflow_paginated.operators.progress import Progress, Standing
from airflow_paginated.paging.beyond import lenient
from airflow_paginated.paging.collection import Collection
from airflow_paginated.paging.completeness import Account, Audit
from airflow_paginated.paging.deadline import NEVER, Deadline
from airflow_paginated.paging.errors import (
    Cancelled,
    IncompleteError,
    RequestRefused,
    ResponseError,
    RunTimeout,
)
from airflow_paginated.paging.policies import Completeness, Limits
from airflow_paginated.paging.protocols import Pagination, fitting, totals_of, trimmed_by
from airflow_paginated.paging.strategies import SinglePage
from airflow_paginated.paging.values import Landing, Page, PageRecord, PageRequest, Split
from airflow_paginated.paging.walk import Admit, Fetch, Inbox, Window, landed, walk
from airflow_paginated.sinks.protocol import Dataset
from airflow_paginated.transport import PageClient

log = logging.getLogger(__name__)
GONE: Final = (400, 404, 410, 422)
"""How APIs refuse a cursor that expired."""


@dataclass(slots=True)
class StopSignal:
    """Tells a run to stop: when it is asked to, and when its time is over.

    ``ask`` may be called by a signal handler: it takes no lock that the run could hold.
    """

    deadline: Deadline = NEVER
    """Set once, before the run begins."""
    asked: bool = False
    inbox: Inbox = field(default_factory=SimpleQueue)

    def ask(self) -> None:
        """Stop at the next opportunity."""
        self.asked = True
        self.inbox.put(None)

    def check(self) -> None:
        """Raise ``Cancelled`` when the run was told to stop, ``RunTimeout`` when its time is over."""
        if self.asked:
            raise Cancelled("the run was told to stop")
        self.deadline.check()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """One run: what is collected, by whom, into what."""

    collection: Collection
    client: PageClient
    dataset: Dataset
    workers: int
    window: Window
    completeness: Completeness = field(default_factory=Completeness)
    limits: Limits = field(default_factory=Limits)
    stop: StopSignal = field(default_factory=StopSignal)
    report: Callable[[Standing], None] = lambda standing: log.info("%s", standing)
    published: Callable[[Account], None] = lambda account: None
    """Called when the rows are visible, with what was collected."""

    def run(self) -> Any:
        """Collect what is missing, prove it complete, publish it, and return what the sink returns.

        A dict gets the figures of the run beside its own.
        """
        started = time.monotonic()
        progress = Progress(self.report, self._retries, partitions=self.collection.count(self.stop.check))
        try:
            with self.collection.naming_parameters():
                result = self._collect_and_publish(progress)
        except RunTimeout as exc:
            raise exc.told(f"{exc}; {self._stored(progress)}") from None
        return result | self._figures(progress, started) if isinstance(result, dict) else result

    def _collect_and_publish(self, progress: Progress) -> Any:
        try:
            account = self._collect(progress)
        except IncompleteError:
            # The data changed while it was read: what is stored would fail the next try in the same way.
            self.dataset.discard()
            raise
        self.report(progress.standing())
        self.stop.check()
        account = replace(account, checks=(*account.checks, *self.collection.checks()))
        result = self.dataset.publish(account)
        self.published(account)
        return result

    def _stored(self, progress: Progress) -> str:
        """Say what a try that ends now leaves to the next one."""
        counts = f"{progress.pages} pages with {progress.rows} rows"
        if not self.dataset.keeps:
            return f"{counts} were collected, and are lost: the next try begins anew"
        return f"{counts} are stored, and the next try goes on from there"

    def _collect(self, progress: Progress) -> Account:
        """Collect what is not stored yet."""
        strategy = self.collection.strategy
        self._check_unfinished(strategy, progress)
        with closing(Audit(self.completeness, self.limits, strategy, expected=progress.sets)) as audit:
            for record in self.dataset.records():
                audit.recall(record, self.dataset.lines(record) if audit.keys.asked else None)
                progress.saw(record, resumed=True)
                self.stop.check()
            self._land_all(strategy, audit, progress)
            self._look_beyond(audit, progress)
            return audit.account()

    def _land_all(self, strategy: Pagination, audit: Audit, progress: Progress) -> None:
        total, trim = totals_of(strategy), trimmed_by(strategy)
        walk = self._walk(self._seeds(strategy), strategy, progress, lambda page: audit.admit(trim(page)))
        with closing(walk) as landings:
            for landing in landings:
                record = PageRecord.of(landing, total(landing.page))
                audit.see(record)
                self.dataset.land(record, landing.page.lines)
                progress.saw(record)
                self.stop.check()

    def _look_beyond(self, audit: Audit, progress: Progress) -> None:
        fetch = lenient(self.client.fetch)
        for landing in self._walk(audit.beyond.requests(), SinglePage(), progress, fetch=fetch):
            audit.judge_beyond(landing.page)

    def _seeds(self, strategy: Pagination) -> Iterator[PageRequest]:
        """Yield where each partition goes on: at its first page, or after the newest stored one."""
        for request in self.collection.requests():
            yield from self._open_ends(strategy.first(request))

    def _open_ends(self, first: PageRequest) -> Iterator[PageRequest]:
        last = self.dataset.last(first.partition)
        if last is None:
            yield first
        elif isinstance(last.successor, PageRequest):
            yield last.successor
        elif isinstance(last.successor, Split):
            for part in last.successor.requests:
                yield from self._open_ends(part)

    def _check_unfinished(self, strategy: Pagination, progress: Progress) -> None:
        """Fetch the newest stored page of each open partition again: one that reads otherwise is begun anew."""
        stored = [record.request for record in self.dataset.unfinished()]
        for landing in self._walk(stored, SinglePage(), progress, fitting(trimmed_by(strategy)), self._reread):
            page = landing.page
            last = self.dataset.last(page.request.partition)
            if last is not None and last.sha256 == page.sha256:
                again = landed(page, strategy)
                self.dataset.land(PageRecord.of(again, totals_of(strategy)(page)), page.lines)
            else:
                log.warning(
                    "page %s has changed since it was stored: its partition starts over", page.request.index + 1
                )
                self.dataset.restart(page.request.partition)

    def _reread(self, request: PageRequest) -> Page:
        """Fetch a page that was there once; where it is gone, as with a cursor that expired, it is another page."""
        try:
            return self.client.fetch(request)
        except RequestRefused as exc:
            if exc.status not in GONE:
                raise
        except ResponseError:
            pass
        return Page(request, b"", 0, sha256="")

    def _walk(
        self,
        seeds: Iterable[PageRequest],
        strategy: Pagination,
        progress: Progress,
        admit: Admit = lambda page: page,
        fetch: Fetch | None = None,
    ) -> Generator[Landing, None, None]:
        return walk(
            (replace(seed, sure=True) for seed in seeds),
            fetch or self.client.fetch,
            strategy,
            self.workers,
            self.window,
            admit=admit,
            inbox=self.stop.inbox,
            tick=partial(self._tick, progress),
        )

    def _tick(self, progress: Progress) -> None:
        self.stop.check()
        progress.tick()

    def _retries(self) -> tuple[int, float]:
        return self.client.traffic.retries, self.client.throttled_seconds

    def _figures(self, progress: Progress, started: float) -> dict[str, Any]:
        return {
            "requests": self.client.traffic.requests,
            "retries": self.client.traffic.retries,
            "throttled_seconds": round(self.client.throttled_seconds, 3),
            "seconds": round(time.monotonic() - started, 3),
            "resumed_pages": progress.resumed,
        }
