"""File formats: JSON Lines and CSV, plain or gzipped."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec
from msgspec import Raw

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.values import Json

Formulas: TypeAlias = Literal["keep", "escape"]

EMPTY_FIELD: Final = '""'

MOST_COLUMNS: Final = 10_000
"""Beyond this, rows with names of their own would add a column to every other row."""

_ROW: Final = msgspec.json.Decoder(dict[str, Raw])

_TEXT: Final = msgspec.json.Decoder(str)

_FORMULA: Final = re.compile("[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]")
"""How spreadsheet formulas begin, full-width characters included."""

_QUOTED: Final = re.compile(r'[",\r\n]|^\s|\s$')


def csv_composer(
    pages: Iterable[bytes], *, formulas: Formulas = "keep"
) -> Callable[[Callable[[bytes], object]], CsvRows]:
    """Collect the columns of a run's rows, and return the function that starts a file with them.

    Raises ``ConfigurationError`` for rows that do not make a table.
    """
    columns: dict[str, None] = {}
    for lines in pages:
        for row in rows_in(lines):
            if not row.keys() <= columns.keys():
                columns.update(dict.fromkeys(row))
        if len(columns) > MOST_COLUMNS:
            raise ConfigurationError(
                f"sink: the rows have more than {MOST_COLUMNS} different names, which makes no table; write jsonl, or"
                " choose columns with row_map"
            )
    return partial(CsvRows, columns=tuple(columns), formulas=formulas)


def rows_in(lines: bytes) -> list[dict[str, Raw]]:
    """Return the rows of a page, each by its names. Raises ``ConfigurationError`` if one is not an object."""
    try:
        return _ROW.decode_lines(lines)
    except msgspec.ValidationError:
        raise ConfigurationError(
            "sink: csv takes rows that are objects, and one is not; write jsonl, or make objects with row_map"
        ) from None


class CsvRows:
    """Writes rows as RFC 4180 defines, but with line feeds; implements ``Composer``.

    Strings are decoded, numbers stay as they were sent, objects and lists are JSON. An empty string is ``""``; null and
    missing values are empty, unless that would make a blank line, which readers skip.
    """

    def __init__(self, write: Callable[[bytes], object], columns: tuple[str, ...], formulas: Formulas) -> None:
        self._write = write
        self._columns = columns
        self._escape = formulas == "escape"
        if columns:
            write(self._line(map(self._of_text, columns)))

    def add(self, lines: bytes) -> None:
        """Write the rows of a page."""
        self._write(b"".join(self._line(map(self._cell, map(row.get, self._columns))) for row in rows_in(lines)))

    def finish(self) -> None:
        """Do nothing: every row is written already."""

    def _line(self, cells: Iterable[str]) -> bytes:
        return f"{','.join(cells) or EMPTY_FIELD}\n".encode()

    def _cell(self, value: Raw | None) -> str:
        text = "" if value is None else bytes(value).decode()
        if text.startswith('"'):
            return self._of_text(_TEXT.decode(text))
        return "" if text == "null" else _quoted(text)

    def _of_text(self, text: str) -> str:
        if self._escape and _FORMULA.match(text):
            text = f"'{text}"
        return _quoted(text) if text else EMPTY_FIELD


def _quoted(text: str) -> str:
    return '"{}"'.format(text.replace('"', '""')) if _QUOTED.search(text) else text


def check_formulas(formulas: Any, file_format: str) -> None:
    """Raise ``ConfigurationError`` for an unknown choice, or one that does not apply to the format."""
    if formulas not in ("keep", "escape"):
        raise ConfigurationError(f"sink: csv_formulas: {formulas!r} is not one of keep, escape")
    if formulas != "keep" and not file_format.startswith("csv"):
        raise ConfigurationError(f"sink: csv_formulas is for csv, and the file format is {file_format}")


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
        """Write the remaining bytes."""


Compose: TypeAlias = Callable[[Write], Composer]

Blocks: TypeAlias = Iterator[bytes]


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A format: its name, which is also its files' suffix without the dot, and the function that starts a file.

    ``options`` are part of every digest. ``look`` reads all pages of the run before the first file and returns the
    function that starts one. ``lines`` turns the blocks of a file into JSON Lines, in blocks that may end within a
    line; it is ``None`` if the original rows cannot be read back.
    """

    name: str
    compose: Compose
    options: Mapping[str, Json] = field(default_factory=dict)
    look: Callable[[Iterable[bytes]], Compose] | None = None
    lines: Callable[[Blocks], Blocks] | None = None

    def seen(self, pages: Iterable[bytes]) -> FileFormat:
        """Return the format for a run with these pages, which are read only if the format depends on them."""
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
    """Return the format that a file name ends with, or ``None`` for an unknown suffix."""
    for suffix in _SUFFIXES:
        for compression in _COMPRESSIONS:
            if name.endswith(suffix + compression):
                return canonical((suffix + compression)[1:])
    return None


def canonical(name: str) -> str:
    """Return the canonical name of a format."""
    return name.replace("ndjson", "jsonl", 1) if name.startswith("ndjson") else name


def format_named(name: str, csv_formulas: Formulas = "keep") -> FileFormat:
    """Return a format by its name.

    Raises ``ConfigurationError`` for an unsupported one, naming those that are supported.
    """
    found = FILE_FORMATS.get(canonical(name))
    if found is None:
        raise ConfigurationError(
            f"sink: file format {name!r} is not supported; supported are {', '.join(FILE_FORMATS)} (ndjson means jsonl)"
        )
    check_formulas(csv_formulas, found.name)
    return found if csv_formulas == "keep" else _csv_format(found.name, csv_formulas)
