"""The position of every stored page, sorted, in flat memory."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from airflow_paginated.core.errors import StoreError
from airflow_paginated.core.values import PageRecord, PageRequest
from airflow_paginated.sinks.files.frames import Header, Partition, decode, record_of
from airflow_paginated.sinks.files.segments import SegmentId

_INSERT_CHUNK_ROWS: Final = 500
_PLACE: Final = "part, idx, claim, segment, offset, rows, bytes, sha256"
_OPEN, _ENDED, _SPLIT = range(3)
# The index dies with the process, so it needs no durability; the cache size bounds its memory.
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
    """A page's sort key, the position of its rows, and their expected size and digest."""

    key: bytes
    segment: SegmentId
    offset: int
    rows: int
    bytes: int
    sha256: str


class PageIndex:
    """One entry per stored page, for its newest frame; used by one thread."""

    def __init__(self, base: PageRequest) -> None:
        self._base = base
        # An empty name makes a private temporary file that SQLite deletes when the connection closes.
        self._db = sqlite3.connect("", isolation_level=None, cached_statements=32)
        self._db.executescript(_INDEX_TABLES)
        self._execute = self._db.cursor().execute

    def put(self, header: Header, line: bytes, segment: SegmentId, offset: int) -> None:
        """Add a page, replacing an older frame of the same page."""
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
            raise StoreError(f"cannot index a page in the temporary folder: {error}") from error

    def cut(self, partition: Partition, index: int, claim: int) -> None:
        """Forget pages of a partition after ``index`` from earlier claims: ``claim`` collected them anew."""
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
        """Return the partitions that lack a page before their newest one, or the page that was split into them."""
        found = self._db.execute(
            "SELECT part FROM pages GROUP BY part HAVING count(*) != max(idx) + 1 OR length(part) > ?1"
            " AND substr(part, 1, length(part) - ?1) NOT IN (SELECT part FROM pages WHERE ended = ?2)",
            (len(_number(0)), _SPLIT),
        )
        return [_partition(part) for (part,) in found]

    def unfinished(self) -> Iterator[PageRecord]:
        """Yield the newest page of each unfinished partition, as of the first iteration."""
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
        """Yield the positions of all pages, in order; the index must not change meanwhile."""
        for found in self._db.execute(f"SELECT {_PLACE} FROM pages ORDER BY part, idx"):  # noqa: S608  # a constant
            part, idx, claim, segment, *rest = found
            yield PagePosition(part + _number(idx), SegmentId(claim, segment), *rest)

    def place(self, partition: Partition, index: int) -> PagePosition:
        """Return the position of one page. Raises ``KeyError`` if it is not stored."""
        found = self._db.execute(
            f"SELECT {_PLACE} FROM pages WHERE part = ? AND idx = ?",  # noqa: S608  # a constant
            (_key(partition), index),
        ).fetchone()
        if found is None:
            raise KeyError((partition, index))
        part, idx, claim, segment, *rest = found
        return PagePosition(part + _number(idx), SegmentId(claim, segment), *rest)

    def lines(self) -> Iterator[bytes]:
        """Yield the header lines of all pages, in order; the index must not change meanwhile."""
        for (line,) in self._db.execute("SELECT line FROM pages ORDER BY part, idx"):
            yield line

    def close(self) -> None:
        """Delete the index."""
        self._db.close()

    def _records(self, query: str) -> Iterator[PageRecord]:
        # In chunks: the caller may store pages between two of them.
        part, idx = b"", -1
        while found := self._db.execute(query, (part, idx, _INSERT_CHUNK_ROWS)).fetchall():
            for part, idx, line in found:  # noqa: B007  # the next chunk begins after the last ones
                yield self._record(line)

    def _record(self, line: bytes) -> PageRecord:
        header = decode(line)
        assert header is not None, "only sound headers are put"  # noqa: S101  # for mypy: an invariant of this class
        return record_of(header, self._base)


_number: Final = struct.Struct(">Q").pack


def _key(partition: Partition) -> bytes:
    """Return a key that sorts as the partition does."""
    return b"".join(map(_number, partition))


def _partition(key: bytes) -> Partition:
    return struct.unpack(f">{len(key) // 8}Q", key)
