"""From the bytes of a body to JSON Lines, without a float rounded, a digit lost or a key moved."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import Raw

from airflow_paginated.paging.errors import LimitExceeded, ResponseError
from airflow_paginated.paging.selectors import ALL, Path, parse_path, seen
from airflow_paginated.paging.values import Json
from airflow_paginated.transport.faults import Fault

_OBJECT: Final = msgspec.json.Decoder(dict[str, Raw])
_LIST: Final = msgspec.json.Decoder(list[Raw])
_ANY: Final = msgspec.json.Decoder()
BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Split:
    """A body taken apart: its rows as JSON Lines, how many, and the body without them."""

    lines: bytes
    count: int
    envelope: Json


def inflate(body: bytes, encoding: str, most: int) -> bytes:
    """Undo the content coding, up to ``most`` bytes.

    Raises ``Fault`` for a coding that is broken or does not reach its end, ``LimitExceeded`` for too many bytes.
    """
    coding = encoding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip"):
        raise ResponseError(f"the answer has the content coding {coding[:40]!r}; only gzip was accepted")
    machine = zlib.decompressobj(31)
    try:
        plain = machine.decompress(body, most + 1)
    except zlib.error:
        raise Fault("the gzip body is corrupt") from None
    if len(plain) > most:
        raise LimitExceeded(
            f"the decoded body is larger than limits.page_bytes={most}; lower page_size or raise the limit"
        )
    if not machine.eof:
        raise Fault("the gzip body does not reach its end")
    return plain


def to_utf8(body: bytes, content_type: str) -> bytes:
    """Return the body as UTF-8 without a byte order mark.

    Raises ``Fault`` for bytes that are not text in the charset that they declare (UTF-8 where none is).
    """
    charset = _charset(content_type)
    try:
        text = body.decode(charset)
    except UnicodeDecodeError:
        raise Fault(f"the body is not {charset}") from None
    except LookupError:
        raise ResponseError(f"the answer declares the unknown charset {charset[:40]!r}") from None
    plain = body if charset == "utf-8" else text.encode()
    return plain.removeprefix(BOM)


def split(body: bytes, selector: str | None) -> Split:
    """Take a JSON body apart at ``selector`` (``None``: the body is the list of rows).

    Raises ``Fault`` for a body that is no JSON, ``ResponseError`` for one in which the selector finds no list.
    """
    try:
        return _split(body, parse_path(selector) if selector else ())
    except msgspec.ValidationError as exc:
        raise _unexpected(body, selector) from exc
    except msgspec.DecodeError:
        raise Fault("the body is not JSON" if body.strip() else "the body is empty") from None
    except RecursionError:
        raise ResponseError("the body is nested too deeply") from None


def _split(body: bytes, path: Path) -> Split:
    steps = path if ALL in path else (*path, ALL)
    at = steps.index(ALL)
    envelope, found = _peel(Raw(body), steps[:at])
    rows = _LIST.decode(found)
    if rest := steps[at + 1 :]:
        rows = [row for element in rows for row in _dig(element, rest)]
    return Split(_lines(rows), len(rows), envelope)


def _peel(raw: Raw, names: Path) -> tuple[Json, Raw]:
    """Follow ``names`` down to the rows; return what is beside the way, and what lies at its end."""
    envelope: Json = None
    place: dict[str, Any] = {}
    for depth, name in enumerate(names):
        beside = _OBJECT.decode(raw)
        if name not in beside:
            raise _absent(names[: depth + 1], beside)
        raw = beside.pop(str(name))
        level = {key: _ANY.decode(value) for key, value in beside.items()}
        if depth == 0:
            envelope = level
        else:
            place[str(names[depth - 1])] = level
        place = level
    return envelope, raw


def _dig(raw: Raw, steps: Path) -> list[Raw]:
    for depth, step in enumerate(steps):
        if step is ALL:
            return [row for element in _LIST.decode(raw) for row in _dig(element, steps[depth + 1 :])]
        found = _OBJECT.decode(raw)
        if step not in found:
            raise _absent((ALL, *steps[: depth + 1]), found)
        raw = found[str(step)]
    return [raw]


def _lines(rows: list[Raw]) -> bytes:
    lines = b"\n".join([*rows, b""])
    if lines.count(b"\n") != len(rows) or b"\r" in lines:
        # Only white space between tokens can hold a line break: a string must escape it.
        lines = b"".join(msgspec.json.format(bytes(row), indent=-1) + b"\n" for row in rows)
    return lines


def _absent(path: Path, beside: Mapping[str, Any]) -> ResponseError:
    way = ".".join(str(step) for step in path).replace(".[*]", "[*]")
    return ResponseError(f"data_selector: the answer has nothing at {way!r}, only {seen(dict(beside))}")


def _unexpected(body: bytes, selector: str | None) -> Exception:
    """Say what is there instead of a list; or that the body, past that place, is no JSON at all."""
    try:
        value = _ANY.decode(body)
    except msgspec.DecodeError:
        return Fault("the body is not JSON")
    if selector is None:
        advice = "; name the list in it with data_selector" if isinstance(value, dict) else ""
        return ResponseError(f"the answer should be a list of rows, it is {seen(value)}{advice}")
    for step in parse_path(selector):
        if step is ALL or not isinstance(value, dict):
            break
        value = value.get(str(step))
    return ResponseError(f"data_selector {selector!r} should lead to a list of rows, it leads to {seen(value)}")


def _charset(content_type: str) -> str:
    for part in content_type.split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip("\"'").lower()
            return "utf-8" if charset in ("utf8", "utf-8", "us-ascii", "ascii", "") else charset
    return "utf-8"
