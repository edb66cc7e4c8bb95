"""Bodies that would take many times their size once they are decoded: ``[0,0,0,...]`` takes eighty times its own."""

from __future__ import annotations

import enum
import secrets
import threading
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Raw

from airflow_paginated.paging.errors import LimitExceeded

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
_OBJECT: Final[Any] = msgspec.defstruct("_Object", [], **_COUNTING)
_LIST: Final[Any] = msgspec.defstruct("_List", [], array_like=True, **_COUNTING)
_DECODERS: Final = tuple(map(msgspec.json.Decoder, (set[_OBJECT], set[_LIST], set[_String])))


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
