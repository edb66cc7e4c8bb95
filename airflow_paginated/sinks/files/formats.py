"""The file formats that rows can be composed into: a registry that a new format is added to."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from airflow_paginated.paging.errors import ConfigurationError

Write: TypeAlias = Callable[[bytes], object]

# Raw deflate in a gzip frame: zlib writes neither a time nor a name into it, so equal rows make equal bytes.
_GZIP_WBITS: Final = 31
_INFLATED_BYTES: Final = 256 * 1024
_SUFFIXES: Final = (".jsonl", ".ndjson", ".csv", ".parquet")
_COMPRESSIONS: Final = ("", ".gz", ".zst")


class Composer(Protocol):
    """Turns rows into one file's bytes."""

    def add(self, lines: bytes) -> None:
        """Add the rows of a page, as JSON Lines."""

    def finish(self) -> None:
        """Write what is still to be written."""


Blocks: TypeAlias = Iterator[bytes]


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A format: its name (also the suffix of its files, without the dot) and how a file of it is begun.

    ``lines`` makes JSON Lines of the blocks of a file, in blocks that need not end with a line; ``None`` where rows
    cannot be read back as they were.
    """

    name: str
    compose: Callable[[Write], Composer]
    lines: Callable[[Blocks], Blocks] | None = None


class _Plain:
    def __init__(self, write: Write) -> None:
        self._write = write

    def add(self, lines: bytes) -> None:
        self._write(lines)

    def finish(self) -> None:
        return None


class _Gzip:
    def __init__(self, write: Write) -> None:
        self._write = write
        self._deflate = zlib.compressobj(wbits=_GZIP_WBITS)

    def add(self, lines: bytes) -> None:
        self._write(self._deflate.compress(lines))

    def finish(self) -> None:
        self._write(self._deflate.flush())


def _inflated(blocks: Blocks) -> Blocks:
    inflate = zlib.decompressobj(_GZIP_WBITS)
    for block in blocks:
        while block:
            yield inflate.decompress(block, _INFLATED_BYTES)
            block = inflate.unconsumed_tail


FORMATS: Final = {
    each.name: each
    for each in (FileFormat("jsonl", _Plain, lambda blocks: blocks), FileFormat("jsonl.gz", _Gzip, _inflated))
}


def format_in(name: str) -> str | None:
    """Return the format that a file name ends with, or ``None`` when it says nothing of a format."""
    for suffix in _SUFFIXES:
        for compression in _COMPRESSIONS:
            if name.endswith(suffix + compression):
                return canonical((suffix + compression)[1:])
    return None


def canonical(name: str) -> str:
    """Return the one name of a format that has several."""
    return name.replace("ndjson", "jsonl", 1) if name.startswith("ndjson") else name


def format_named(name: str) -> FileFormat:
    """Return a format by its name.

    Raises ``ConfigurationError`` for one that cannot be written, naming those that can.
    """
    found = FORMATS.get(canonical(name))
    if found is None:
        raise ConfigurationError(
            f"sink: file format {name!r} is not supported; supported are {', '.join(FORMATS)} (ndjson means jsonl)"
        )
    return found
