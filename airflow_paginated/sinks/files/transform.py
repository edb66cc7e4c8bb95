"""Landed pages after the row functions, in a temporary file of this process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Final

import msgspec

from airflow_paginated.paging.values import Page, PageRequest
from airflow_paginated.sinks.columns import RowOrigin
from airflow_paginated.sinks.files.compose import Payloads, payload_of
from airflow_paginated.sinks.files.frames import Header, decode
from airflow_paginated.sinks.files.index import PageIndex, PagePosition
from airflow_paginated.sinks.files.segments import SegmentId
from airflow_paginated.sinks.files.storage import translated
from airflow_paginated.sinks.rows import RowFunctions

WRITE: Final = "write to the temporary folder"


class MappedPages:
    """The pages of an index with other rows: an index of its own, and a reader for it.

    What landed stays as it is, so that a function that fails can be mended without asking the API again.
    """

    def __init__(self, base: PageRequest) -> None:
        self.index = PageIndex(base)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # it is closed with this object
        self._size = 0

    def fill(self, landed: PageIndex, reader: Payloads, rows: RowFunctions, proceed: Callable[[], None]) -> None:
        """Apply the functions to every landed page; ``proceed`` may raise between any two.

        Raises ``ConfigurationError`` where a function fails.
        """
        if rows.changes is not None:
            rows.changes.begin(min((_asked(line) for line in landed.lines()), default=rows.changes.began))
        for place, line in zip(landed.places(), landed.lines(), strict=True):
            proceed()
            header = _header(line)
            self._put(place, header, rows.apply(payload_of(place, reader), _origin(header)))
        with translated(WRITE):
            self._file.flush()

    def read(self, segment: SegmentId, offset: int, length: int) -> bytes:
        """Return a payload."""
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


def _asked(line: bytes) -> float:
    """Return when a page was asked for, but for what it waited for its turn: the first of all does not wait."""
    header = _header(line)
    return header.at - max(header.seconds, 0.0)


def _origin(header: Header) -> RowOrigin:
    return RowOrigin(header.partition, header.index, header.at)
