"""The collecting loop: fetch pages, prove them complete, store and publish them. Does not depend on Airflow."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from airflow_paginated.collect.audit import Audit
from airflow_paginated.collect.collection import Collection
from airflow_paginated.collect.progress import Progress, ProgressSnapshot
from airflow_paginated.collect.rechecks import tolerate_absence
from airflow_paginated.collect.scheduler import Admit, Fetch, Inbox, Window, fetch_in_order, resolve_next
from airflow_paginated.core.deadline import NEVER, Deadline
from airflow_paginated.core.errors import Cancelled, IncompleteError, RequestRefused, ResponseError, RunTimeout
from airflow_paginated.core.policies import Completeness, Limits
from airflow_paginated.core.values import CollectionReport, OrderedPage, Page, PageRecord, PageRequest, Split
from airflow_paginated.pagination import SinglePage
from airflow_paginated.pagination.protocols import Pagination, fitting, totals_of, trimmed_by
from airflow_paginated.sinks.protocol import Dataset

if TYPE_CHECKING:
    from airflow_paginated.transport.client import PageClient

log = logging.getLogger(__name__)

EXPIRED_CURSOR_STATUSES: Final = (400, 404, 410, 422)
"""How APIs refuse an expired cursor."""


@dataclass(slots=True)
class StopSignal:
    """Stops a run on request, or when its deadline has passed.

    A signal handler may call ``request``: it takes no lock that the run could hold.
    """

    deadline: Deadline = NEVER
    """Set once, before the run begins."""
    requested: bool = False
    inbox: Inbox = field(default_factory=SimpleQueue)

    def request(self) -> None:
        """Stop the run at the next opportunity."""
        self.requested = True
        self.inbox.put(None)

    def check(self) -> None:
        """Raise ``Cancelled`` after a request, ``RunTimeout`` after the deadline."""
        if self.requested:
            raise Cancelled("the run was told to stop")
        self.deadline.check()


@dataclass(slots=True, kw_only=True)
class Collector:
    """Runs one collection. Used by one thread.

    With a ``dataset``, every page is stored as it arrives, and a later try resumes from there; without one, pages are
    only yielded.
    """

    collection: Collection
    client: PageClient
    workers: int
    window: Window
    completeness: Completeness = field(default_factory=Completeness)
    limits: Limits = field(default_factory=Limits)
    dataset: Dataset | None = None
    stop: StopSignal = field(default_factory=StopSignal)
    report: Callable[[ProgressSnapshot], None] = lambda snapshot: log.info("%s", snapshot)
    published: Callable[[CollectionReport], None] = lambda report: None
    """Called with the report once the rows are visible."""
    progress: Progress = field(init=False)

    def __post_init__(self) -> None:
        self.progress = Progress(self.report, self._retries)

    def run(self) -> Any:
        """Collect the missing pages, prove the collection complete, publish it, and return the dataset's result.

        If the result is a dict, it also gets the run's statistics.
        """
        assert self.dataset is not None, "only a dataset can be published"  # noqa: S101  # for mypy
        started = time.monotonic()
        try:
            report = self._drain()
            self.report(self.progress.snapshot())
            self.stop.check()
            with self.collection.naming_parameters():
                report = replace(report, checks=(*report.checks, *self.collection.checks()))
                result = self.dataset.publish(report)
            self.published(report)
        except RunTimeout as exc:
            raise exc.with_message(f"{exc}; {self._stored(self.dataset)}") from None
        return result | self._statistics(started) if isinstance(result, dict) else result

    def pages(self) -> Generator[Page, None, CollectionReport]:
        """Fetch and yield every page that is not stored yet, in order within its partition.

        Returns the report of all pages, including those that an earlier try stored. Raises if a page fails in every
        attempt, and at the end if the pages do not add up.
        """
        strategy = self.collection.strategy
        trim = trimmed_by(strategy)
        self.progress = Progress(self.report, self._retries, partitions=self.collection.count(self.stop.check))
        audit = Audit(self.completeness, self.limits, strategy, expected=self.progress.initial_partitions)
        with self.collection.naming_parameters(), closing(audit):
            if self.dataset is not None:
                self._check_unfinished(self.dataset, strategy)
                self._restore(self.dataset, audit)
            running = self._fetch_in_order(self._seeds(strategy), strategy, lambda page: audit.admit(trim(page)))
            with closing(running):
                for ordered in running:
                    record = PageRecord.of(ordered, ordered.page.total)
                    audit.add_page(record)
                    if self.dataset is not None:
                        self.dataset.store_page(record, ordered.page.lines)
                    self.progress.add_page(record)
                    yield ordered.page
                    self.stop.check()
            probe = tolerate_absence(self.client.fetch)
            for ordered in self._fetch_in_order(audit.past_end.requests(), SinglePage(), fetch=probe):
                audit.check_past_end(ordered.page)
            return audit.report()

    def _drain(self) -> CollectionReport:
        pages = self.pages()
        try:
            while True:
                next(pages)
        except StopIteration as done:
            report: CollectionReport = done.value
            return report
        except IncompleteError:
            # The data changed while it was read: with the stored pages, the next try would fail again.
            if self.dataset is not None:
                self.dataset.discard()
            raise

    def _stored(self, dataset: Dataset) -> str:
        """Describe what the next try can resume from."""
        counts = f"{self.progress.pages} pages with {self.progress.rows} rows"
        if not dataset.keeps:
            return f"{counts} were collected and are lost: the next try starts over"
        return f"{counts} are stored, and the next try resumes from there"

    def _restore(self, dataset: Dataset, audit: Audit) -> None:
        """Add the pages that earlier tries stored to the audit and the progress."""
        for record in dataset.records():
            audit.restore(record, dataset.lines(record) if audit.keys.active else None)
            self.progress.add_page(record, resumed=True)
            self.stop.check()

    def _seeds(self, strategy: Pagination) -> Iterator[PageRequest]:
        """Yield the request that each partition resumes with: its first, or the one after its newest stored page."""
        for request in self.collection.requests():
            yield from self._resume_points(strategy.first(request))

    def _resume_points(self, first: PageRequest) -> Iterator[PageRequest]:
        last = None if self.dataset is None else self.dataset.last(first.partition)
        if last is None:
            yield first
        elif isinstance(last.successor, PageRequest):
            yield last.successor
        elif isinstance(last.successor, Split):
            for part in last.successor.requests:
                yield from self._resume_points(part)

    def _check_unfinished(self, dataset: Dataset, strategy: Pagination) -> None:
        """Fetch the newest stored page of each open partition again; if it differs, the partition starts over."""
        stored = [record.request for record in dataset.unfinished()]
        for ordered in self._fetch_in_order(stored, SinglePage(), fitting(trimmed_by(strategy)), self._reread):
            page = ordered.page
            last = dataset.last(page.request.partition)
            if last is not None and last.sha256 == page.sha256:
                again = resolve_next(page, strategy)
                dataset.store_page(PageRecord.of(again, totals_of(strategy)(page)), page.lines)
            else:
                log.warning(
                    "page %s has changed since it was stored: its partition starts over", page.request.index + 1
                )
                dataset.restart(page.request.partition)

    def _reread(self, request: PageRequest) -> Page:
        """Fetch a stored page again; if it is gone, for example with an expired cursor, return a page that differs."""
        try:
            return self.client.fetch(request)
        except RequestRefused as exc:
            if exc.status not in EXPIRED_CURSOR_STATUSES:
                raise
        except ResponseError:
            pass
        return Page(request, b"", 0, sha256="")

    def _fetch_in_order(
        self,
        seeds: Iterable[PageRequest],
        strategy: Pagination,
        admit: Admit = lambda page: page,
        fetch: Fetch | None = None,
    ) -> Generator[OrderedPage, None, None]:
        return fetch_in_order(
            (replace(seed, sure=True) for seed in seeds),
            fetch or self.client.fetch,
            strategy,
            self.workers,
            self.window,
            admit=admit,
            inbox=self.stop.inbox,
            on_idle=self._tick,
        )

    def _tick(self) -> None:
        self.stop.check()
        self.progress.tick()

    def _retries(self) -> tuple[int, float]:
        return self.client.traffic.retries, self.client.throttled_seconds

    def _statistics(self, started: float) -> dict[str, Any]:
        return {
            "requests": self.client.traffic.requests,
            "retries": self.client.traffic.retries,
            "throttled_seconds": round(self.client.throttled_seconds, 3),
            "seconds": round(time.monotonic() - started, 3),
            "resumed_pages": self.progress.resumed,
        }
