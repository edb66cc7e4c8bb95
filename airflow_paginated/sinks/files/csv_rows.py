"""Rows as CSV: one column for each name that any row of the run has."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Raw

from airflow_paginated.paging.errors import ConfigurationError

Formulas: TypeAlias = Literal["keep", "escape"]

EMPTY_FIELD: Final = '""'
MOST_COLUMNS: Final = 10_000
"""More are no table: rows have names of their own, and every one of them would make all others longer."""
_ROW: Final = msgspec.json.Decoder(dict[str, Raw])
_TEXT: Final = msgspec.json.Decoder(str)
_FORMULA: Final = re.compile("[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]")
"""What spreadsheets take for the beginning of a formula, also in its full width."""
_QUOTED: Final = re.compile(r'[",\r\n]|^\s|\s$')


def csv_composer(
    pages: Iterable[bytes], *, formulas: Formulas = "keep"
) -> Callable[[Callable[[bytes], object]], CsvRows]:
    """Look at all rows of a run, and return what begins a file of them.

    Raises ``ConfigurationError`` for rows that make no table.
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
    """Return the rows of a page, each by its names. Raises ``ConfigurationError`` where one is no object."""
    try:
        return _ROW.decode_lines(lines)
    except msgspec.ValidationError:
        raise ConfigurationError(
            "sink: csv takes rows that are objects, and one is not; write jsonl, or make objects with row_map"
        ) from None


class CsvRows:
    """Writes rows as RFC 4180 has it, but with line feeds; implements ``Composer``.

    Texts are as they read, numbers as they were sent, objects and lists in JSON. An empty text is ``""``; null is
    nothing, as is what is not there, save where that would make a blank line, which readers pass over.
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
        """Nothing is left to be written."""

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
    """Refuse what is no choice, or one for another format."""
    if formulas not in ("keep", "escape"):
        raise ConfigurationError(f"sink: csv_formulas: {formulas!r} is not one of keep, escape")
    if formulas != "keep" and not file_format.startswith("csv"):
        raise ConfigurationError(f"sink: csv_formulas is for csv, and the file format is {file_format}")
