"""JSON, JSON Lines and CSV bodies split into rows; values that would take too much memory are refused unparsed."""

from __future__ import annotations

import csv
import enum
import json
import secrets
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO, StringIO
from typing import Any, Final

import msgspec
from msgspec import Raw

from airflow_paginated.core.errors import LimitExceeded, ResponseError
from airflow_paginated.core.paths import ABSENT, ALL, Path, describe_shape, parse_path, quoted
from airflow_paginated.core.values import Json
from airflow_paginated.transport.retry import RetryableError

MIN_CHECKED_BYTES: Final = 1024 * 1024
"""A smaller body is never refused. A list like ``[0,0,...]`` takes eighty times its size once it is parsed."""

BYTES_PER_ROW: Final = 32
"""``limits.page_bytes`` divided by this is the largest number of rows."""

_remaining: Final = threading.local()
"""``rows``: how many more rows the calling thread's list may have."""


def _take_one(_: object) -> None:
    _remaining.rows -= 1
    if _remaining.rows < 0:
        raise LimitExceeded


class _String(enum.Enum):
    """Any string."""

    ANY = secrets.token_hex(16)  # a string that no API sends: it would not be counted

    @classmethod
    def _missing_(cls, value: object) -> _String:
        _take_one(value)
        return cls.ANY


# msgspec makes each row an empty value that counts itself.
_COUNTED: Final[dict[str, Any]] = {"namespace": {"__post_init__": _take_one}, "frozen": True, "gc": False}

_ANY_OBJECT: Final[Any] = msgspec.defstruct("_Object", [], **_COUNTED)

_ANY_LIST: Final[Any] = msgspec.defstruct("_List", [], array_like=True, **_COUNTED)

_DECODERS: Final = tuple(map(msgspec.json.Decoder, (set[_ANY_OBJECT], set[_ANY_LIST], set[_String])))


def most_values(page_bytes: int) -> int:
    """Return how many rows, or values beside them, a body may have."""
    return max(page_bytes, MIN_CHECKED_BYTES) // BYTES_PER_ROW


def check_rows(rows: Raw | bytes, most: int) -> None:
    """Raise ``LimitExceeded`` for a JSON list of more rows than ``most``.

    In a list of mixed or other types, the commas inside the rows count as well.
    """
    text = memoryview(rows)
    if text.nbytes <= MIN_CHECKED_BYTES or _count_commas(text) < most:
        return
    # Most commas may be inside the rows: msgspec skips their content.
    for decoder in _DECODERS:
        _remaining.rows = most
        try:
            decoder.decode(rows)
        except msgspec.ValidationError:
            continue  # rows of another type
        except LimitExceeded:
            break
        except msgspec.DecodeError:
            return  # few rows, then invalid JSON, which the decoder of the rows reports
        else:
            return
    raise too_many(most)


def check_beside(place: Raw | bytes, name: str, most: int) -> None:
    """Raise ``LimitExceeded`` for a JSON object with more values than ``most`` beside the one at ``name``.

    Raises msgspec's error for anything but an object.
    """
    text = memoryview(place)
    commas = 0 if text.nbytes <= MIN_CHECKED_BYTES else _count_commas(text)
    if commas <= most:
        return
    found = _only(name).decode(place).rows
    if commas - (0 if found is None else _count_commas(memoryview(found))) > most:
        raise too_many(most)


def is_crowded(body: bytes, most: int) -> bool:
    """Return whether a body may have more values than ``most``."""
    return len(body) > MIN_CHECKED_BYTES and body.count(b",") > most


def too_many(most: int) -> LimitExceeded:
    """Return the error for more rows than ``most``."""
    return LimitExceeded(
        f"the body has more than {most} rows, or values beside them: one for {BYTES_PER_ROW} bytes of"
        " limits.page_bytes; lower page_size or raise the limit"
    )


def _count_commas(text: memoryview) -> int:
    # In chunks: a memoryview cannot count, and a copy of it takes memory.
    return sum(bytes(text[at : at + MIN_CHECKED_BYTES]).count(b",") for at in range(0, text.nbytes, MIN_CHECKED_BYTES))


