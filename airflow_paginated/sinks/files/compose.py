"""From stored pages to data files: row functions, the cuts between files, and the accounting."""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Final, Protocol

import msgspec

from airflow_paginated.core.errors import StoreError
from airflow_paginated.core.values import Page, PageRequest
from airflow_paginated.sinks.files.formats import FileFormat
from airflow_paginated.sinks.files.frames import Header, decode
from airflow_paginated.sinks.files.index import PageIndex, PagePosition
from airflow_paginated.sinks.files.manifest import FileEntry
from airflow_paginated.sinks.files.segments import SegmentId
from airflow_paginated.sinks.files.storage import Pending, translated
from airflow_paginated.sinks.rows import RowFunctions, RowOrigin

WRITE: Final = "write to the temporary folder"


class MappedPages:
    """The rows that row functions made of an index's pages: an index of its own, and a reader for it.

    The stored pages stay as they are, so that a failing function can be fixed without fetching them again.
    """

    def __init__(self, base: PageRequest) -> None:
        self.index = PageIndex(base)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # it is closed with this object
        self._size = 0

    def fill(
        self, stored: PageIndex, reader: Payloads, rows: RowFunctions, check_cancelled: Callable[[], None]
    ) -> None:
        """Apply the functions to every stored page; ``check_cancelled`` may raise between any two.

        Raises ``ConfigurationError`` where a function fails.
        """
        if rows.changes is not None:
            rows.changes.begin(min((_requested_at(line) for line in stored.lines()), default=rows.changes.began))
        for place, line in zip(stored.places(), stored.lines(), strict=True):
            check_cancelled()
            header = _header(line)
            self._put(place, header, rows.apply(payload_of(place, reader), _origin(header)))
        with translated(WRITE):
            self._file.flush()

    def read(self, segment: SegmentId, offset: int, length: int) -> bytes:
        """Return the bytes of a payload."""
        return os.pread(self._file.fileno(), length, offset)

    def close(self) -> None:
        """Delete file and index."""
        self._file.close()
        self.index.close()

    def _put(self, place: PagePosition, header: Header, rows: list[bytes]) -> None:
        page = Page.of(PageRequest(""), rows)
        changed = msgspec.structs.replace(header, rows=page.count, bytes=len(page.lines), sha256=page.sha256)
        self.index.put(changed, b"", place.segment, self._size)
        with translated(WRITE):
            self._file.write(page.lines)
        self._size += len(page.lines)


def _header(line: bytes) -> Header:
    header = decode(line)
    assert header is not None, "only sound headers are indexed"  # noqa: S101  # for mypy
    return header


def _requested_at(line: bytes) -> float:
    """Return when a page was requested, give or take its wait before storing; the very first page does not wait."""
    header = _header(line)
    return header.at - max(header.seconds, 0.0)


def _origin(header: Header) -> RowOrigin:
    return RowOrigin(header.partition, header.index, header.at)


COMPOSE_VERSION: Final = 1
"""Part of every digest; raise it when the same pages should make other bytes."""

_PAGES_LEVEL: Final = 3

COMPOSE_BLOCK_BYTES: Final = 256 * 1024


