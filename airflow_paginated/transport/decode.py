"""From the bytes of a body to JSON Lines, without a float rounded, a digit lost or a key moved."""

from __future__ import annotations

import codecs
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import msgspec
from msgspec import Raw

from airflow_paginated.paging.errors import LimitExceeded, ResponseError
from airflow_paginated.paging.selectors import ABSENT, ALL, Path, parse_path, seen
from airflow_paginated.paging.values import Json
from airflow_paginated.transport.density import check_beside, check_rows, is_crowded, too_many
from airflow_paginated.transport.faults import RetryableError

_OBJECT: Final = msgspec.json.Decoder(dict[str, Raw])
_LIST: Final = msgspec.json.Decoder(list[Raw])
_ANY: Final = msgspec.json.Decoder()
BOM: Final = b"\xef\xbb\xbf"
UTF8: Final = ("", "utf-8", "utf8", "us-ascii", "ascii")
LATIN: Final = frozenset({"iso8859-1", "iso8859-15", "cp1252"})
CODINGS: Final = ("br", "compress", "dcb", "dcz", "deflate", "gzip, gzip", "zstd")
NO_CHARSETS: Final = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"})
"""Text codecs of Python that no JSON is written in; some take quadratic time."""
TOO_DEEP: Final = "the body is nested too deeply"
PIECE: Final = 1024 * 1024
MEMBERS: Final = 64
"""The most gzip members of one body: each copies what is left of it."""


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


def inflate(body: bytes, encoding: str, most: int, growing: Callable[[], None] = lambda: None) -> bytes:
    """Undo the content coding, up to ``most`` bytes; ``growing`` is called where it makes more than a few of them.

    Raises ``RetryableError`` for a coding that is broken or does not reach its end, ``LimitExceeded`` for too many bytes.
    """
    coding = encoding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip"):
        named = coding if coding in CODINGS else "unknown"  # what is not a known name may be anything
        raise ResponseError(f"the content coding of the answer is {named}; only gzip was accepted")
    inflated = BytesIO()  # to join pieces would take twice the memory
    try:
        for piece in _gunzip(body):
            inflated.write(piece)
            if inflated.tell() >= PIECE:
                growing()
            if inflated.tell() > most:
                raise LimitExceeded(
                    f"the decoded body is larger than limits.page_bytes={most}; lower page_size or raise the limit"
                )
    except zlib.error:
        raise RetryableError("the gzip body is corrupt") from None
    return inflated.getvalue()


def _gunzip(body: bytes) -> Iterator[bytes]:
    """Yield what is in all members of a gzip file; in pieces, since zlib takes twice the memory of what it returns."""
    for _ in range(MEMBERS):
        machine = zlib.decompressobj(31)
        while not machine.eof:
            piece = machine.decompress(body, PIECE)
            if not piece and not machine.eof:
                raise RetryableError("the gzip body does not reach its end")
            yield piece
            body = machine.unconsumed_tail
        body = machine.unused_data
        if not body:
            return
    raise RetryableError(f"the gzip body has more than {MEMBERS} members")


def to_utf8(body: bytes, content_type: str) -> bytes:
    """Return the body as UTF-8 without a byte order mark.

    A body that declares Latin-1, or its like, and is UTF-8 is taken for UTF-8: real Latin-1 never looks like it.
    Raises ``RetryableError`` for bytes that are not text in the charset that they declare (UTF-8 where none is).
    """
    charset = _charset(content_type)
    if charset == "utf-8" or (charset in LATIN and _is_utf8(body)):
        if not _is_utf8(body):
            raise RetryableError("the body is not utf-8")
        return body.removeprefix(BOM)
    try:
        return body.decode(charset).encode().removeprefix(BOM)
    except UnicodeError:
        raise RetryableError(f"the body is not {charset}") from None


def is_blank(body: bytes) -> bool:
    """Say whether there is nothing but white space, without a copy of a large body."""
    return not body or body.isspace()


