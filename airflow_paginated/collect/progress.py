"""Periodic progress reports of a collection."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from airflow_paginated.core.values import PageRecord, PageRequest, Split

REPORT_INTERVAL_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class ProgressSnapshot:
    """The progress at one moment. ``planned`` is ``None`` while the number of pages is unknown."""

    pages: int
    planned: int | None
    rows: int
    seconds: float
    retries: int
    throttled_seconds: float
    resumed: int = 0

    def __str__(self) -> str:
        planned = "" if self.planned is None else f" of {self.planned}"
        line = f"{self.pages}{planned} pages, {self.rows} rows"
        fresh = self.pages - self.resumed
        if self.seconds > 0 and fresh > 0:
            line += f", {self.rows / self.pages * fresh / self.seconds:.0f} rows/s"
        line += f", {self.retries} retries, {self.throttled_seconds:.1f} s throttled"
        if self.planned is not None and fresh > 0 and self.planned > self.pages:
            line += f", about {self.seconds / fresh * (self.planned - self.pages):.0f} s left"
        return line


@dataclass(slots=True)
class Progress:
    """Counts pages and calls ``report`` once per interval at most; changed by the caller's thread only."""

    report: Callable[[ProgressSnapshot], None]
    traffic: Callable[[], tuple[int, float]]
    """Returns the retries and the throttled seconds so far."""
    partitions: int = 1
    interval_seconds: float = REPORT_INTERVAL_SECONDS
    clock: Callable[[], float] = time.monotonic
    pages: int = 0
    rows: int = 0
    resumed: int = 0
    initial_partitions: int = field(init=False)
    """The number of partitions before any split."""
    _started: float = 0.0
    _next: float = 0.0
    _closed: int = 0
    _closed_pages: int = 0
    _planned: dict[tuple[int, ...], tuple[int, int]] = field(default_factory=dict)
    """The planned pages of each open partition, and the row count of its fullest page."""

    def __post_init__(self) -> None:
        self.initial_partitions = self.partitions
        self._started = self.clock()
        self._next = self._started + self.interval_seconds

    def add_page(self, record: PageRecord, resumed: bool = False) -> None:
        """Count a page."""
        self.pages += 1
        self.rows += record.rows
        self.resumed += resumed
        partition = record.request.partition
        if not isinstance(record.successor, PageRequest):
            self._planned.pop(partition, None)
            self._closed += 1
            self._closed_pages += record.request.index + 1
            self.partitions += len(record.successor.requests) if isinstance(record.successor, Split) else 0
        elif record.total is not None:
            _, fullest = self._planned.get(partition, (0, 0))
            fullest = max(fullest, record.rows)
            count = record.total.count
            planned = count if record.total.kind == "pages" else -(-count // fullest) if fullest else 0
            self._planned[partition] = (planned, fullest)
        self.tick()

    def tick(self) -> None:
        """Report if the interval has passed."""
        now = self.clock()
        if now >= self._next:
            self._next = now + self.interval_seconds
            self.report(self.snapshot())

    def snapshot(self) -> ProgressSnapshot:
        """Return the current progress."""
        retries, throttled = self.traffic()
        known = self._closed + len(self._planned) >= self.partitions
        planned = self._closed_pages + sum(pages for pages, _ in self._planned.values()) if known else None
        seconds = self.clock() - self._started
        return ProgressSnapshot(self.pages, planned, self.rows, seconds, retries, throttled, self.resumed)
