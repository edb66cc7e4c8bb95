"""The proof that a collection is complete: every page is checked between the scheduler and the sink."""

from __future__ import annotations

import builtins
from dataclasses import dataclass, field, replace

from airflow_paginated.collect.duplicates import DuplicateKeyCheck, RepeatedPageCheck
from airflow_paginated.collect.rechecks import PastEndProbe
from airflow_paginated.core.errors import IncompleteError, LimitExceeded, NothingCollected, PaginatedApiError
from airflow_paginated.core.policies import Completeness, Limits
from airflow_paginated.core.values import Check, CollectionReport, Page, PageRecord, Split, Stop, Total
from airflow_paginated.pagination.protocols import Pagination, totals_of
from airflow_paginated.pagination.single_page import SinglePage


@dataclass(slots=True)
class _Tally:
    """The counts of one open partition."""

    pages: int = 0
    rows: int = 0
    total: Total | None = None
    ignored: int = 0


@dataclass(slots=True)
class Audit:
    """Checks the record of every page, in order within its partition; changed by the caller's thread only.

    ``add_page`` raises ``IncompleteError`` for the first wrong page and ``LimitExceeded`` for more pages or rows than
    allowed; ``report`` raises ``IncompleteError`` for wrong sums.
    """

    policy: Completeness
    limits: Limits = field(default_factory=Limits)
    strategy: Pagination = field(default_factory=SinglePage)
    """The strategy that collects the pages; it may be able to probe past the end."""
    partitions: int = 0
    pages: int = 0
    rows: int = 0
    bytes: int = 0
    expected: int | None = None
    """The number of parameter sets, if known."""
    stop_reason: str = "no pages"
    _open: dict[tuple[int, ...], _Tally] = field(default_factory=dict)
    _ended: int = 0
    """Parameter sets whose partition has ended or was split."""
    _waived: dict[str, str] = field(default_factory=dict)
    _totals: int = 0
    _row_totals: int = 0
    _followed: int = 0
    _ignored: int = 0
    _splits: dict[tuple[int, ...], _Tally] = field(default_factory=dict)
    """Split partitions: the total that each declared, and the rows of its parts."""
    past_end: PastEndProbe = field(init=False)
    keys: DuplicateKeyCheck = field(init=False)
    _repeats: RepeatedPageCheck = field(init=False)

    def __post_init__(self) -> None:
        self.past_end = PastEndProbe(self.strategy, self.policy)
        self.keys = DuplicateKeyCheck(self.policy)
        self._repeats = RepeatedPageCheck(self.policy)

    def admit(self, page: Page) -> Page:
        """Check a page before its successor is resolved, and return it without the rows to drop."""
        page = self._repeats.admit(page)
        return page if page.end is not None else self.keys.admit(page)

    def restore(self, record: PageRecord, lines: builtins.bytes | None = None) -> None:
        """Count a page that an earlier try stored; ``lines`` are required only if ``keys.active``."""
        self._repeats.remember(record)
        self.add_page(record, lines)

    def close(self) -> None:
        """Release the temporary files."""
        self._repeats.close()
        self.keys.close()

    def check_past_end(self, page: Page) -> None:
        """Check the response to one of ``past_end.requests()``; raise if it shows that rows are missing."""
        try:
            self.past_end.check(page, totals_of(self.strategy)(page))
        except PaginatedApiError as exc:
            exc.partition = page.request.partition
            raise

    def add_page(self, record: PageRecord, restored_lines: builtins.bytes | None = None) -> None:
        """Count a page and check it against the earlier ones."""
        try:
            if restored_lines is not None:
                self.keys.admit(Page(record.request, restored_lines, record.rows, record.sha256))
            self._add_page(record)
        except PaginatedApiError as exc:
            exc.partition = record.request.partition
            raise

    def _add_page(self, record: PageRecord) -> None:
        partition = record.request.partition
        tally = self._open.setdefault(partition, _Tally())
        if record.request.index != tally.pages:
            raise IncompleteError(f"{record.request.name} arrived where page {tally.pages + 1} was expected")
        self._check_total_change(record, tally)
        tally.pages += 1
        tally.rows += record.rows
        tally.total = record.total or tally.total
        self.pages += 1
        self.rows += record.rows
        self.bytes += record.bytes
        self._check_limits()
        if record.ignored:
            tally.ignored += 1
            self._ignored += 1
            self._waived.setdefault("no_page_ignored", f"{record.request.name} is the first ignored page")
        if isinstance(record.successor, Stop):
            self.past_end.note_last_page(record)
            self._close(partition, tally, record.successor)
        elif isinstance(record.successor, Split):
            self._split(partition, tally)

    def report(self) -> CollectionReport:
        """Return the counts and check verdicts of a finished collection."""
        if self._open:
            raise IncompleteError(f"{len(self._open)} partitions have not ended")
        if self.expected is not None and self._ended != self.expected:
            raise IncompleteError(f"{self._ended} of {self.expected} parameter sets were collected")
        if self.rows < self.policy.min_rows:
            raise IncompleteError(
                f"{self.rows} rows were collected, completeness.min_rows requires {self.policy.min_rows}"
            )
        self._check_splits()
        self._repeats.check_partitions()
        if not self.rows and self.policy.on_empty != "ok":
            kind = IncompleteError if self.policy.on_empty == "fail" else NothingCollected
            raise kind(f"no rows were collected, and completeness.on_empty is {self.policy.on_empty!r}")
        return CollectionReport(
            self.partitions, self.pages, self.rows, self.bytes, self.stop_reason, tuple(self._checks())
        )

    def _split(self, partition: tuple[int, ...], tally: _Tally) -> None:
        del self._open[partition]
        self._ended += len(partition) == 1
        self._repeats.forget(partition)
        if tally.total is not None:
            self._splits[partition] = replace(tally, rows=0)

    def _close(self, partition: tuple[int, ...], tally: _Tally, stop: Stop) -> None:
        del self._open[partition]
        self._ended += len(partition) == 1
        self._repeats.forget(partition)
        self.partitions += 1
        self.stop_reason = stop.why
        for length in range(1, len(partition)) if self._splits else ():
            if partition[:length] in self._splits:
                self._splits[partition[:length]].rows += tally.rows
                self._splits[partition[:length]].ignored += tally.ignored
        if tally.total is None:
            return
        self._totals += 1
        self._row_totals += tally.total.kind == "items"
        # The first page is fetched even if the API then declares a total of 0 pages.
        pages = tally.pages if tally.total.count else min(tally.pages, tally.rows)
        got = tally.rows if tally.total.kind == "items" else pages
        if got != tally.total.count and self.limits.sample_pages is None:
            self._report_difference(
                "rows_equal_total",
                self._tolerates(tally, got),
                f"partition {_path(partition)} has {got} {tally.total.kind}, the API declares {tally.total.count}",
                "; if its total is not exact, set total_is='hint' and another stop rule",
            )

    def _tolerates(self, tally: _Tally, got: int) -> bool:
        """Return whether the policy, or a page that was ignored, permits a count other than the total."""
        lacking = tally.total is not None and got < tally.total.count
        return self.policy.on_total_change == "warn" or (lacking and tally.ignored > 0)

    def _check_limits(self) -> None:
        for name, got in (("max_pages", self.pages), ("max_rows", self.rows)):
            most = getattr(self.limits, name)
            if most is not None and got > most:
                raise LimitExceeded(
                    f"{got} {name.removeprefix('max_')} were collected, limits.{name} is {most}: raise it or narrow the"
                    " query"
                )

    def _check_total_change(self, record: PageRecord, tally: _Tally) -> None:
        if not tally.total or not record.total or tally.total == record.total:
            return
        evidence = (
            f"{record.request.name} declares {record.total.count} {record.total.kind}, an earlier page"
            f" {tally.total.count}"
        )
        policy = self.policy.on_total_change
        if policy == "extend":
            self._followed += 1
        elif policy == "warn":
            self._waived.setdefault("total_is_stable", evidence)
        else:
            raise IncompleteError(
                f"{evidence}; for a table that grows while it is read, set completeness.on_total_change='extend'"
                " (check total_is_stable)"
            )

    def _check_splits(self) -> None:
        """Compare each split range with the sum of its parts: rows on a border may be counted twice, or not at all."""
        for partition, tally in sorted(self._splits.items() if self.limits.sample_pages is None else ()):
            assert tally.total is not None, "only partitions with a total are kept"  # noqa: S101  # for mypy
            if tally.rows > tally.total.count and self.policy.on_total_change == "extend":
                self._followed += 1
            elif tally.rows != tally.total.count:
                self._report_difference(
                    "rows_equal_total",
                    self._tolerates(tally, tally.rows),
                    f"the slices of partition {_path(partition)} have {tally.rows} rows, the API declares"
                    f" {tally.total.count} for the whole; is the end of a range inclusive (to_inclusive), or does"
                    " the API count no further (max_rows)?",
                )

    def _report_difference(self, check: str, waived: bool, evidence: str, advice: str = "") -> None:
        if not waived:
            raise IncompleteError(f"{evidence}{advice} (check {check})")
        self._waived.setdefault(check, evidence)

    def _checks(self) -> list[Check]:
        if self._repeats.waived:
            self._waived["no_page_repeats"] = self._repeats.waived
        if self.keys.waived:
            self._waived["unique_key"] = self.keys.waived
        if self.past_end.waived:
            self._waived["nothing_beyond_total"] = self.past_end.waived
        if self.limits.sample_pages is not None:
            self._waived["every_partition_ended"] = f"limits.sample_pages={self.limits.sample_pages}"
        verdict, past_end = self._verdict, self.past_end
        summed = self.limits.sample_pages is None and 0 < self._row_totals == self.partitions
        known = f"{self._totals} of {self.partitions} partitions declare a total"
        return [
            verdict("every_partition_ended", True, f"{self.partitions} partitions, last: {self.stop_reason}"),
            verdict("every_page_once", True, f"{self.pages} pages, numbered without gaps"),
            verdict("no_page_repeats", True, f"no repeats in {self.pages} pages"),
            verdict("unique_key", self.keys.active, f"{self.keys.rows} rows, {self.keys.duplicates} duplicates"),
            verdict("no_page_ignored", True, f"{self._ignored} pages ignored"),
            verdict("total_is_stable", self._totals > 0 and not self._followed, f"{known}, {self._followed} changes"),
            verdict("rows_equal_total", summed, f"{self.rows} rows; {known}"),
            verdict(
                "nothing_beyond_total",
                self.policy.probe_past_end and past_end.probed == past_end.candidates and not past_end.inconclusive,
                f"probed past {past_end.probed} of {past_end.candidates} full last pages; {past_end.inconclusive}"
                " inconclusive",
            ),
            verdict(
                "pages_overlap", self.policy.overlap > 0, f"consecutive pages overlap by {self.policy.overlap} rows"
            ),
            verdict("min_rows", True, f"{self.rows} rows, at least {self.policy.min_rows}"),
        ]

    def _verdict(self, name: str, verified: bool, evidence: str) -> Check:
        if name in self._waived:
            return Check(name, "waived", self._waived[name])
        return Check(name, "passed" if verified else "unverified", evidence)


def _path(partition: tuple[int, ...]) -> str:
    return ".".join(str(step) for step in partition)