def _is_utf8(body: bytes) -> bool:
    try:
        if len(body) <= PIECE:
            body.decode()
            return True
        # As a whole, a large text with one rare character takes four times its size.
        decoder = codecs.getincrementaldecoder("utf-8")()
        for at in range(0, len(body), PIECE):
            decoder.decode(body[at : at + PIECE], final=at + PIECE >= len(body))
    except UnicodeDecodeError:
        return False
    return True


def split(body: bytes, selector: str | None, tolerance: Tolerance = STRICT) -> Parts:
    """Take a JSON body apart at ``selector`` (``None``: the body is the list of rows).

    Raises ``RetryableError`` for a body that is no JSON, ``ResponseError`` for one in which the selector finds no list,
    ``LimitExceeded`` for one with too much in it.
    """
    try:
        return _split(body, _steps(selector), tolerance)
    except msgspec.ValidationError:
        raise _unexpected(body, selector, tolerance.most) from None
    except msgspec.DecodeError:
        raise RetryableError("the body is empty" if is_blank(body) else "the body is not JSON") from None
    except RecursionError:
        raise ResponseError(TOO_DEEP) from None


def json_value(text: str, most: int = sys.maxsize) -> Json:
    """Return what a JSON text says, or ``ABSENT`` for a text that is none, or one that may have more values."""
    if text.count(",") > most:
        return ABSENT
    try:
        return _ANY.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return ABSENT


def _steps(selector: str | None) -> Path:
    """Return the way to the single row; a selector without [*] names the list."""
    path = parse_path(selector) if selector else ()
    return path if ALL in path else (*path, ALL)


def _split(body: bytes, steps: Path, tolerance: Tolerance) -> Parts:
    at = steps.index(ALL)
    envelope, found = _peel(Raw(body), steps[:at], tolerance)
    rows = _elements(found, tolerance)
    if at:
        _refuse_twice(body, found)
    if rest := steps[at + 1 :]:
        rows = _dug(rows, rest, tolerance)
    return Parts(_lines(rows), len(rows), envelope)


def _peel(raw: Raw, names: Path, tolerance: Tolerance) -> tuple[Json, Raw | None]:
    """Follow ``names`` down to the rows; return what is beside the way, and what lies at its end."""
    envelope: Json = None
    place: dict[str, Any] = {}
    for depth, name in enumerate(names):
        if tolerance.null and _is_null(raw):
            return envelope, raw
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
    check_rows(raw, tolerance.most)
    return _LIST.decode(raw)


def _is_null(raw: Raw) -> bool:
    return memoryview(raw).nbytes < PIECE and bytes(raw).strip() == b"null"


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
    names = {name for name, _ in pairs}
    if len(names) < len(pairs):
        raise ResponseError(f"the answer has a name twice in {seen(dict(pairs))}")


# Numbers may be longer than Python likes to convert; their values are not wanted.
_ONCE: Final = json.JSONDecoder(object_pairs_hook=_once, parse_int=str, parse_float=str)


def _lines(rows: list[Raw]) -> bytes:
    lines = b"\n".join([*rows, b""])
    if lines.count(b"\n") != len(rows) or b"\r" in lines:
        lines = b"".join(_line(bytes(row)) for row in rows)
    return lines


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


def _charset(content_type: str) -> str:
    """Return Python's name of the charset that a media type declares, of UTF-8 for none.

    Raises ``ResponseError`` for one that Python does not know.
    """
    for part in content_type.split(";")[1:]:
        name, _, value = part.partition("=")
        charset = value.strip().strip("\"'").lower()
        if name.strip().lower() == "charset" and charset not in UTF8:
            return _codec(charset)
    return "utf-8"


def _codec(charset: str) -> str:
    with suppress(LookupError, ValueError):
        codec = codecs.lookup(charset).name
        if codec not in NO_CHARSETS:
            "".encode(codec)  # refuses codecs that are not for text
            return "utf-8" if codec == "ascii" else codec
    raise ResponseError("the answer declares a charset that is none: see its Content-Type")
