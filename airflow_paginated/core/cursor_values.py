"""Values that order rows, as an API sends them: numbers, timestamps and other strings."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any, Final, Literal, TypeAlias

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.values import Json

Kind: TypeAlias = Literal["number", "timestamp", "timestamp without an offset", "text"]

KindOption: TypeAlias = Literal["auto", "number", "timestamp", "text"]

CURSOR_VALUE_KINDS: Final = ("auto", "number", "timestamp", "text")

_TIMESTAMP: Final = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:(?P<t>[Tt ])(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:(?P<point>[.,])(?P<fraction>[0-9]{1,12}))?)?"
    r"(?P<offset> ?(?:[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?))?)?"
)

_DECIMAL_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")

_UNSORTABLE_DATE: Final = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*,? .*[0-9].*"
    r"|[0-9]{1,2}[ /.-]([0-9]{1,2}|[A-Z][a-z]{2,8})[ /.-][0-9]{2,4}.*"
)

_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()

_DAY_SECONDS: Final = 86400

MAX_STRING_CHARS: Final = 256
"""Rows are hardly ordered by a longer string, which would have to fit into a query."""

_MAX_NUMBER_DIGITS: Final = 60

# Rounds down if it must: starting too early costs little, starting too late loses rows.
_subtract_down: Final = Context(prec=2 * _MAX_NUMBER_DIGITS, rounding=ROUND_FLOOR).subtract


@dataclass(frozen=True, slots=True)
class CursorValue:
    """A value as it was sent: its characters, whether it was a JSON string, its kind, and ``at``, which sorts it.

    ``at`` is a number, the exact seconds since 1970 of a timestamp, or the string itself.
    """

    text: str
    quoted: bool
    kind: Kind
    at: Any

    @property
    def json(self) -> Json:
        """The JSON form that ``cursor_value_from_json`` reads; a number that JSON readers would round is a string."""
        if self.quoted:
            return self.text
        return {"number": self.text} if isinstance(self.sent, str) else self.sent

    @property
    def sent(self) -> str | int:
        """The value for a request or a result: an integer, or exactly the characters that were sent."""
        if self.quoted or not self.text.lstrip("-").isdigit() or not -(2**63) <= int(self.text) < 2**63:
            return self.text
        return int(self.text)

    def before(self, less: Decimal, now: Decimal | None = None) -> CursorValue:
        """Return the value ``less`` (seconds or units) before this one, or before ``now`` if that is earlier.

        It has the format of this one, rounded down. Raises ``ConfigurationError`` for a string.
        """
        if self.kind == "text":
            if less:
                raise ConfigurationError(f"incremental: lookback cannot be applied to a string such as {self.text!r}")
            return self
        at = _subtract_down(Decimal(self.at if now is None or self.kind != "timestamp" else min(self.at, now)), less)
        if at >= self.at:
            return self
        if self.kind == "number":
            return CursorValue(format(at, "f"), self.quoted, "number", at)
        text = _format_like(self.text, at)
        return CursorValue(text, True, self.kind, _parse_timestamp(text)[1])


def parse_cursor_value(raw: bytes, kind: KindOption) -> CursorValue | None:
    """Return the value that raw JSON holds, ``None`` for null. Raises ``ValueError``, which describes anything else."""
    if raw == b"null":
        return None
    if raw[:1] == b'"':
        return _parse_string(raw[1:-1].decode() if b"\\" not in raw else json.loads(raw), kind)
    if raw[:1] in b"tf[{":
        raise ValueError("neither a number nor a string")
    if kind in ("timestamp", "text"):
        raise ValueError(f"a number, but kind={kind!r} expects a string")
    return CursorValue(raw.decode(), False, "number", _parse_number(raw.decode()))


def cursor_value_from_json(value: Json, kind: KindOption) -> CursorValue:
    """Return the value that ``CursorValue.json`` stands for. Raises ``ValueError``."""
    if isinstance(value, dict) and isinstance(value.get("number"), str):
        return CursorValue(value["number"], False, "number", _parse_number(value["number"]))
    found = parse_cursor_value(json.dumps(value).encode(), kind)
    if found is None:
        raise ValueError("null")
    return found


def _parse_string(text: str, kind: KindOption) -> CursorValue:
    if len(text) > MAX_STRING_CHARS:
        raise ValueError(f"a string of {len(text)} characters, more than {MAX_STRING_CHARS}")
    if kind != "text":
        if kind != "number" and (found := _parse_timestamp(text)):
            return CursorValue(text, True, *found)
        if kind != "timestamp" and _DECIMAL_NUMBER.fullmatch(text):
            return CursorValue(text, True, "number", _parse_number(text))
        if kind != "auto":
            raise ValueError(f"a string that is not a {kind}")
        if _UNSORTABLE_DATE.fullmatch(text):
            raise ValueError("a date in a format that does not sort; only ISO 8601 dates do")
    return CursorValue(text, True, "text", text)


def _parse_number(text: str) -> Decimal:
    """Parse a number of plausible size: writing out 1e999999999 would take a gigabyte."""
    try:
        number = Decimal(text)
    except ArithmeticError:
        raise ValueError("not a number") from None
    _, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int) or len(digits) + abs(exponent) > _MAX_NUMBER_DIGITS:
        raise ValueError(f"a number with more than {_MAX_NUMBER_DIGITS} digits")
    return number


def _parse_timestamp(text: str) -> Any:
    """Return the kind and the seconds since 1970 of an ISO 8601 timestamp, or ``None`` for any other string.

    A timestamp without an offset is read as UTC: it is only compared with others of its kind.
    """
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        return None
    day, hour, minute, second, fraction, offset = found.group("date", "hour", "minute", "second", "fraction", "offset")
    hours, minutes, seconds = int(hour or 0), int(minute or 0), int(second or 0)
    try:
        days = date.fromisoformat(day).toordinal() - _EPOCH_ORDINAL
    except ValueError:
        return None
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    at: Any = days * _DAY_SECONDS + hours * 3600 + minutes * 60 + seconds - _offset_seconds(offset)
    if fraction:
        at += Decimal(f"0.{fraction}")
    return "timestamp" if offset else "timestamp without an offset", at


def _offset_seconds(text: str | None) -> int:
    digits = (text or "").strip(" Zz").replace(":", "")
    if not digits:
        return 0
    seconds = int(digits[1:3]) * 3600 + int(digits[3:5] or 0) * 60
    return -seconds if digits[0] == "-" else seconds


def _format_like(text: str, at: Any) -> str:
    """Format an instant like another timestamp, rounded down to its precision."""
    found = _TIMESTAMP.fullmatch(text)
    assert found is not None, "only timestamps are formatted"  # noqa: S101  # for mypy
    local = at + _offset_seconds(found["offset"])
    whole = math.floor(local)
    days, second = divmod(max(whole, (1 - _EPOCH_ORDINAL) * _DAY_SECONDS), _DAY_SECONDS)
    written = date.fromordinal(days + _EPOCH_ORDINAL).isoformat()
    if found["t"]:
        written += f"{found['t']}{second // 3600:02}:{second // 60 % 60:02}"
    if found["second"]:
        written += f":{second % 60:02}"
    if found["fraction"]:
        digits = len(found["fraction"])
        written += f"{found['point']}{int((local - whole) * 10**digits):0{digits}}"
    return written + (found["offset"] or "")
