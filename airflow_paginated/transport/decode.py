"""Bodies that would take many times their size once they are decoded: ``[0,0,0,...]`` takes eighty times its own."""

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
from airflow_paginated.core.paths import ABSENT, ALL, Path, parse_path, quoted, seen
from airflow_paginated.core.values import Json
from airflow_paginated.transport.retry import RetryableError

LIGHT: Final = 1024 * 1024
"""A smaller body is never too much, whatever is in it."""

BYTES_EACH: Final = 32
"""A page of the largest size may have one row for so many bytes of it."""

_left: Final = threading.local()
"""``rows``: how many more of them the list may have that the thread looks at."""


def _take_one(_: object) -> None:
    _left.rows -= 1
    if _left.rows < 0:
        raise LimitExceeded


class _String(enum.Enum):
    """Any string."""

    ANY = secrets.token_hex(16)  # no string of an API: that one would not be counted

    @classmethod
    def _missing_(cls, value: object) -> _String:
        _take_one(value)
        return cls.ANY


# What msgspec makes of a row: one and the same value, without anything that is in it.
_COUNTING: Final[dict[str, Any]] = {"namespace": {"__post_init__": _take_one}, "frozen": True, "gc": False}

_ANY_OBJECT: Final[Any] = msgspec.defstruct("_Object", [], **_COUNTING)

_ANY_LIST: Final[Any] = msgspec.defstruct("_List", [], array_like=True, **_COUNTING)

_DECODERS: Final = tuple(map(msgspec.json.Decoder, (set[_ANY_OBJECT], set[_ANY_LIST], set[_String])))


def most_values(page_bytes: int) -> int:
    """Return how many rows, or values beside them, a body may have: more take more memory than its bytes do."""
    return max(page_bytes, LIGHT) // BYTES_EACH


def check_rows(rows: Raw | bytes, most: int) -> None:
    """Raise ``LimitExceeded`` for a JSON list of more rows than ``most``.

    Rows that are neither all objects nor all lists nor all strings may have no more commas in them either.
    """
    text = memoryview(rows)
    if text.nbytes <= LIGHT or _count_commas(text) < most:
        return
    # Most of the commas may be in the rows: msgspec passes over these without keeping anything of them.
    for decoder in _DECODERS:
        _left.rows = most
        try:
            decoder.decode(rows)
        except msgspec.ValidationError:
            continue  # another kind of row
        except LimitExceeded:
            break
        except msgspec.DecodeError:
            return  # few rows, and then no JSON: the decoder of the rows says so
        else:
            return
    raise too_many(most)


def check_beside(place: Raw | bytes, name: str, most: int) -> None:
    """Raise ``LimitExceeded`` for a JSON object with more values than ``most`` beside what is at ``name``.

    Raises what msgspec raises for a text that is no object.
    """
    text = memoryview(place)
    commas = 0 if text.nbytes <= LIGHT else _count_commas(text)
    if commas <= most:
        return
    found = _only(name).decode(place).rows
    if commas - (0 if found is None else _count_commas(memoryview(found))) > most:
        raise too_many(most)


def is_crowded(body: bytes, most: int) -> bool:
    """Say whether a text may have more values than ``most``."""
    return len(body) > LIGHT and body.count(b",") > most


def too_many(most: int) -> LimitExceeded:
    """Return the error for more rows than ``most``."""
    return LimitExceeded(
        f"the body has more than {most} rows, or values beside them: one for {BYTES_EACH} bytes of limits.page_bytes;"
        " lower page_size or raise the limit"
    )


def _count_commas(text: memoryview) -> int:
    # In pieces, since a view can neither count nor be copied for nothing.
    return sum(bytes(text[at : at + LIGHT]).count(b",") for at in range(0, text.nbytes, LIGHT))


@lru_cache(maxsize=16)
def _only(name: str) -> msgspec.json.Decoder[Any]:
    """Return what decodes one name of an object, and passes over all others."""
    kind = msgspec.defstruct("Only", [("rows", Raw, msgspec.field(name=name, default=None))])
    return msgspec.json.Decoder(kind)


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
    Raises ``RetryableError`` for a record that has another number of fields, ``ResponseError`` for a column that
    is there twice,
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


_OBJECT: Final = msgspec.json.Decoder(dict[str, Raw])

_LIST: Final = msgspec.json.Decoder(list[Raw])

_ANY: Final = msgspec.json.Decoder()

UTF8: Final = ("", "utf-8", "utf8", "us-ascii", "ascii")

TOO_DEEP: Final = "the body is nested too deeply"