@lru_cache(maxsize=16)
def _only(name: str) -> msgspec.json.Decoder[Any]:
    """Return a decoder for one name of an object that skips all others."""
    kind = msgspec.defstruct("Only", [("rows", Raw, msgspec.field(name=name, default=None))])
    return msgspec.json.Decoder(kind)


_RAW: Final = msgspec.json.Decoder(Raw)

_ENCODER: Final = msgspec.json.Encoder()

JSON_WHITESPACE: Final = b" \t\r"

MAX_CSV_FIELDS: Final = 100_000

REMEMBERED_PARTITIONS: Final = 1000


def split_jsonl(body: bytes, most: int = sys.maxsize) -> Parts:
    """Split a body with one JSON value per line; blank lines are skipped.

    Raises ``RetryableError`` for invalid JSON, ``LimitExceeded`` for more lines than ``most``.
    """
    _check_lines(body, most)
    rows = []
    for number, line in enumerate(body.split(b"\n"), 1):
        if row := line.strip(JSON_WHITESPACE):
            _check_json(row, number)
            rows.append(row)
    return Parts(b"\n".join([*rows, b""]), len(rows))


def split_csv(body: bytes, columns: Sequence[str] | None, most: int = sys.maxsize, **dialect: Any) -> Parts:
    """Make each record of a CSV body (RFC 4180) an object of strings, named by ``columns`` or by its header line.

    A first line that repeats ``columns`` is skipped: some APIs send a header on their first page only. Raises
    ``RetryableError`` for a record with another number of fields, ``ResponseError`` for a duplicate column,
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
            raise RetryableError(f"line {line} of the CSV body has {len(record)} fields, expected {len(header)}")
        _ENCODER.encode_into(dict(zip(header, record, strict=True)), lines, -1)
        lines += b"\n"
        count += 1
    return Parts(bytes(lines), count, columns=tuple(header))


class CsvColumnsCheck:
    """Compares the CSV columns of the pages of a partition. Changed by all threads, under its lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[int, ...], tuple[str, ...]] = {}

    def check(self, partition: tuple[int, ...], columns: tuple[str, ...]) -> None:
        """Raise ``ResponseError`` if an earlier page had other columns: a row may have been read as the header."""
        with self._lock:
            first = self._known.setdefault(partition, columns)
            if len(self._known) > REMEMBERED_PARTITIONS:
                del self._known[next(iter(self._known))]
        if columns != first:
            raise ResponseError(
                "the header line differs from that of an earlier page; if only the first page has one, name the"
                " columns in csv_columns (in response)"
            )


def _check_lines(body: bytes, most: int) -> None:
    if is_blank(body):
        raise RetryableError("the body is empty")
    if len(body) > MIN_CHECKED_BYTES and body.count(b"\n") + body.count(b"\r") > 2 * most:
        raise too_many(most)


def _check_fields(body: bytes, delimiter: str) -> None:
    """Refuse a line with too many fields before ``csv`` creates them all."""
    if any(len(line) > MAX_CSV_FIELDS and line.count(delimiter.encode()) > MAX_CSV_FIELDS for line in BytesIO(body)):
        raise LimitExceeded(f"a line of the CSV body has more than {MAX_CSV_FIELDS} fields")


def _check_json(row: bytes, number: int) -> None:
    try:
        _RAW.decode(row)
    except msgspec.DecodeError:
        raise RetryableError(f"line {number} of the body is not JSON") from None
    except RecursionError:
        raise ResponseError(TOO_DEEP) from None


