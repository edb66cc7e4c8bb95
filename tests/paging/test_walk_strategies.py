"""Whatever the strategy, the tables and the crew: a walk comes to the rows of the tables, in their order."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from airflow_paginated.paging import (
    Completeness,
    Cursor,
    HeaderCursor,
    HeaderLink,
    JsonLink,
    Keyset,
    Offset,
    PageNumber,
    PageRequest,
    Sliced,
)
from airflow_paginated.paging.completeness import Audit
from airflow_paginated.paging.errors import PageFailed, ResponseError
from airflow_paginated.paging.protocols import Pagination, totals_of, trimmed_by
from airflow_paginated.paging.values import Landing, Page, PageRecord
from airflow_paginated.paging.walk import Window, walk
from tests.paging.api import Gate, Place, by_partition, no_delay, seeds_of
from tests.paging.load import Load, watched
from tests.paging.tables import Tables, full_pages, plain_pages, text_of

thorough = partial(settings, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

TOTAL: dict[str, Any] = {"total_path": "meta.total"}
HEADER: dict[str, Any] = {"total_header": "X-Total"}
MORE: dict[str, Any] = {"has_more_path": "meta.more"}
BARE: dict[str, Any] = {"stop_after_empty_page": True}
HINT: dict[str, Any] = {**TOTAL, **BARE, "total_is": "hint"}
HEAD: dict[str, Any] = {**HEADER, "total_method": "HEAD"}
BODY: dict[str, Any] = {"inject_into": "body"}

PLANNED: list[Pagination] = [
    *(kind(**rule) for kind in (PageNumber, Offset) for rule in (TOTAL, HEADER, HEAD, {**TOTAL, **MORE})),
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
    PageNumber(**HEAD, **BARE, total_is="hint"),
    Offset(**HEAD, **MORE, total_is="hint"),
]
IN_TURN: list[Pagination] = [
    Cursor(cursor_path="next"),
    Cursor(cursor_path="next", **TOTAL, **BODY),
    Cursor(cursor_path="next", first_cursor="", **MORE),
    Cursor(cursor_path="next", stop_on_same_cursor=True, inject_into="header"),
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
        PageNumber(**HEAD),
        PageNumber(**HINT),
        Cursor(cursor_path="next", **TOTAL),
        HeaderLink(**HEADER),
        JsonLink(next_url_path="link", **HEADER),
        Offset(**HEADER, on_short_page="fail"),
    )
]


@dataclass(frozen=True)
class Case:
    """Tables, a strategy that fits them, and the size of the crew."""

    tables: Tables
    pagination: Pagination
    workers: int
    window: Window

    @property
    def seeds(self) -> list[PageRequest]:
        return seeds_of(self.pagination, len(self.tables.keys))

    @property
    def expected(self) -> dict[tuple[int, ...], list[Landing]]:
        """Return what a plain loop over each partition comes to, of an API that does not dawdle."""
        prompt = replace(self.tables, delay=no_delay)
        return by_partition([one for seed in self.seeds for one in plain_pages(seed, prompt, self.pagination)])

    @property
    def rows(self) -> bytes:
        return b"".join(self.tables.rows(table) for table in range(len(self.tables.keys)))


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


@st.composite
def cases(draw: st.DrawFn, strategies: list[Any], ties: bool = False, lengths: bool = False, far: bool = False) -> Case:
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
    workers = draw(st.integers(1, 8))
    return Case(api, pagination, workers, Window(draw(st.integers(1, 5 * workers))))


def check(case: Case) -> Load:
    """Walk, and compare with the plain loop, with the tables and with every bound."""
    load, audit, total = Load(case.tables), Audit(Completeness()), totals_of(case.pagination)
    trim = trimmed_by(case.pagination)

    def admit(page: Page) -> Page:
        return audit.admit(trim(page))

    landings = []
    for landing in walk(case.seeds, load, watched(case.pagination, load), case.workers, case.window, admit=admit):
        audit.see(PageRecord.of(landing, total(landing.page)))
        landings.append(landing)
    assert audit.account().complete
    assert by_partition(landings) == case.expected
    assert text_of(landings) == case.rows
    assert max(load.asked.values()) == 1, "a page was asked for twice"
    assert not load.too_early, "a page was sent before its partition's first one had come"
    assert load.most_held <= case.window.pages
    assert load.most_running <= case.workers
    assert load.most_unsure <= case.workers
    assert load.most_open <= case.window.pages + 1
    return load


@given(case=cases(PLANNED))
@thorough(max_examples=200)
def test_strategies_that_plan(case: Case) -> None:
    check(case)


@given(case=cases(GUESSED, far=True))
@thorough(max_examples=150)
def test_strategies_that_guess(case: Case) -> None:
    check(case)


@given(case=cases(IN_TURN))
@thorough(max_examples=120)
def test_strategies_that_go_on_from_page_to_page(case: Case) -> None:
    check(case)


@given(case=cases([each for each in IN_TURN if not isinstance(each, JsonLink)], lengths=True))
@thorough(max_examples=60)
def test_so_they_do_where_pages_are_of_any_length(case: Case) -> None:
    """All but links: those of the tables count pages."""
    check(case)


@given(case=cases(KEYS))
@thorough(max_examples=80)
def test_keys(case: Case) -> None:
    check(case)


@given(case=cases(TIES, ties=True))
@thorough(max_examples=150)
def test_keys_that_rows_share(case: Case) -> None:
    """As many rows as a page holds less one; of a table that has one key only, nobody can tell whether that was all."""
    keyset = case.pagination
    assert isinstance(keyset, Keyset)
    untold = not (keyset.has_more_path or keyset.counts_rows)
    if untold and any(len(keys) > 1 and len(set(keys)) == 1 for keys in case.tables.keys):
        with pytest.raises(ResponseError, match="as many rows as a page holds share the key"):
            check(case)
        event("fails")
    else:
        check(case)


@given(case=cases(RECEIVED, lengths=True))
@thorough(max_examples=100)
def test_offsets_that_follow_the_rows(case: Case) -> None:
    check(case)


@given(case=cases(SLICED))
@thorough(max_examples=200)
def test_slices(case: Case) -> None:
    load = check(case)
    event(f"{max(len(partition) for partition, _ in load.asked)} deep")


@given(case=cases([*PLANNED, *GUESSED, *IN_TURN, *KEYS, *TIES, *RECEIVED, *SLICED]), data=st.data())
@thorough(max_examples=150)
def test_a_failure_leaves_a_prefix_of_each_partition(case: Case, data: st.DataObject) -> None:
    table = data.draw(st.integers(0, len(case.tables.keys) - 1), label="table")
    pages = -(-len(case.tables.keys[table]) // case.tables.page_size)
    failing = replace(case.tables, broken={(table, data.draw(st.integers(0, pages + 1), label="page"))})
    expected, trim = case.expected, trimmed_by(case.pagination)
    landings, failed = [], False
    try:
        for landing in walk(case.seeds, failing, case.pagination, case.workers, case.window, admit=trim):
            landings.append(landing)
    except PageFailed:
        failed = True
    found = by_partition(landings)
    for partition, some in found.items():
        assert some == expected[partition][: len(some)]
    assert failed or found == expected
    event(f"{failed=}")


def test_header_links_are_fetched_before_their_turn() -> None:
    """From the third page on: the first two show how the links count."""
    with (
        Gate(Tables(keys=[range(100)]), lambda request: request.index > 1) as gate,
        closing(walk(seeds_of(HeaderLink(), 1), gate, HeaderLink(), 8, Window(32))) as running,
    ):
        assert [next(running).page.request.index for _ in range(2)] == [0, 1]
        assert gate.wait_for(*range(2, 10))
