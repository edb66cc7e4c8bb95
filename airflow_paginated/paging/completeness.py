"""The fold between walk and sink that proves the collection complete, or refuses it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from airflow_paginated.paging.errors import IncompleteError, NothingCollected
from airflow_paginated.paging.policies import Completeness
from airflow_paginated.paging.values import PageRecord, Stop, Total

Verdict: TypeAlias = Literal["passed", "waived", "unverified"]

REMEMBERED_PAGES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Check:
    """One question asked of a collection, its verdict, and the figures behind it."""

    name: str
    verdict: Verdict
    evidence: str


@dataclass(frozen=True, slots=True)
class Account:
    """What a finished collection adds up to."""

    partitions: int
    pages: int
    rows: int
    bytes: int
    stop_reason: str
    checks: tuple[Check, ...]

    @property
    def complete(self) -> bool:
        """Say whether no check was waived."""
        return all(check.verdict != "waived" for check in self.checks)


@dataclass(slots=True)
class _Tally:
    """One open partition, so far."""

    pages: int = 0
    rows: int = 0
    total: Total | None = None


@dataclass(slots=True)
class Audit:
    """Sees the record of every page, in order within its partition; changed by the caller's thread only.

    Raises ``IncompleteError`` at the first page that cannot be right, and from ``account`` when the sum is not.
    """

    policy: Completeness
    sample_pages: int | None = None
    partitions: int = 0
    pages: int = 0
    rows: int = 0
    bytes: int = 0
    stop_reason: str = "no pages"
    _open: dict[tuple[int, ...], _Tally] = field(default_factory=dict)
    _waived: dict[str, str] = field(default_factory=dict)
    _totals: int = 0
    _row_totals: int = 0
    _followed: int = 0
    _seen: set[int] = field(default_factory=set)
    _seen_order: deque[int] = field(default_factory=deque)

    def see(self, record: PageRecord) -> None:
        """Count one page and ask all that can be asked of it at this point."""
        partition = record.request.partition
        tally = self._open.setdefault(partition, _Tally())
        if record.request.index != tally.pages:
            raise IncompleteError(f"{_name(record)} came where page {tally.pages + 1} was due")
        self._check_repeat(record)
        self._check_total_change(record, tally)
        tally.pages += 1
        tally.rows += record.rows
        tally.total = record.total or tally.total
        self.pages += 1
        self.rows += record.rows
        self.bytes += record.bytes
        if isinstance(record.successor, Stop):
            self._close(partition, tally, record.successor)

    def account(self) -> Account:
        """Return the sum of a finished collection with all verdicts."""
        if self._open:
            raise IncompleteError(f"{len(self._open)} partitions have no end yet")
        if self.rows < self.policy.min_rows:
            raise IncompleteError(
                f"{self.rows} rows were collected, completeness.min_rows asks for {self.policy.min_rows}"
            )
        if not self.rows and self.policy.on_empty != "ok":
            kind = IncompleteError if self.policy.on_empty == "fail" else NothingCollected
            raise kind(f"no rows were collected, and completeness.on_empty is {self.policy.on_empty!r}")
        return Account(self.partitions, self.pages, self.rows, self.bytes, self.stop_reason, tuple(self._checks()))

    def _close(self, partition: tuple[int, ...], tally: _Tally, stop: Stop) -> None:
        del self._open[partition]
        self.partitions += 1
        self.stop_reason = stop.why
        if tally.total is None:
            return
        self._totals += 1
        self._row_totals += tally.total.kind == "items"
        # The first page is asked for even where the API then says that there are none.
        pages = tally.pages if tally.total.count else min(tally.pages, tally.rows)
        got = tally.rows if tally.total.kind == "items" else pages
        if got != tally.total.count and self.sample_pages is None:
            self._differ(
                "rows_equal_total",
                self.policy.on_total_change == "warn",
                f"partition {_path(partition)} has {got} {tally.total.kind}, the API declares {tally.total.count}",
            )

    def _check_repeat(self, record: PageRecord) -> None:
        if not record.rows:
            return
        mark = hash((record.request.partition, record.sha256))
        if mark in self._seen:
            self._differ(
                "no_page_repeats",
                self.policy.on_repeat == "allow",
                f"{_name(record)} has the same rows as an earlier page; does the API ignore the"
                " paging parameters? If such pages are right, set completeness.on_repeat='allow'",
            )
            return
        self._seen.add(mark)
        self._seen_order.append(mark)
        if len(self._seen_order) > REMEMBERED_PAGES:
            self._seen.discard(self._seen_order.popleft())

    def _check_total_change(self, record: PageRecord, tally: _Tally) -> None:
        if not tally.total or not record.total or tally.total == record.total:
            return
        if self.policy.on_total_change == "extend":
            self._followed += 1
        else:
            self._differ(
                "total_is_stable",
                self.policy.on_total_change == "warn",
                f"{_name(record)} declares {record.total.count} {record.total.kind}, an earlier page"
                f" {tally.total.count}; for a table that grows while it is read, set"
                " completeness.on_total_change='extend'",
            )

    def _differ(self, check: str, waived: bool, evidence: str) -> None:
        if not waived:
            raise IncompleteError(f"{evidence} (check {check})")
        self._waived.setdefault(check, evidence)

    def _checks(self) -> list[Check]:
        if self.sample_pages is not None:
            self._waived["every_partition_ended"] = f"limits.sample_pages={self.sample_pages}"
        verdict: Callable[[str, bool, str], Check] = self._check
        summed = self.sample_pages is None and 0 < self._row_totals == self.partitions
        known = f"{self._totals} of {self.partitions} partitions declare a total"
        return [
            verdict("every_partition_ended", True, f"{self.partitions} partitions, last: {self.stop_reason}"),
            verdict("every_page_once", True, f"{self.pages} pages, numbered without a gap"),
            verdict("no_page_repeats", True, f"among the newest {REMEMBERED_PAGES} pages"),
            verdict("total_is_stable", self._totals > 0 and not self._followed, f"{known}, {self._followed} changes"),
            verdict("rows_equal_total", summed, f"{self.rows} rows; {known}"),
            verdict("min_rows", True, f"{self.rows} rows, at least {self.policy.min_rows}"),
        ]

    def _check(self, name: str, asked: bool, evidence: str) -> Check:
        if name in self._waived:
            return Check(name, "waived", self._waived[name])
        return Check(name, "passed" if asked else "unverified", evidence)


def _path(partition: tuple[int, ...]) -> str:
    return ".".join(str(step) for step in partition)


def _name(record: PageRecord) -> str:
    return f"page {record.request.index + 1} of partition {_path(record.request.partition)}"
