"""What hypothesis draws: strategies of every kind, and tables that fit them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from airflow_paginated import (
    Cursor,
    HeaderCursor,
    HeaderLink,
    JsonLink,
    Keyset,
    Offset,
    PageNumber,
    Sliced,
)
from airflow_paginated.pagination.protocols import Pagination
from tests.collect.api import Place
from tests.collect.tables import Tables, full_pages

TOTAL: dict[str, Any] = {"total_path": "meta.total"}

HEADER: dict[str, Any] = {"total_header": "X-Total"}

MORE: dict[str, Any] = {"has_more_path": "meta.more"}

BARE: dict[str, Any] = {"stop_after_empty_page": True}

HINT: dict[str, Any] = {**TOTAL, **BARE, "total_is": "hint"}

BODY: dict[str, Any] = {"inject_into": "body"}

PLANNED: list[Pagination] = [
    *(kind(**rule) for kind in (PageNumber, Offset) for rule in (TOTAL, HEADER, {**TOTAL, **MORE})),
    PageNumber(total_path="meta.pages", total_kind="pages"),
    Offset(total_path="meta.pages", total_kind="pages"),
    Offset(**TOTAL, **BODY),
    PageNumber(**TOTAL, inject_into="header"),
    HeaderLink(),
    HeaderLink(**HEADER),
    HeaderLink(missing_next="end", own_host=True),
]

GUESSED: list[Pagination] = [
    *(kind(**rule) for kind in (PageNumber, Offset) for rule in (MORE, BARE, HINT, {**HINT, **MORE})),
]

IN_TURN: list[Pagination] = [
    Cursor(cursor_path="next"),
    Cursor(cursor_path="next", **TOTAL, **BODY),
    Cursor(cursor_path="next", first_cursor="", **MORE),
    Cursor(cursor_path="next", inject_into="header"),
    HeaderCursor(cursor_header="X-Next"),
    HeaderCursor(cursor_header="X-Next", **HEADER, **BODY),
    JsonLink(next_url_path="link"),
    JsonLink(next_url_path="link", **TOTAL, **MORE, own_host=True),
]

KEYS: list[Keyset] = [
    Keyset(key_path="key", key_param="after"),
    Keyset(key_path="key", key_param="after", first_key=-1000, **BODY),
    Keyset(key_path="key", key_param="after", **MORE),
    Keyset(key_path="key", key_param="after", **TOTAL),
]

TIES: list[Keyset] = [
    Keyset(key_path="key", key_param="since", inclusive=True),
    Keyset(key_path="key", key_param="since", inclusive=True, first_key=-1000, **BODY),
    Keyset(key_path="key", key_param="since", inclusive=True, **MORE),
    Keyset(key_path="key", key_param="since", inclusive=True, **TOTAL),
]

RECEIVED: list[Pagination] = [Offset(step="received", **rule) for rule in (TOTAL, MORE, BARE, HINT, {**HEADER, **BODY})]

SLICED: list[Pagination] = [
    Sliced(pagination=inner, from_param="low", to_param=to, start=-60, end=60, max_rows=6, to_inclusive=to == "top")
    for to in ("high", "top")
    for inner in (
        Offset(**TOTAL),
        Offset(**TOTAL, step="received"),
        PageNumber(**HEADER),
        PageNumber(**HINT),
        Cursor(cursor_path="next", **TOTAL),
        HeaderLink(**HEADER),
        JsonLink(next_url_path="link", **HEADER),
        Offset(**HEADER, on_short_page="fail"),
    )
]


def dawdling(seed: int, most: float) -> Callable[[Place], float]:
    """Return the delay of each page: most come at once, some later, by chance but always the same."""
    return lambda place: max(0.0, random.Random(hash((seed, *place))).uniform(-4 * most, most))


def uneven(seed: int, size: int) -> Callable[[Place], int | None]:
    """Return how many rows each page has: from one to all."""
    return lambda place: random.Random(hash((seed, *place))).randint(1, size)


unique = st.sets(st.integers(-50, 50), max_size=50).map(sorted)


def crowded(most: int) -> st.SearchStrategy[list[int]]:
    """Draw keys, none of which more rows than that have."""
    groups = st.lists(st.integers(1, most), max_size=15)
    return groups.map(lambda sizes: [number for number, size in enumerate(sizes) for _ in range(size)])


def of_one_key(keys: list[int]) -> bool:
    """Say whether all rows share a key: of such a table nobody can tell whether a page of it was all."""
    return len(keys) > 1 and len(set(keys)) == 1


@st.composite
def tables_and_strategies(
    draw: st.DrawFn, strategies: list[Any], ties: bool = False, lengths: bool = False, far: bool = False
) -> tuple[Tables, Pagination]:
    """Draw a strategy and tables for it; with ``far``, pages that nobody needs may fail."""
    pagination, size = draw(st.sampled_from(strategies)), draw(st.integers(2, 12))
    keys = crowded(size - 1) if ties else unique
    tables = draw(st.lists(keys, min_size=1, max_size=4))
    # What lies behind the page that may tell the end by being empty is needed by nobody.
    places = {(table, -(-len(rows) // size) + more) for table, rows in enumerate(tables) for more in range(1, 60)}
    api = Tables(
        keys=tables,
        page_size=size,
        cap=6 if isinstance(pagination, Sliced) else 10**9,
        broken=places if far and draw(st.booleans()) else (),
        length=uneven(draw(st.integers(0, 99)), size) if lengths else full_pages,
        delay=dawdling(draw(st.integers(0, 99)), draw(st.sampled_from([0.0, 0.0005, 0.002]))),
    )
    return api, pagination