@dataclass(frozen=True, slots=True)
class Parts:
    """A body taken apart: its rows as JSON Lines, how many, and the body without them; of CSV, its header line."""

    lines: bytes = b""
    count: int = 0
    envelope: Json = None
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What may stand where the rows should be, and means that there are none: nothing at all, or null.

    ``most``: how many rows there may be, and how many values beside them.
    """

    missing: bool = False
    null: bool = False
    most: int = sys.maxsize


STRICT: Final = Tolerance()


def is_blank(body: bytes) -> bool:
    """Say whether there is nothing but white space, without a copy of a large body."""
    return not body or body.isspace()


def split(body: bytes, selector: str | None, tolerance: Tolerance = STRICT) -> Parts:
    """Take a JSON body apart at ``selector`` (``None``: the body is the list of rows).

    Raises ``RetryableError`` for a body that is no JSON, ``ResponseError`` for one in which the selector finds no list,
    ``LimitExceeded`` for one with too much in it.
    """
    steps = _steps(selector)
    at = steps.index(ALL)
    try:
        envelope, found = _peel(Raw(body), steps[:at], tolerance)
        rows = _elements(found, tolerance)
        if at:
            _refuse_twice(body, found)
        if rest := steps[at + 1 :]:
            rows = _dug(rows, rest, tolerance)
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
    """Return what a JSON text says, or ``ABSENT`` for a text that is none, or one that may have more values."""
    if text.count(",") > most:
        return ABSENT
    try:
        return _ANY.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return ABSENT


@lru_cache(maxsize=64)
def _steps(selector: str | None) -> Path:
    """Return the way to the single row; a selector without [*] names the list."""
    path = parse_path(selector) if selector else ()
    return path if ALL in path else (*path, ALL)


def _peel(raw: Raw, names: Path, tolerance: Tolerance) -> tuple[Json, Raw | None]:
    """Follow ``names`` down to the rows; return what is beside the way, and what lies at its end."""
    envelope: Json = None
    place: dict[str, Any] = {}
    for depth, name in enumerate(names):
        if tolerance.null and _is_null(raw):
            return envelope, raw
        if memoryview(raw).nbytes > LIGHT:
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
            raise _absent(names[: depth + 1], beside)
        raw, place = rows, level
    return envelope, raw


def _dug(elements: list[Raw], steps: Path, tolerance: Tolerance) -> list[Raw]:
    rows: list[Raw] = []
    for element in elements:
        rows += _dig(element, steps, tolerance)
        if len(rows) > tolerance.most:
            raise too_many(tolerance.most)
    return rows


def _dig(raw: Raw, steps: Path, tolerance: Tolerance) -> list[Raw]:
    for depth, step in enumerate(steps):
        if step is ALL:
            return _dug(_elements(raw, tolerance), steps[depth + 1 :], tolerance)
        if tolerance.null and _is_null(raw):
            return []
        check_beside(raw, str(step), tolerance.most)
        found = _OBJECT.decode(raw)
        if step not in found:
            if tolerance.missing:
                return []
            raise _absent((ALL, *steps[: depth + 1]), found)
        if bytes(raw).count(b'"%b"' % str(step).encode()) > 1:
            _refuse_twice(bytes(raw), found[str(step)])
        raw = found[str(step)]
    return [raw]


def _elements(raw: Raw | None, tolerance: Tolerance) -> list[Raw]:
    if raw is None or (tolerance.null and _is_null(raw)):
        return []
    if memoryview(raw).nbytes > LIGHT:
        check_rows(raw, tolerance.most)
    return _LIST.decode(raw)


def _is_null(raw: Raw) -> bool:
    return memoryview(raw).nbytes < LIGHT and bytes(raw).strip() == b"null"


def _refuse_twice(body: bytes, found: Raw | None) -> None:
    """Refuse a name that is twice in one object beside the rows: readers differ in which value they take."""
    if found is None:
        _ONCE.decode(body.decode())
        return
    rows = bytes(found)
    # bytes.find is slow for a long needle.
    start, at = rows[:64], body.find(rows[:64])
    while at >= 0 and not body.startswith(rows, at):
        at = body.find(start, at + 1)
    with suppress(ValueError):  # the same text was a part of a string: there is nothing to learn then
        _ONCE.decode(f"{body[:at].decode()}0{body[at + len(rows) :].decode()}")


def _once(pairs: list[tuple[str, Any]]) -> None:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ResponseError(f"the response has a name twice in {seen(value)}")


# Numbers may be longer than Python likes to convert; their values are not wanted.
_ONCE: Final = json.JSONDecoder(object_pairs_hook=_once, parse_int=str, parse_float=str)


def _line(row: bytes) -> bytes:
    if b"\n" in row or b"\r" in row:
        # Only white space between tokens can hold a line break: a string must escape it.
        row = msgspec.json.format(row, indent=-1)
    return row + b"\n"


def _absent(path: Path, beside: Mapping[str, Any]) -> ResponseError:
    way = ".".join(str(step) for step in path).replace(".[*]", "[*]")
    return ResponseError(
        f"data_selector: the answer has nothing at {way!r}, only {seen(dict(beside))};"
        " if that says that there are no rows, set missing_rows='empty' in response"
    )


def _unexpected(body: bytes, selector: str | None, most: int) -> Exception:
    """Say what is there instead of a list; or that the body, past that place, is no JSON at all."""
    if is_crowded(body, most):
        return ResponseError("the answer has no list of rows where one is due, and too much else to say what is there")
    try:
        value = _ANY.decode(body)
    except msgspec.DecodeError:
        return RetryableError("the body is not JSON")
    except RecursionError:
        return ResponseError(TOO_DEEP)
    misfit = _misfit(value, _steps(selector))
    advice = "; if that says that there are no rows, set null_rows='empty' in response" if misfit is None else ""
    if selector is None:
        advice = "; name the list in it with data_selector" if isinstance(value, dict) else advice
        return ResponseError(f"the answer should be a list of rows, it is {seen(value)}{advice}")
    return ResponseError(
        f"data_selector {selector!r} should lead to a list of rows, it leads to {seen(misfit)}{advice}"
    )


def _misfit(value: Json, path: Path) -> Json:
    """Return the first value that is not what the path goes through, or ``ABSENT`` where all are."""
    for depth, step in enumerate(path):
        if step is ALL and isinstance(value, list):
            found = (_misfit(element, path[depth + 1 :]) for element in value)
            return next((each for each in found if each is not ABSENT), ABSENT)
        if step is ALL or not isinstance(value, dict):
            return value
        value = value.get(str(step), ABSENT)
    return ABSENT
