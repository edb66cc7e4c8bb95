"""Whatever the strategy, the tables and the crew: a walk comes to the rows of the tables, in their order."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from airflow_paginated import (
    Completeness,
    HeaderLink,
    JsonLink,
    Keyset,
    PageRequest,
)
from airflow_paginated.collect.audit import Audit
from airflow_paginated.collect.scheduler import Window, fetch_in_order
from airflow_paginated.core.errors import IncompleteError, PageFailed, ResponseError
from airflow_paginated.core.values import OrderedPage, Page, PageRecord
from airflow_paginated.pagination.protocols import Pagination, totals_of, trimmed_by
from tests.collect.api import Gate, by_partition, no_delay, seeds_of
from tests.collect.drawn import (
    GUESSED,
    IN_TURN,
    KEYS,
    PLANNED,
    RECEIVED,
    SLICED,
    TIES,
    of_one_key,
    tables_and_strategies,
)
from tests.collect.load import Load, watched
from tests.collect.tables import Tables, plain_pages, text_of

thorough = partial(settings, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


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
    def expected(self) -> dict[tuple[int, ...], list[OrderedPage]]:
        """Return what a plain loop over each partition comes to, of an API that does not dawdle."""
        prompt = replace(self.tables, delay=no_delay)
        return by_partition([one for seed in self.seeds for one in plain_pages(seed, prompt, self.pagination)])

    @property
    def rows(self) -> bytes:
        return b"".join(self.tables.rows(table) for table in range(len(self.tables.keys)))


@st.composite
def cases(draw: st.DrawFn, *given: Any, **more: Any) -> Case:
    tables, pagination = draw(tables_and_strategies(*given, **more))
    workers = draw(st.integers(1, 8))
    return Case(tables, pagination, workers, Window(draw(st.integers(1, 5 * workers))))


def check(case: Case) -> Load:
    """Walk, and compare with the plain loop, with the tables and with every bound."""
    load, audit, total = Load(case.tables), Audit(Completeness()), totals_of(case.pagination)
    trim = trimmed_by(case.pagination)

    def admit(page: Page) -> Page:
        return audit.admit(trim(page))

    landings = []
    for landing in fetch_in_order(
        case.seeds, load, watched(case.pagination, load), case.workers, case.window, admit=admit
    ):
        audit.add_page(PageRecord.of(landing, total(landing.page)))
        landings.append(landing)
    assert audit.report().complete
    assert by_partition(landings) == case.expected
    assert text_of(landings) == case.rows
    assert max(load.asked.values()) == 1, "a page was asked for twice"
    assert not load.too_early, "a page was sent before its partition's first one had come"
    assert load.most_held <= case.window.pages
    assert load.most_running <= case.workers
    assert load.most_unsure <= case.workers
    # What a split leaves waiting stays open.
    assert load.most_open <= (case.window.pages + 1) * max(len(partition) for partition, _ in load.asked)
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
    if untold and any(map(of_one_key, case.tables.keys)):
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
        for landing in fetch_in_order(case.seeds, failing, case.pagination, case.workers, case.window, admit=trim):
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
        closing(fetch_in_order(seeds_of(HeaderLink(), 1), gate, HeaderLink(), 8, Window(32))) as running,
    ):
        assert [next(running).page.request.index for _ in range(2)] == [0, 1]
        assert gate.wait_for(*range(2, 10))


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_a_last_page_that_is_not_there_does_not_count(workers: int) -> None:
    """The links end before the page that the first ones call the last; those behind it fail."""
    tables = Tables(keys=[range(35)])

    def fetch(request: PageRequest) -> Page:
        if request.index > 3:
            raise PageFailed(f"page {request.index}")
        page = tables(request)
        return replace(page, headers={"link": re.sub('4>; rel="last', '9>; rel="last', page.headers["link"])})

    landings = list(fetch_in_order(seeds_of(HeaderLink(), 1), fetch, HeaderLink(), workers, Window(4 * workers)))
    assert text_of(landings) == tables.rows(0)


def test_links_that_forget_their_partition_are_found() -> None:
    """The second page of each partition is that of all rows: they would be there once for each partition."""
    tables = Tables(keys=[range(35)] * 2)

    def fetch(request: PageRequest) -> Page:
        page = tables(replace(request, query={"table": 0, **request.query}))
        return replace(page, headers={"link": re.sub("table=[01]&", "", page.headers["link"])})

    audit = Audit(Completeness())
    with pytest.raises(IncompleteError, match=r"page 2 of partition [01] has the same request as an earlier page"):
        list(fetch_in_order(seeds_of(HeaderLink(), 2), fetch, HeaderLink(), 2, Window(8), admit=audit.admit))
