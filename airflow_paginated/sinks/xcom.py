"""Rows as the task's return value, for small results."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec

from airflow_paginated.core.errors import LimitExceeded
from airflow_paginated.core.values import CollectionReport, Json, PageRecord, PageRequest
from airflow_paginated.sinks.protocol import Run
from airflow_paginated.sinks.rows import RowFunctions, RowOrigin


class XComSink:
    """Returns the rows as a list of decoded values; fails as soon as they exceed ``limits.xcom_bytes``."""

    def open(self, run: Run) -> XComDataset:
        """Begin a collection in memory."""
        return XComDataset(run.xcom_bytes, run.rows)

    def __repr__(self) -> str:
        return "XComSink()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, XComSink)

    def __hash__(self) -> int:
        return hash(XComSink)


class XComDataset:
    """Implements ``Dataset`` in memory."""

    keeps = False

    def __init__(self, limit: int, rows: RowFunctions = RowFunctions()) -> None:  # noqa: B008  # a frozen value
        self._limit = limit
        self._rows = rows
        self._bytes = 0
        self._pages: dict[tuple[tuple[int, ...], int], tuple[PageRecord, bytes, float]] = {}

    def unfinished(self) -> Iterator[PageRecord]:
        """Yield the newest page of each partition whose end is not stored."""
        newest = {record.request.partition: record for record in self.records()}
        yield from (record for record in newest.values() if isinstance(record.successor, PageRequest))

    def records(self) -> Iterator[PageRecord]:
        """Yield every page, sorted by partition and index."""
        for key in sorted(self._pages):
            yield self._pages[key][0]

    def lines(self, record: PageRecord) -> bytes:
        """Return the rows of a page."""
        return self._pages[record.request.partition, record.request.index][1]

    def last(self, partition: tuple[int, ...]) -> PageRecord | None:
        """Return the newest page of a partition."""
        index = max((index for part, index in self._pages if part == partition), default=None)
        return None if index is None else self._pages[partition, index][0]

    def store_page(self, record: PageRecord, lines: bytes) -> None:
        """Store a page.

        Raises ``LimitExceeded`` once all rows together exceed the limit.
        """
        key = record.request.partition, record.request.index
        self._bytes += len(lines) - len(self._pages[key][1] if key in self._pages else b"")
        self._pages[key] = record, lines, time.time()
        if self._bytes > self._limit:
            rows = sum(kept.rows for kept, *_ in self._pages.values())
            raise LimitExceeded(
                f"the first {rows} rows have {self._bytes} bytes, more than the {self._limit} allowed in an XCom "
                'result (limits.xcom_bytes): write files instead, with sink=FileSink("...")'
            )

    def restart(self, partition: tuple[int, ...]) -> None:
        """Forget a partition."""
        for key in [key for key in self._pages if key[0] == partition]:
            self._bytes -= len(self._pages.pop(key)[1])

    def publish(self, report: CollectionReport) -> list[Json]:
        """Return all rows in the order of partition, page and row."""
        decoder = msgspec.json.Decoder()
        return [row for key in sorted(self._pages) for row in decoder.decode_lines(self._published(*self._pages[key]))]

    def _published(self, record: PageRecord, lines: bytes, at: float) -> bytes:
        origin = RowOrigin(record.request.partition, record.request.index, at)
        return b"\n".join(self._rows.apply(lines, origin)) if self._rows else lines

    def discard(self) -> None:
        """Forget everything."""
        self._pages.clear()
        self._bytes = 0

    def close(self) -> None:
        """Forget everything."""
        self.discard()
