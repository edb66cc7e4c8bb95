"""Walks in which a page is split into partitions, is the end by itself, or is looked at before it counts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import pytest

from airflow_paginated import Offset, Page, PageNumber, PageRequest, Sliced, Split, Stop
from airflow_paginated.collect.scheduler import Window, fetch_in_order, resolve_next
from airflow_paginated.core.errors import ConfigurationError, IncompleteError
from airflow_paginated.core.values import OrderedPage
from airflow_paginated.pagination.protocols import Pagination
from tests.collect.api import Api, Gate, by_partition, seeds_of
from tests.collect.load import Load, watched
from tests.collect.tables import Tables, plain_pages, text_of
from tests.pagination.responses import ASKED, answer

PLANNED = PageNumber(total_path="meta.total")

GUESSED = PageNumber(stop_after_empty_page=True)


@dataclass(frozen=True)
class Halves:
    """Splits every first page in two, ``depth`` times, and then reads two pages."""

    depth: int

    def first(self, request: PageRequest) -> PageRequest:
        return replace(request, index=0)

    def follow(self, page: Page) -> PageRequest | Stop | Split:
        request = page.request
        if len(request.partition) <= self.depth:
            return Split(tuple(replace(request, partition=(*request.partition, number)) for number in range(2)))
        return Stop("end") if request.index else replace(request, index=1)


def walked(
    strategy: Pagination, partitions: int = 1, workers: int = 1, window: int = 1, **more: Any
) -> list[OrderedPage]:
    seeds = [replace(ASKED, partition=(number,), index=0) for number in range(partitions)]
    return list(fetch_in_order(seeds, answer, strategy, workers, Window(window), **more))


def names(landings: Sequence[OrderedPage]) -> list[tuple[tuple[int, ...], int]]:
    return [(one.page.request.partition, one.page.request.index) for one in landings]


class TestSplits:
    def test_its_parts_come_in_order_and_before_all_that_is_younger(self) -> None:
        found = names(walked(Halves(2), partitions=2))
        assert found == sorted(found)
        assert found[:6] == [((0,), 0), ((0, 0), 0), ((0, 0, 0), 0), ((0, 0, 0), 1), ((0, 0, 1), 0), ((0, 0, 1), 1)]
        assert len(found) == 2 * (1 + 2 + 4 * 2)

    @pytest.mark.parametrize(("workers", "window"), [(1, 4), (4, 4), (4, 16)])
    def test_so_they_do_within_each_with_many_at_once(self, workers: int, window: int) -> None:
        found = names(walked(Halves(3), partitions=3, workers=workers, window=window))
        assert sorted(found) == sorted(names(walked(Halves(3), partitions=3)))
        for partition in {key for key, _ in found}:
            indexes = [index for key, index in found if key == partition]
            assert indexes == sorted(indexes)

    def test_the_rows_of_the_page_that_is_split_are_dropped(self) -> None:
        landings = walked(Halves(1))
        assert [one.page.count for one in landings] == [0, 1, 1, 1, 1]
        dropped = landings[0].page
        assert (dropped.lines, dropped.sha256) == (b"", Page.of(ASKED, []).sha256)
        assert isinstance(landings[0].successor, Split)

    def test_few_are_open_at_once_however_many_there_are(self) -> None:
        load = Load(answer)
        seeds = [replace(ASKED, partition=(0,), index=0)]
        landings = list(fetch_in_order(seeds, load, watched(Halves(9), load), 4, Window(8)))
        assert len(landings) == 2**9 - 1 + 2 * 2**9
        assert load.most_held <= 8
        assert load.most_open <= 9

    def test_what_was_sent_ahead_of_it_is_dropped(self) -> None:
        """Pages 1 and 2 are sent once page 0 has come; then page 1 gives way to two partitions."""

        class Late:
            def first(self, request: PageRequest) -> PageRequest:
                return PLANNED.first(request)

            def follow(self, page: Page) -> PageRequest | Stop | Split:
                if (page.request.index, len(page.request.partition)) != (1, 1):
                    return PLANNED.follow(page)
                parts = (replace(page.request, partition=(0, number)) for number in range(2))
                return Split(tuple(PLANNED.first(replace(part, state=None)) for part in parts))

            def ahead(self, page: Page, sent: PageRequest) -> PageRequest | None:
                return PLANNED.ahead(page, sent)

        strategy = Late()
        api = Api(tables=[40])
        found = names(list(fetch_in_order(seeds_of(strategy, 1), api, strategy, 2, Window(8))))
        assert found[:2] == [((0,), 0), ((0,), 1)]
        assert sorted(found[2:]) == [((0, part), index) for part in range(2) for index in range(4)]

    @pytest.mark.parametrize(
        "wrong",
        [
            lambda request: (),
            lambda request: (request,),
            lambda request: (replace(request, partition=(0, 0)), replace(request, partition=(0, 2))),
            lambda request: (replace(request, partition=(0, 1)), replace(request, partition=(0, 0))),
            lambda request: (replace(request, partition=(0, 0)), replace(request, partition=(0, 0))),
            lambda request: (replace(request, partition=(0, 0), index=1),),
            lambda request: (replace(request, partition=(1, 0)),),
            lambda request: (replace(request, partition=(0, 0, 0)),),
        ],
    )
    def test_one_that_leads_astray_is_refused(self, wrong: Callable[[PageRequest], tuple[PageRequest, ...]]) -> None:
        class Astray(Halves):
            def follow(self, page: Page) -> PageRequest | Stop | Split:
                return Split(wrong(page.request))

        with pytest.raises(ConfigurationError, match=r"follow\(\) must split partition \(0,\) into first pages of"):
            walked(Astray(1))

    def test_a_failure_in_a_part_ends_the_walk(self) -> None:
        def fetch(request: PageRequest) -> Page:
            if request.partition == (0, 1):
                raise LookupError("no such part")
            return answer(request)

        with pytest.raises(LookupError):
            list(fetch_in_order([replace(ASKED, partition=(0,), index=0)], fetch, Halves(1), 2, Window(8)))

    @pytest.mark.parametrize(("workers", "window"), [(1, 1), (3, 6), (8, 32)])
    def test_slices_are_read_to_the_end(self, workers: int, window: int) -> None:
        tables = Tables(keys=[sorted(each * each % 997 for each in range(300)), range(5), [], range(0, 900, 3)])
        strategy = Sliced(
            pagination=Offset(total_path="meta.total"),
            from_param="low",
            to_param="high",
            start=0,
            end=1000,
            max_rows=30,
        )
        seeds = seeds_of(strategy, 4)
        load = Load(tables)
        landings = list(fetch_in_order(seeds, load, watched(strategy, load), workers, Window(window)))
        assert by_partition(landings) == by_partition([one for s in seeds for one in plain_pages(s, tables, strategy)])
        assert text_of(landings) == b"".join(tables.rows(table) for table in range(4))
        assert max(load.asked.values()) == 1


class TestAnswersThatAreTheEnd:
    @staticmethod
    def ending(at: int, api: Callable[[PageRequest], Page]) -> Callable[[PageRequest], Page]:
        return lambda request: replace(api(request), end="by rule") if request.index == at else api(request)

    @pytest.mark.parametrize("at", [0, 2, 9])
    def test_the_strategy_is_not_asked(self, at: int) -> None:
        class Curious(PageNumber):
            def follow(self, page: Page) -> PageRequest | Stop:
                assert page.end is None
                return super().follow(page)

        strategy = Curious(total_path="meta.total")
        seeds = seeds_of(strategy, 1)
        landings = list(fetch_in_order(seeds, self.ending(at, Api(tables=[200])), strategy, 4, Window(16)))
        assert names(landings) == [((0,), index) for index in range(at + 1)]
        assert landings[-1].successor == Stop("by rule")
        assert landings[-1].page.count == 10

    def test_what_was_sent_ahead_is_dropped_though_it_failed(self) -> None:
        """Page 1 is the end; page 2, which is not sure, has failed before its turn, and page 3 is on its way."""
        arrived = threading.Event()
        api = Api(tables=[100], style="bare", broken={(0, 2)})

        def fetch(request: PageRequest) -> Page:
            if request.index == 3:
                arrived.set()
            if request.index == 1:
                assert arrived.wait(10)
            return api(request)

        landings = list(fetch_in_order(seeds_of(GUESSED, 1), self.ending(1, fetch), GUESSED, 2, Window(8)))
        assert names(landings) == [((0,), 0), ((0,), 1)]

    def test_it_ends_its_own_partition_only(self) -> None:
        api = Api(tables=[30, 30])

        def fetch(request: PageRequest) -> Page:
            return replace(api(request), end="by rule" if request.partition == (0,) else None)

        landings = list(fetch_in_order(seeds_of(PLANNED, 2), fetch, PLANNED, 2, Window(8)))
        assert sorted(names(landings)) == [((0,), 0), ((1,), 0), ((1,), 1), ((1,), 2)]

    def test_a_page_that_would_be_split_is_kept(self) -> None:
        page = replace(answer(replace(ASKED, index=0), 5), end="by rule")
        assert resolve_next(page, Halves(3)) == OrderedPage(page, Stop("by rule"))


class TestAdmission:
    @pytest.mark.parametrize("window", [1, 16])
    def test_each_page_is_looked_at_once_and_in_its_turn(self, window: int) -> None:
        seen: list[Page] = []

        def admit(page: Page) -> Page:
            seen.append(page)
            return page

        landings = list(
            fetch_in_order(seeds_of(PLANNED, 3), Api(tables=[95, 0, 40]), PLANNED, 4, Window(window), admit=admit)
        )
        assert [one.page for one in landings] == seen
        assert len(seen) == 10 + 1 + 4

    def test_it_is_seen_before_the_strategy_sees_it(self) -> None:
        order: list[str] = []

        class Noting(PageNumber):
            def follow(self, page: Page) -> PageRequest | Stop:
                order.append(f"followed {page.request.index} with {page.count}")
                return super().follow(page)

        def admit(page: Page) -> Page:
            order.append(f"admitted {page.request.index} with {page.count}")
            return page.with_rows(page.rows[:1])

        strategy = Noting(total_path="meta.total", page_size=10)
        api = Api(tables=[15])
        landings = list(fetch_in_order(seeds_of(strategy, 1), api, strategy, 1, Window(1), admit=admit))
        assert order[:2] == ["admitted 0 with 10", "followed 0 with 1"]
        assert landings[0].page.rows == api.rows(0, 0)[:1]

    def test_what_it_refuses_ends_the_walk(self) -> None:
        def admit(page: Page) -> Page:
            if page.request.index == 2:
                raise IncompleteError("twice")
            return page

        found = []
        with Gate(Api(tables=[100]), lambda request: False) as gate:
            running = fetch_in_order(seeds_of(PLANNED, 1), gate, PLANNED, 2, Window(8), admit=admit)
            found = [next(running).page.request.index for _ in range(2)]
            with pytest.raises(IncompleteError, match="twice"):
                next(running)
            gate.settle()
        assert found == [0, 1]

    def test_it_may_declare_a_page_the_end(self) -> None:
        def admit(page: Page) -> Page:
            return page.with_rows((), end="again") if page.request.index == 1 else page

        landings = list(fetch_in_order(seeds_of(PLANNED, 1), Api(tables=[100]), PLANNED, 2, Window(8), admit=admit))
        assert [one.page.count for one in landings] == [10, 0]
        assert landings[-1].successor == Stop("again")

    def test_pages_sent_ahead_of_an_end_are_not_looked_at(self) -> None:
        seen: list[int] = []

        def admit(page: Page) -> Page:
            seen.append(page.request.index)
            return replace(page, end="by rule") if page.request.index == 1 else page

        with closing(
            fetch_in_order(seeds_of(PLANNED, 1), Api(tables=[100]), PLANNED, 4, Window(16), admit=admit)
        ) as running:
            list(running)
        assert seen == [0, 1]
