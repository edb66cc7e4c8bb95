"""Whatever the API, the strategy and the timing: a walk comes to what a plain loop comes to, within its bounds."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from airflow_paginated import Offset, Page, PageNumber, PageRequest, Stop
from airflow_paginated.collect.scheduler import Window, fetch_in_order
from airflow_paginated.core.errors import PageFailed, ResponseError
from airflow_paginated.core.values import OrderedPage
from airflow_paginated.pagination.protocols import Pagination
from tests.collect.api import Api, Cursor, InTurn, Place, Style, by_partition, no_delay, plain_loop, seeds_of
from tests.collect.load import Load, watched

thorough = partial(settings, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@dataclass(frozen=True)
class Case:
    """An API, a strategy that fits it, and the size of the crew."""

    api: Api
    pagination: Pagination
    workers: int
    window: Window

    @property
    def seeds(self) -> list[PageRequest]:
        return seeds_of(self.pagination, len(self.api.tables))

    def expected(self, seeds: list[PageRequest]) -> dict[tuple[int, ...], list[OrderedPage]]:
        """Return what a plain loop over each partition comes to, of an API that does not dawdle."""
        prompt = replace(self.api, delay=no_delay)
        return {seed.partition: plain_loop(seed, prompt, self.pagination) for seed in seeds}


def dawdling(seed: int, most: float) -> Callable[[Place], float]:
    """Return the delay of each page: most come at once, some later, by chance but always the same."""

    def delay(place: Place) -> float:
        return max(0.0, random.Random(hash((seed, *place))).uniform(-4 * most, most))

    return delay


NUMBERED: dict[Style, dict[str, object]] = {
    "items": {"total_path": "meta.total"},
    "header": {"total_header": "X-Total"},
    "pages": {"total_path": "meta.total", "total_kind": "pages"},
    "once": {"total_path": "meta.total"},
    "now and then": {"total_path": "meta.total"},
    "has_more": {"has_more_path": "more"},
    "bare": {"stop_after_empty_page": True},
}

PLANNED: tuple[Style, ...] = ("items", "header", "pages", "once", "now and then")

GUESSED: tuple[Style, ...] = ("has_more", "bare")

EVERY: tuple[Style, ...] = (*PLANNED, *GUESSED, "cursor")

small = st.lists(st.integers(0, 40), min_size=1, max_size=4)

several_hundred = st.builds(
    lambda count, chance: random.Random(chance).choices(range(4), k=count), st.integers(200, 400), st.integers(0, 999)
)

no_holes: st.SearchStrategy[set[Place]] = st.just(set())

one_hole: st.SearchStrategy[set[Place]] = st.tuples(st.just(0), st.integers(1, 3)).map(lambda place: {place})

long = st.integers(17, 60).map(lambda rows: [rows])
"""Tables of more than four pages of four rows."""

some_holes = st.sets(st.tuples(st.just(0), st.integers(1, 5)), max_size=3)


@st.composite
def cases(
    draw: st.DrawFn,
    styles: tuple[Style, ...] = EVERY,
    tables: st.SearchStrategy[list[int]] = small,
    growing: bool = False,
    holes: st.SearchStrategy[set[Place]] = no_holes,
    accept: bool = False,
) -> Case:
    style, size = draw(st.sampled_from(styles)), draw(st.integers(1, 12))
    counts = draw(tables)
    api = Api(
        tables=counts,
        style=style,
        page_size=size,
        growth=draw(st.integers(1, 40)) if growing else 0,
        holes=draw(holes),
        delay=dawdling(draw(st.integers(0, 99)), draw(st.sampled_from([0.0, 0.0005, 0.002]))),
    )
    workers = draw(st.integers(1, 8))
    window = Window(draw(st.integers(1, 5 * workers)))
    if style == "cursor":
        return Case(api, Cursor(), workers, window)
    kind, own = draw(st.sampled_from([(PageNumber, {}), (Offset, {"page_size": size})]))
    rules = NUMBERED[style] | ({"on_short_page": "accept"} if accept else {})
    whole: Pagination = kind(**rules, **own)
    return Case(api, InTurn(whole) if draw(st.integers(0, 5)) == 0 else whole, workers, window)


def unwrapped(pagination: Pagination) -> Pagination:
    return pagination.whole if isinstance(pagination, InTurn) else pagination


def check(case: Case, seeds: list[PageRequest]) -> Load:
    """Walk, and compare with the plain loop and with every bound."""
    load = Load(case.api)
    landings = list(fetch_in_order(seeds, load, watched(case.pagination, load), case.workers, case.window))
    assert by_partition(landings) == case.expected(seeds)
    assert max(load.asked.values()) == 1, "a page was asked for twice"
    assert not load.too_early, "a page was sent before its partition's first one had come"
    assert load.most_held <= case.window.pages
    assert load.most_running <= case.workers
    assert load.most_unsure <= case.workers
    assert load.most_open <= case.window.pages + 1
    return load


@given(case=cases())
@thorough(max_examples=220)
def test_a_walk_comes_to_what_a_plain_loop_comes_to(case: Case) -> None:
    check(case, case.seeds)


@given(case=cases(tables=several_hundred))
@thorough(max_examples=15)
def test_so_it_does_with_several_hundred_partitions(case: Case) -> None:
    check(case, case.seeds)


@given(case=cases(styles=(*PLANNED, "has_more"), holes=some_holes, accept=True))
@thorough(max_examples=60)
def test_an_empty_page_in_the_middle_ends_nothing(case: Case) -> None:
    check(case, case.seeds)
    full = replace(case, api=replace(case.api, holes=()))
    places = {
        seed.partition: len(pages) for seed, pages in zip(case.seeds, full.expected(case.seeds).values(), strict=True)
    }
    assert {key: len(pages) for key, pages in case.expected(case.seeds).items()} == places


PROVED: tuple[Style, ...] = ("items", "header", "once", "now and then")


@given(case=cases(styles=(*PLANNED, "has_more"), tables=long, holes=one_hole))
@thorough(max_examples=120)
def test_an_empty_page_in_the_middle_fails_where_it_may_cost_rows(case: Case) -> None:
    """Offsets count rows: only a total of them proves that none fell between two pages, unless somebody accepts it."""
    style, numbered = case.api.style, unwrapped(case.pagination)
    case = replace(case, api=replace(case.api, page_size=4))
    if not isinstance(numbered, Offset) or style in PROVED:
        check(case, case.seeds)
        event("goes on")
        return
    ((_, hole),) = case.api.holes
    landings, raised = [], ""
    try:
        for landing in fetch_in_order(case.seeds, case.api, case.pagination, case.workers, case.window):
            landings.append(landing)
    except ResponseError as exc:
        raised = str(exc)
    assert raised.startswith(f"page {hole + 1} has fewer rows than the first page and is not the last")
    expected = replace(case, api=replace(case.api, holes=())).expected(case.seeds)[(0,)]
    assert [one.page for one in landings] == [one.page for one in expected[:hole]]
    event("fails")


@given(case=cases(styles=("items", "header", "pages", "now and then"), growing=True))
@thorough(max_examples=80)
def test_a_growing_total_extends_the_plan_without_asking_again(case: Case) -> None:
    load = check(case, case.seeds)
    event(f"{len(load.asked) > len(case.api.tables)=}")


@given(case=cases(), picks=st.lists(st.integers(0, 99), min_size=5, max_size=5))
@thorough(max_examples=60)
def test_a_seed_may_lie_in_the_middle_of_its_partition(case: Case, picks: list[int]) -> None:
    whole = list(case.expected(case.seeds).values())
    seeds = [pages[pick % len(pages)].page.request for pages, pick in zip(whole, picks, strict=False)]
    check(case, seeds)


@given(case=cases(tables=st.lists(st.integers(1, 60), min_size=1, max_size=5)), data=st.data())
@thorough(max_examples=100)
def test_a_failure_leaves_a_prefix_of_each_partition_and_its_own_name(case: Case, data: st.DataObject) -> None:
    expected = case.expected(case.seeds)
    places = [(key[0], one.page.request.index) for key, pages in expected.items() for one in pages]
    broken = data.draw(st.sets(st.sampled_from(places), min_size=1, max_size=3))
    landings, raised = [], ""
    failing = replace(case.api, broken=broken)
    try:
        for landing in fetch_in_order(case.seeds, failing, case.pagination, case.workers, case.window):
            landings.append(landing)
    except PageFailed as exc:
        raised = str(exc)
    assert raised in {f"table {table}, page {index}" for table, index in broken}
    for partition, pages in by_partition(landings).items():
        assert pages == expected[partition][: len(pages)]
        assert not any((partition[0], one.page.request.index) in broken for one in pages)


@given(case=cases(styles=GUESSED, tables=st.lists(st.integers(1, 60), min_size=1, max_size=1)), data=st.data())
@thorough(max_examples=60)
def test_a_page_that_was_not_sure_fails_at_its_turn_only(case: Case, data: st.DataObject) -> None:
    expected = case.expected(case.seeds)[(0,)]
    at = data.draw(st.integers(1, len(expected) + 5), label="broken page")
    failing = replace(case.api, broken={(0, at)})
    landings = []
    raised = False
    try:
        for landing in fetch_in_order(case.seeds, failing, case.pagination, case.workers, case.window):
            landings.append(landing)
    except PageFailed:
        raised = True
    assert landings == expected[:at]
    assert raised == (at < len(expected))
    event(f"{raised=}")


@given(case=cases(), taken=st.integers(1, 10))
@thorough(max_examples=50)
def test_an_abandoned_walk_has_handed_out_a_prefix(case: Case, taken: int) -> None:
    load = Load(case.api)
    landings = []
    with closing(
        fetch_in_order(case.seeds, load, watched(case.pagination, load), case.workers, case.window)
    ) as running:
        for landing in running:
            landings.append(landing)
            if len(landings) == taken:
                break
    expected = case.expected(case.seeds)
    for partition, pages in by_partition(landings).items():
        assert pages == expected[partition][: len(pages)]
    assert load.most_held <= case.window.pages


class Guess:
    """A cursor that may guess: right on most pages, and on some a request that nobody will follow up."""

    def __init__(self, wrong: frozenset[int]) -> None:
        self._wrong = wrong
        self._cursor = Cursor()

    def first(self, request: PageRequest) -> PageRequest:
        return self._cursor.first(request)

    def follow(self, page: Page) -> PageRequest | Stop:
        return self._cursor.follow(page)

    def ahead(self, page: Page, sent: PageRequest) -> PageRequest | None:
        index = sent.index + 1
        odd = {"guess": "wrong"} if index in self._wrong else {}
        query = {"table": sent.query["table"], "cursor": index} | odd
        return replace(sent, index=index, query=query, sure=False)


@given(case=cases(styles=("cursor",)), wrong=st.frozensets(st.integers(1, 30), max_size=12))
@thorough(max_examples=80)
def test_a_wrong_guess_costs_a_request_and_nothing_else(case: Case, wrong: frozenset[int]) -> None:
    asked: list[PageRequest] = []

    def fetch(request: PageRequest) -> Page:
        asked.append(request)
        page = case.api(request)
        return replace(page, lines=b"nonsense\n") if "guess" in request.query else page

    landings = list(fetch_in_order(case.seeds, fetch, Guess(wrong), case.workers, case.window))
    expected = {seed.partition: plain_loop(seed, replace(case.api, delay=no_delay), Cursor()) for seed in case.seeds}
    assert by_partition(landings) == expected
