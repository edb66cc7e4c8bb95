"""What hypothesis draws for the core: cases to collect, and fates of tries."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from airflow_paginated import Offset, PageNumber
from airflow_paginated.pagination.protocols import Pagination
from tests.collect.api import Api, Cursor, InTurn, Style
from tests.collect.core import Case, Fate
from tests.collect.drawn import (
    GUESSED,
    IN_TURN,
    KEYS,
    PLANNED,
    RECEIVED,
    SLICED,
    TIES,
    dawdling,
    of_one_key,
    tables_and_strategies,
)
from tests.collect.tables import Tables

thorough = partial(settings, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

STOP_RULES: dict[Style, dict[str, Any]] = {
    "items": {"total_path": "meta.total"},
    "pages": {"total_path": "meta.total", "total_kind": "pages", "on_short_page": "accept"},
    "once": {"total_path": "meta.total"},
    "has_more": {"has_more_path": "more", "on_short_page": "accept"},
    "bare": {"stop_after_empty_page": True},
}


@st.composite
def cases(draw: st.DrawFn, least: int = 0, holes: bool = True) -> Case:
    style: Style = draw(st.sampled_from([*STOP_RULES, "cursor"]))
    size = draw(st.integers(1, 15))
    tables = draw(st.lists(st.integers(least, 60), min_size=1, max_size=5))
    numbered: list[Callable[..., Pagination]] = [PageNumber, partial(Offset, page_size=size)]
    pagination: Pagination = Cursor() if style == "cursor" else draw(st.sampled_from(numbered))(**STOP_RULES[style])
    if draw(st.integers(0, 5)) == 0:
        pagination = InTurn(pagination)
    # What lies well behind the end of a table may fail: nobody needs it.
    broken = {(n, -(-rows // size) + far) for n, rows in enumerate(tables) for far in range(1, 60)}
    may_be_empty = holes and style in ("pages", "has_more", "cursor")
    workers = draw(st.integers(1, 8))
    return Case(
        api=Api(
            tables=tables,
            style=style,
            page_size=size,
            broken=broken if draw(st.booleans()) else (),
            holes=draw(st.sets(st.tuples(st.just(0), st.integers(1, 5)), max_size=2)) if may_be_empty else (),
            delay=dawdling(draw(st.integers(0, 99)), draw(st.sampled_from([0.0, 0.0, 0.0005]))),
        ),
        pagination=pagination,
        workers=workers,
        window=draw(st.integers(1, 5 * workers)),
        part_bytes=draw(st.sampled_from([1, 500, 100_000])),
    )


KINDS = st.one_of(
    tables_and_strategies(PLANNED),
    tables_and_strategies(GUESSED, far=True),
    tables_and_strategies(IN_TURN),
    tables_and_strategies(KEYS),
    tables_and_strategies(TIES, ties=True).filter(lambda drawn: not any(map(of_one_key, drawn[0].keys))),
    tables_and_strategies(RECEIVED, lengths=True),
    tables_and_strategies(SLICED),
)


@st.composite
def cases_of_every_kind(draw: st.DrawFn, kinds: st.SearchStrategy[tuple[Tables, Pagination]] = KINDS) -> Case:
    api, pagination = draw(kinds)
    workers = draw(st.integers(1, 8))
    return Case(
        api=api,
        pagination=pagination,
        workers=workers,
        window=draw(st.integers(1, 5 * workers)),
        part_bytes=draw(st.sampled_from([1, 500, 100_000])),
    )


moments = st.sampled_from(["landing", "landing", "fetching", "publishing"])

whole_fates = st.builds(Fate, moments, st.integers(1, 20))

torn = st.sampled_from([1.0, 1.0, 0.999, 0.9, 0.5, 0.0]) | st.floats(0, 1)

fates = st.builds(Fate, moments, st.integers(1, 20), torn, st.booleans())

NEVER = Fate("landing", 0)
