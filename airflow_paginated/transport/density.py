"""Bodies that would take many times their size once they are decoded: ``[0,0,0,...]`` takes eighty times its own."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Raw

from airflow_paginated.paging.errors import LimitExceeded

LIGHT: Final = 1024 * 1024
"""A smaller body is never too much, whatever is in it."""
BYTES_EACH: Final = 32
"""A page of the largest size may have one row for so many bytes of it."""
FAR: Final = 4
"""So many times more values than there may be need no closer look."""
STEPS: Final = 8_000_000
"""How many brackets, braces and commas are looked at: about two seconds."""
_TOKEN: Final = re.compile(rb'(?:[^"\[\]{},]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+(?:(,)|([\[{])|([\]}]))', re.DOTALL)

_COMMA, _OPENING = 1, 2


def most_values(page_bytes: int) -> int:
    """Return how many rows, or values beside them, a body may have: more take more memory than its bytes do."""
    return max(page_bytes, LIGHT) // BYTES_EACH


def check_rows(rows: Raw | bytes, most: int) -> None:
    """Raise ``LimitExceeded`` for a JSON list of more elements than ``most``."""
    text = memoryview(rows)
    if text.nbytes <= LIGHT:
        return
    reckoned = _reckon(text, most)
    if reckoned > FAR * most or (reckoned > most and _has_more(text, most)):
        raise too_many(most)


def check_beside(place: Raw | bytes, name: str, most: int) -> None:
    """Raise ``LimitExceeded`` for a JSON object with more values than ``most`` beside what is at ``name``.

    Raises what msgspec raises for a text that is no object.
    """
    text = memoryview(place)
    commas = 0 if text.nbytes <= LIGHT else _count(text, b",")
    if commas <= most:
        return
    found = _only(name).decode(place).rows
    if commas - (0 if found is None else _count(memoryview(found), b",")) > most:
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


def _reckon(text: memoryview, most: int) -> int:
    """Return how many elements a list has at most: those of all lists in it, and what looks like one in a string."""
    commas = _count(text, b",")
    if commas < most:
        return commas + 1
    # An object has a comma less than it has names, a list one less than it has elements.
    names = _count(text, b'":', b'" :') - _count(text, b'\\":', b'\\" :')
    return min(commas + 1, commas - names + _count(text, b"{", b"["))


def _count(text: memoryview, *each: bytes) -> int:
    # In pieces, since a view can neither count nor be copied for nothing.
    pieces = (bytes(text[at : at + LIGHT]) for at in range(0, text.nbytes, LIGHT))
    return sum(piece.count(one) for piece in pieces for one in each)


def _has_more(text: memoryview, most: int) -> bool:
    """Count the elements of a list one by one; what takes too long to count is too much."""
    at = depth = commas = 0
    for _ in range(STEPS):
        token = _TOKEN.match(text, at)
        if token is None:
            return False
        at = token.end()
        # A group of a view is a view: costly to make, and to compare.
        if token.lastindex == _COMMA:
            commas += depth == 1
            if commas >= most:
                return True
        else:
            depth += 1 if token.lastindex == _OPENING else -1
    return True


@lru_cache(maxsize=16)
def _only(name: str) -> msgspec.json.Decoder[Any]:
    """Return what decodes one name of an object, and passes over all others."""
    kind = msgspec.defstruct("Only", [("rows", Raw, msgspec.field(name=name, default=None))])
    return msgspec.json.Decoder(kind)