class DamagedError(StoreError):
    """A stored page no longer matches its digest."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A planned data file: the number of its pages, and of their rows and bytes."""

    pages: int
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The data files to compose, and the digest that names them."""

    digest: str
    cuts: tuple[Cut, ...]

    @property
    def rows(self) -> int:
        """The number of rows in all data files."""
        return sum(cut.rows for cut in self.cuts)

    @property
    def bytes(self) -> int:
        """The size of all rows as JSON Lines."""
        return sum(cut.bytes for cut in self.cuts)


def plan(pages: PageIndex, file_format: FileFormat, part_bytes: int | None, stored: PageIndex | None = None) -> Plan:
    """Plan data files of at most ``part_bytes`` of rows each, cut between pages; ``None`` makes exactly one.

    ``stored`` are the pages that row functions turned into ``pages``: both go into the digest, which also names the
    accounting.
    """
    options = {"version": COMPOSE_VERSION, "format": file_format.name, "part_bytes": part_bytes, **file_format.options}
    digest = sha256(json.dumps(options, sort_keys=True).encode())
    for place in stored.places() if stored else ():
        digest.update(place.key + place.sha256.encode())
    cuts = [Cut(0, 0, 0)]
    for place in pages.places():
        digest.update(place.key + place.sha256.encode())
        if part_bytes is not None and cuts[-1].bytes and cuts[-1].bytes + place.bytes > part_bytes:
            cuts.append(Cut(0, 0, 0))
        last = cuts[-1]
        cuts[-1] = Cut(last.pages + 1, last.rows + place.rows, last.bytes + place.bytes)
    if part_bytes is not None and not cuts[-1].bytes:
        cuts.pop()
    return Plan(digest.hexdigest()[:16], tuple(cuts))


class Payloads(Protocol):
    """Reads the rows of pages."""

    def read(self, segment: SegmentId, offset: int, length: int) -> bytes:
        """Return the bytes of a payload."""


def payload_of(place: PagePosition, reader: Payloads) -> bytes:
    """Return the rows of a page. Raises ``DamagedError`` if they do not match the digest."""
    payload = reader.read(place.segment, place.offset, place.bytes) if place.bytes else b""
    if place.bytes and sha256(payload).hexdigest() != place.sha256:
        raise DamagedError(f"a page in {place.segment.name} is damaged; the next try collects everything again")
    return payload


def payloads(index: PageIndex, reader: Payloads, check_cancelled: Callable[[], None]) -> Iterator[bytes]:
    """Yield the rows of each page that is not empty, in order; ``check_cancelled`` may raise between any two."""
    for place in index.places():
        check_cancelled()
        if place.bytes:
            yield payload_of(place, reader)


class SegmentSource:
    """The rows of all pages in order, verified on reading; ``check_cancelled`` may raise between any two pages."""

    def __init__(self, index: PageIndex, reader: Payloads, check_cancelled: Callable[[], None] = lambda: None) -> None:
        self._check_cancelled = check_cancelled
        self._places: Iterator[PagePosition] = index.places()
        self._reader = reader

    def compose(self, cut: Cut, file_format: FileFormat, pending: Pending, name: str) -> FileEntry:
        """Write the pages of the next data file, without committing it, and return its manifest entry."""
        rows = 0
        # Leaving waits for the digest of at most one block, so cancelling stays quick.
        with ThreadPoolExecutor(1, thread_name_prefix="digest") as executor:
            writer = _DigestingWriter(pending, executor)
            composer = file_format.compose(writer.write)
            for place in islice(self._places, cut.pages):
                self._check_cancelled()
                rows += place.rows
                if place.bytes:
                    composer.add(payload_of(place, self._reader))
            composer.finish()
            digest = writer.finish()
        return FileEntry(name, rows, writer.bytes, digest)


def write_accounting(index: PageIndex, pending: Pending) -> None:
    """Write one compressed JSON line per page, without committing the file."""
    deflate = zlib.compressobj(_PAGES_LEVEL, wbits=31)
    for line in index.lines():
        pending.write(deflate.compress(line))
    pending.write(deflate.flush())


class _DigestingWriter:
    """Counts and digests the bytes written to a file.

    A thread digests one block while the next is read and verified: on a processor without SHA instructions, hashing
    takes most of the time of publishing.
    """

    def __init__(self, pending: Pending, executor: Executor) -> None:
        self._pending = pending
        self._executor = executor
        self._digest = sha256()
        """Changed by one thread at a time: each block waits for the one before it."""
        self._digesting: Future[None] | None = None
        self._block: list[bytes] = []
        self._size = 0
        self.bytes = 0

    def write(self, data: bytes) -> None:
        self._pending.write(data)
        self.bytes += len(data)
        self._block.append(data)
        self._size += len(data)
        if self._size >= COMPOSE_BLOCK_BYTES:
            self._digesting = self._executor.submit(self._update, self._take())

    def finish(self) -> str:
        """Return the digest of all bytes written, in hex."""
        self._update(self._take())
        return self._digest.hexdigest()

    def _take(self) -> list[bytes]:
        if self._digesting is not None:
            self._digesting.result()
        block, self._block, self._size = self._block, [], 0
        return block

    def _update(self, block: list[bytes]) -> None:
        # One by one: joining them costs more than it saves.
        for data in block:
            self._digest.update(data)