def _records(text: str, dialect: dict[str, Any]) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with the number of its last line, without blank lines."""
    # newline="" keeps line breaks inside quotes.
    reader = csv.reader(StringIO(text, newline=""), strict=True, **dialect)
    try:
        for record in reader:
            if record:
                yield reader.line_num, record
    except csv.Error as exc:
        raise _unreadable(reader.line_num, str(exc)) from None


def _unreadable(line: int, why: str) -> Exception:
    # csv's messages contain at most the delimiter and the quote character.
    if "field limit" in why:
        advice = f"raise csv.field_size_limit, which is {csv.field_size_limit()} characters"
        return ResponseError(f"line {line} of the CSV body has a field that is too long: {advice}")
    return RetryableError(f"line {line} of the body is not CSV: {why}")


def _header(names: list[str]) -> list[str]:
    if names[0].lstrip().startswith(("<", "{", "[")):
        raise RetryableError("the body is not CSV: it begins like HTML or JSON")
    repeated = [name for number, name in enumerate(names) if name in names[:number]]
    if repeated:
        raise ResponseError(f"the CSV header has the column {quoted(repeated[0])} twice: a row could keep only one")
    return names


_OBJECT: Final = msgspec.json.Decoder(dict[str, Raw])

_LIST: Final = msgspec.json.Decoder(list[Raw])

_ANY: Final = msgspec.json.Decoder()

UTF8_NAMES: Final = ("", "utf-8", "utf8", "us-ascii", "ascii")

TOO_DEEP: Final = "the body is nested too deeply"


@dataclass(frozen=True, slots=True)
class Parts:
    """A split body: its rows as JSON Lines, their number, the body without them, and the columns of CSV."""

    lines: bytes = b""
    count: int = 0
    envelope: Json = None
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Whether missing or null rows mean an empty page; ``most`` rows, and as many values beside them, are allowed."""

    missing: bool = False
    null: bool = False
    most: int = sys.maxsize


STRICT: Final = Tolerance()


def is_blank(body: bytes) -> bool:
    """Return whether a body is empty or only white space, without copying it."""
    return not body or body.isspace()


def split(body: bytes, selector: str | None, tolerance: Tolerance = STRICT) -> Parts:
    """Split a JSON body at ``selector`` (``None``: the body is the list of rows).

    Raises ``RetryableError`` for invalid JSON, ``ResponseError`` if the selector finds no list, ``LimitExceeded`` for
    too many rows or values.
    """
    steps = _steps(selector)
    at = steps.index(ALL)
    try:
        envelope, found = _peel(Raw(body), steps[:at], tolerance)
        rows = _elements(found, tolerance)
        if at:
            _check_names_beside(body, found)
        if rest := steps[at + 1 :]:
            rows = _descend_all(rows, rest, tolerance)
    except msgspec.ValidationError:
        raise _unexpected(body, selector, tolerance.most) from None
    except msgspec.DecodeError:
        raise RetryableError("the body is empty" if is_blank(body) else "the body is not JSON") from None
    except RecursionError:
        raise ResponseError(TOO_DEEP) from None
    lines = b"\n".join([*rows, b""])
    if lines.count(b"\n") != len(rows) or b"\r" in lines:
        lines = b"".join(_line(bytes(row)) for row in rows)
    return Parts(lines, len(rows), envelope)


def json_value(text: str, most: int = sys.maxsize) -> Json:
    """Return a parsed JSON string, or ``ABSENT`` if it is invalid or may have more than ``most`` values."""
    if text.count(",") > most:
        return ABSENT
    try:
        return _ANY.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return ABSENT


@lru_cache(maxsize=64)
def _steps(selector: str | None) -> Path:
    """Return the path to a single row; a selector without [*] names the list."""
    path = parse_path(selector) if selector else ()
    return path if ALL in path else (*path, ALL)


def _peel(raw: Raw, names: Path, tolerance: Tolerance) -> tuple[Json, Raw | None]:
    """Follow ``names`` down to the rows; return the envelope without them, and the rows."""
    envelope: Json = None
    place: dict[str, Any] = {}
    for depth, name in enumerate(names):
        if tolerance.null and _is_null(raw):
            return envelope, raw
        if memoryview(raw).nbytes > MIN_CHECKED_BYTES:
            check_beside(raw, str(name), tolerance.most)
        beside = _OBJECT.decode(raw)
        rows = beside.pop(str(name), None)
        level = {key: _ANY.decode(value) for key, value in beside.items()}
        if depth == 0:
            envelope = level
        else:
            place[str(names[depth - 1])] = level
        if rows is None:
            if tolerance.missing:
                return envelope, None
            raise _nothing_there(names[: depth + 1], beside)
        raw, place = rows, level
    return envelope, raw


def _descend_all(elements: list[Raw], steps: Path, tolerance: Tolerance) -> list[Raw]:
    rows: list[Raw] = []
    for element in elements:
        rows += _descend(element, steps, tolerance)
        if len(rows) > tolerance.most:
            raise too_many(tolerance.most)
    return rows


