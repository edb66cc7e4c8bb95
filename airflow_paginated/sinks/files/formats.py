"""The file formats that rows can be composed into: a registry that a new format is added to."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Protocol, TypeAlias

from airflow_paginated.paging.errors import ConfigurationError
from airflow_paginated.paging.values import Json
from airflow_paginated.sinks.files.csv_rows import Formulas, check_formulas, csv_composer

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


Compose: TypeAlias = Callable[[Write], Composer]
Blocks: TypeAlias = Iterator[bytes]


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A format: its name (also the suffix of its files, without the dot) and how a file of it is begun.

    ``options`` are a part of every digest. ``look``: what has to see the pages of the run before the first file is
    begun, and then returns how one is. ``lines`` makes JSON Lines of the blocks of a file, in blocks that need not end
    with a line; ``None`` where rows cannot be read back as they were.
    """

    name: str
    compose: Compose
    options: Mapping[str, Json] = field(default_factory=dict)
    look: Callable[[Iterable[bytes]], Compose] | None = None
    lines: Callable[[Blocks], Blocks] | None = None

    def seen(self, pages: Iterable[bytes]) -> FileFormat:
        """Return the format for a run with these pages, which are not asked for where that makes no difference."""
        return self if self.look is None else replace(self, compose=self.look(pages))


class _Plain:
    def __init__(self, write: Write) -> None:
        self._write = write

    def add(self, lines: bytes) -> None:
        self._write(lines)

    def finish(self) -> None:
        return None


class _Gzip:
    """A composer whose bytes are compressed."""

    def __init__(self, write: Write, compose: Compose = _Plain) -> None:
        self._write = write
        self._deflate = zlib.compressobj(wbits=_GZIP_WBITS)
        self._composer = compose(lambda data: write(self._deflate.compress(data)))

    def add(self, lines: bytes) -> None:
        self._composer.add(lines)

    def finish(self) -> None:
        self._composer.finish()
        self._write(self._deflate.flush())


def _inflated(blocks: Blocks) -> Blocks:
    inflate = zlib.decompressobj(_GZIP_WBITS)
    for block in blocks:
        while block:
            yield inflate.decompress(block, _INFLATED_BYTES)
            block = inflate.unconsumed_tail


def _csv(pages: Iterable[bytes], formulas: Formulas, packed: bool) -> Compose:
    compose: Compose = csv_composer(pages, formulas=formulas)
    return partial(_Gzip, compose=compose) if packed else compose


def _csv_format(name: str, formulas: Formulas = "keep") -> FileFormat:
    look = partial(_csv, formulas=formulas, packed=name.endswith(".gz"))
    return FileFormat(name, look(()), {"csv_formulas": formulas}, look)


FILE_FORMATS: Final = {
    each.name: each
    for each in (
        FileFormat("jsonl", _Plain, lines=lambda blocks: blocks),
        FileFormat("jsonl.gz", _Gzip, lines=_inflated),
        _csv_format("csv"),
        _csv_format("csv.gz"),
    )
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


def format_named(name: str, csv_formulas: Formulas = "keep") -> FileFormat:
    """Return a format by its name.

    Raises ``ConfigurationError`` for one that cannot be written, naming those that can.
    """
    found = FILE_FORMATS.get(canonical(name))
    if found is None:
        raise ConfigurationError(
            f"sink: file format {name!r} is not supported; supported are {', '.join(FILE_FORMATS)} (ndjson means jsonl)"
        )
    check_formulas(csv_formulas, found.name)
    return found if csv_formulas == "keep" else _csv_format(found.name, csv_formulas)
