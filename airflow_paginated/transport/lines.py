"""Bodies without an envelope: every line, or CSV record, is a row."""

from __future__ import annotations

import csv
import sys
import threading
from collections.abc import Iterator, Sequence
from io import BytesIO, StringIO
from typing import Any, Final

import msgspec
from msgspec import Raw

from airflow_paginated.paging.errors import LimitExceeded, ResponseError
from airflow_paginated.paging.selectors import quoted
from airflow_paginated.transport.decode import TOO_DEEP, Parts, is_blank
from airflow_paginated.transport.density import LIGHT, too_many
from airflow_paginated.transport.faults import RetryableError

_RAW: Final = msgspec.json.Decoder(Raw)
_ENCODER: Final = msgspec.json.Encoder()
BLANK: Final = b" \t\r"
FIELDS: Final = 100_000
REMEMBERED_PARTITIONS: Final = 1000


def split_jsonl(body: bytes, most: int = sys.maxsize) -> Parts:
    """Take a body apart that has one JSON value a line; blank lines do not count.

    Raises ``RetryableError`` for a line that is no JSON, ``LimitExceeded`` for more lines than ``most``.
    """
    _check_lines(body, most)
    rows = []
    for number, line in enumerate(body.split(b"\n"), 1):
        if row := line.strip(BLANK):
            _check_json(row, number)
            rows.append(row)
    return Parts(b"\n".join([*rows, b""]), len(rows))


def split_csv(body: bytes, columns: Sequence[str] | None, most: int = sys.maxsize, **dialect: Any) -> Parts:
    """Make an object of strings of each record of a CSV body (RFC 4180), named by ``columns`` or by its header line.

    A header line that only repeats ``columns`` is left out: some APIs have it on their first page alone.
    Raises ``RetryableError`` for a record that has another number of fields, ``ResponseError`` for a column that is there twice,
    ``LimitExceeded`` for more lines than ``most``.
    """
    _check_lines(body, most)
    _check_fields(body, dialect.get("delimiter", ","))
    records = _records(body.decode(), dialect)
    header = _header(next(records)[1]) if columns is None else list(columns)
    lines, count = bytearray(), 0
    for line, record in records:
        if columns is not None and record == header and not count:
            continue
        if len(record) != len(header):
            raise RetryableError(f"line {line} of the CSV body has {len(record)} fields where {len(header)} are due")
        _ENCODER.encode_into(dict(zip(header, record, strict=True)), lines, -1)
        lines += b"\n"
        count += 1
    return Parts(bytes(lines), count, columns=tuple(header))


class CsvColumnsCheck:
    """The columns of the first CSV answer of each of the newest partitions. Changed by all threads, under its lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[int, ...], tuple[str, ...]] = {}

    def check(self, partition: tuple[int, ...], columns: tuple[str, ...]) -> None:
        """Raise ``ResponseError`` for other columns than an earlier page had: a row may have been taken for names."""
        with self._lock:
            first = self._known.setdefault(partition, columns)
            if len(self._known) > REMEMBERED_PARTITIONS:
                del self._known[next(iter(self._known))]
        if columns != first:
            raise ResponseError(
                "the header line is not that of an earlier page; if only the first page has one, name the columns in"
                " csv_columns (in response)"
            )


def _check_lines(body: bytes, most: int) -> None:
    if is_blank(body):
        raise RetryableError("the body is empty")
    if len(body) > LIGHT and body.count(b"\n") + body.count(b"\r") > 2 * most:
        raise too_many(most)


def _check_fields(body: bytes, delimiter: str) -> None:
    """Refuse a line of endless fields: they are all there before the first of them can be looked at."""
    if any(len(line) > FIELDS and line.count(delimiter.encode()) > FIELDS for line in BytesIO(body)):
        raise LimitExceeded(f"a line of the CSV body has more than {FIELDS} fields")


def _check_json(row: bytes, number: int) -> None:
    try:
        _RAW.decode(row)
    except msgspec.DecodeError:
        raise RetryableError(f"line {number} of the body is not JSON") from None
    except RecursionError:
        raise ResponseError(TOO_DEEP) from None


def _records(text: str, dialect: dict[str, Any]) -> Iterator[tuple[int, list[str]]]:
    """Yield each record that is not a blank line, and the number of the line that it ends on."""
    # Without newline="", a line break in quotes would be changed.
    reader = csv.reader(StringIO(text, newline=""), strict=True, **dialect)
    try:
        for record in reader:
            if record:
                yield reader.line_num, record
    except csv.Error as exc:
        raise _unreadable(reader.line_num, str(exc)) from None


def _unreadable(line: int, why: str) -> Exception:
    # What csv says is fixed text with at most the delimiter and the quote in it.
    if "field limit" in why:
        advice = f"raise csv.field_size_limit, which is {csv.field_size_limit()} characters"
        return ResponseError(f"line {line} of the CSV body has a field that is too long: {advice}")
    return RetryableError(f"line {line} of the body is not CSV: {why}")


def _header(names: list[str]) -> list[str]:
    if names[0].lstrip().startswith(("<", "{", "[")):
        raise RetryableError("the body is not CSV: it begins like HTML or JSON")
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        raise ResponseError(f"the CSV header has the column {quoted(twice[0])} twice: a row could keep only one")
    return names