def _descend(raw: Raw, steps: Path, tolerance: Tolerance) -> list[Raw]:
    for depth, step in enumerate(steps):
        if step is ALL:
            return _descend_all(_elements(raw, tolerance), steps[depth + 1 :], tolerance)
        if tolerance.null and _is_null(raw):
            return []
        check_beside(raw, str(step), tolerance.most)
        found = _OBJECT.decode(raw)
        if step not in found:
            if tolerance.missing:
                return []
            raise _nothing_there((ALL, *steps[: depth + 1]), found)
        if bytes(raw).count(b'"%b"' % str(step).encode()) > 1:
            _check_names_beside(bytes(raw), found[str(step)])
        raw = found[str(step)]
    return [raw]


def _elements(raw: Raw | None, tolerance: Tolerance) -> list[Raw]:
    if raw is None or (tolerance.null and _is_null(raw)):
        return []
    if memoryview(raw).nbytes > MIN_CHECKED_BYTES:
        check_rows(raw, tolerance.most)
    return _LIST.decode(raw)


def _is_null(raw: Raw) -> bool:
    return memoryview(raw).nbytes < MIN_CHECKED_BYTES and bytes(raw).strip() == b"null"


def _check_names_beside(body: bytes, found: Raw | None) -> None:
    """Refuse a repeated name in an object beside the rows: parsers differ in which value they keep."""
    if found is None:
        _UNIQUE_NAMES.decode(body.decode())
        return
    rows = bytes(found)
    # bytes.find is slow for a long needle.
    start, at = rows[:64], body.find(rows[:64])
    while at >= 0 and not body.startswith(rows, at):
        at = body.find(start, at + 1)
    with suppress(ValueError):  # the match was inside a string: nothing to check
        _UNIQUE_NAMES.decode(f"{body[:at].decode()}0{body[at + len(rows) :].decode()}")


def _refuse_repeated_names(pairs: list[tuple[str, Any]]) -> None:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ResponseError(f"the response has a name twice in {describe_shape(value)}")


# Python refuses to convert very long numbers, and their values are not needed.
_UNIQUE_NAMES: Final = json.JSONDecoder(object_pairs_hook=_refuse_repeated_names, parse_int=str, parse_float=str)


def _line(row: bytes) -> bytes:
    if b"\n" in row or b"\r" in row:
        # A line break can only be white space between tokens: strings escape it.
        row = msgspec.json.format(row, indent=-1)
    return row + b"\n"


def _nothing_there(path: Path, beside: Mapping[str, Any]) -> ResponseError:
    way = ".".join(str(step) for step in path).replace(".[*]", "[*]")
    return ResponseError(
        f"data_selector: the response has nothing at {way!r}, only {describe_shape(dict(beside))};"
        " if this means that there are no rows, set missing_rows='empty' in response"
    )


def _unexpected(body: bytes, selector: str | None, most: int) -> Exception:
    """Return the error that describes the value found instead of a list, or that reports invalid JSON."""
    if is_crowded(body, most):
        return ResponseError("the response has no list of rows where one is expected, and is too large to describe")
    try:
        value = _ANY.decode(body)
    except msgspec.DecodeError:
        return RetryableError("the body is not JSON")
    except RecursionError:
        return ResponseError(TOO_DEEP)
    misfit = _misfit(value, _steps(selector))
    advice = "; if this means that there are no rows, set null_rows='empty' in response" if misfit is None else ""
    if selector is None:
        advice = "; name the list in it with data_selector" if isinstance(value, dict) else advice
        return ResponseError(f"the response should be a list of rows, it is {describe_shape(value)}{advice}")
    return ResponseError(
        f"data_selector {selector!r} should lead to a list of rows, it leads to {describe_shape(misfit)}{advice}"
    )


def _misfit(value: Json, path: Path) -> Json:
    """Return the first value that the path cannot pass through, or ``ABSENT``."""
    for depth, step in enumerate(path):
        if step is ALL and isinstance(value, list):
            found = (_misfit(element, path[depth + 1 :]) for element in value)
            return next((each for each in found if each is not ABSENT), ABSENT)
        if step is ALL or not isinstance(value, dict):
            return value
        value = value.get(str(step), ABSENT)
    return ABSENT
