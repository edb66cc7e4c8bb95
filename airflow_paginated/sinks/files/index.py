"""Where every landed page lies, sorted, in flat memory."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from airflow_paginated.core.errors import StoreError
from airflow_paginated.core.values import PageRecord, PageRequest
from airflow_paginated.sinks.files.frames import Header, Partition, decode, record_of
from airflow_paginated.sinks.files.segments import SegmentId

_INSERT_CHUNK_ROWS: Final = 500
_PLACE: Final = "part, idx, claim, segment, offset, rows, bytes, sha256"
_OPEN, _ENDED, _SPLIT = range(3)
# Nothing here outlives the process, so nothing has to be safe on disk; the cache bounds the memory.
_INDEX_TABLES: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -8192;
CREATE TABLE pages (
    part BLOB, idx INTEGER, claim INTEGER, segment INTEGER, offset INTEGER,
    rows INTEGER, bytes INTEGER, sha256 TEXT, ended INTEGER, line BLOB,
    PRIMARY KEY (part, idx)
) WITHOUT ROWID;
CREATE TABLE newest (part BLOB PRIMARY KEY, idx INTEGER) WITHOUT ROWID;
BEGIN;
"""


class PagePosition(NamedTuple):
    """A page in order: its key, where its rows lie, and what they must be."""

    key: bytes
    segment: SegmentId
    offset: int
    rows: int
    bytes: int
    sha256: str


class PageIndex:
    """One entry for each landed page, the newest frame of it; used by one thread."""

    def __init__(self, base: PageRequest) -> None:
        self._base = base
        # An empty name means a temporary file that nobody else sees and that goes with the connection.
        self._db = sqlite3.connect("", isolation_level=None, cached_statements=32)
        self._db.executescript(_INDEX_TABLES)
        self._execute = self._db.cursor().execute

    def put(self, header: Header, line: bytes, segment: SegmentId, offset: int) -> None:
        """Note a page; it takes the place of an older frame of the same page."""
        values = (
            _key(header.partition),
            header.index,
            segment.claim,
            segment.number,
            offset,
            header.rows,
            header.bytes,
            header.sha256,
            _OPEN if header.successor is not None else _ENDED if header.split is None else _SPLIT,
            line,
        )
        try:
            self._execute("INSERT OR REPLACE INTO pages VALUES (?,?,?,?,?,?,?,?,?,?)", values)
        except sqlite3.Error as error:
            raise StoreError(f"cannot note a page in the temporary folder: {error}") from error

    def cut(self, partition: Partition, index: int, claim: int) -> None:
        """Forget what earlier claims know of a partition beyond a page: ``claim`` went on from there by itself."""
        self._execute("DELETE FROM pages WHERE part = ? AND idx > ? AND claim < ?", (_key(partition), index, claim))

    def restart(self, partition: Partition) -> None:
        """Forget a partition."""
        self._execute("DELETE FROM pages WHERE part = ?", (_key(partition),))

    def clear(self) -> None:
        """Forget everything."""
        self._execute("DELETE FROM pages")

    def sums(self) -> tuple[int, int, int]:
        """Return the number of pages, their rows and their bytes."""
        found: tuple[int, int, int] = self._db.execute(
            "SELECT count(*), coalesce(sum(rows), 0), coalesce(sum(bytes), 0) FROM pages"
        ).fetchone()
        return found

    def gapped(self) -> list[Partition]:
        """Return the partitions that lack a page before the newest one, or the page that was split into them."""
        found = self._db.execute(
            "SELECT part FROM pages GROUP BY part HAVING count(*) != max(idx) + 1 OR length(part) > ?1"
            " AND substr(part, 1, length(part) - ?1) NOT IN (SELECT part FROM pages WHERE ended = ?2)",
            (len(_number(0)), _SPLIT),
        )
        return [_partition(part) for (part,) in found]

    def unfinished(self) -> Iterator[PageRecord]:
        """Yield the newest page of each partition whose end is not known, as things are at the first one."""
        self._db.execute("DELETE FROM newest")
        self._db.execute(
            "INSERT INTO newest SELECT part, idx FROM (SELECT part, max(idx) AS idx, ended FROM pages GROUP BY part)"
            " WHERE NOT ended"
        )
        return self._records(
            "SELECT part, idx, line FROM newest JOIN pages USING (part, idx)"
            " WHERE (part, idx) > (?, ?) ORDER BY part, idx LIMIT ?"
        )

    def records(self) -> Iterator[PageRecord]:
        """Yield all pages in order."""
        return self._records("SELECT part, idx, line FROM pages WHERE (part, idx) > (?, ?) ORDER BY part, idx LIMIT ?")

    def last(self, partition: Partition) -> PageRecord | None:
        """Return the newest page of a partition."""
        found = self._db.execute(
            "SELECT line FROM pages WHERE part = ? ORDER BY idx DESC LIMIT 1", (_key(partition),)
        ).fetchone()
        return self._record(found[0]) if found else None

    def places(self) -> Iterator[PagePosition]:
        """Yield where all pages lie, in order; nothing may be changed meanwhile."""
        for found in self._db.execute(f"SELECT {_PLACE} FROM pages ORDER BY part, idx"):  # noqa: S608  # a constant
            yield _place(*found)

    def place(self, partition: Partition, index: int) -> PagePosition:
        """Return where one page lies. Raises ``KeyError`` for one that is not there."""
        found = self._db.execute(
            f"SELECT {_PLACE} FROM pages WHERE part = ? AND idx = ?",  # noqa: S608  # a constant
            (_key(partition), index),
        ).fetchone()
        if found is None:
            raise KeyError((partition, index))
        return _place(*found)

    def lines(self) -> Iterator[bytes]:
        """Yield the header lines of all pages, in order; nothing may be changed meanwhile."""
        for (line,) in self._db.execute("SELECT line FROM pages ORDER BY part, idx"):
            yield line

    def close(self) -> None:
        """Delete the index."""
        self._db.close()

    def _records(self, query: str) -> Iterator[PageRecord]:
        # Chunk by chunk: between two of them the caller may store pages.
        part, idx = b"", -1
        while found := self._db.execute(query, (part, idx, _INSERT_CHUNK_ROWS)).fetchall():
            for part, idx, line in found:  # noqa: B007  # the last ones are where the next chunk begins
                yield self._record(line)

    def _record(self, line: bytes) -> PageRecord:
        header = decode(line)
        assert header is not None, "only sound headers are put"  # noqa: S101  # for mypy: an invariant of this class
        return record_of(header, self._base)


def _place(part: bytes, idx: int, claim: int, segment: int, *rest: Any) -> PagePosition:
    return PagePosition(part + _number(idx), SegmentId(claim, segment), *rest)


_number: Final = struct.Struct(">Q").pack


def _key(partition: Partition) -> bytes:
    """Return a key that sorts as the partition does."""
    return b"".join(map(_number, partition))


def _partition(key: bytes) -> Partition:
    return struct.unpack(f">{len(key) // 8}Q", key)
