"""A strategy cut short on purpose."""

from __future__ import annotations

import pytest

from airflow_paginated import Offset, Page, PageNumber, PageRequest, SinglePage, Stop, Total
from airflow_paginated.collect.scheduler import Window, fetch_in_order
from airflow_paginated.pagination.protocols import Pagination, totals_of
from airflow_paginated.pagination.single_page import Sample
from tests.collect.api import Api, Cursor, InTurn, Style, by_partition, plain_loop, seeds_of

CASES: list[tuple[Pagination, Style]] = [
    (PageNumber(total_path="meta.total"), "items"),
    (InTurn(PageNumber(total_path="meta.total")), "items"),
    (Offset(has_more_path="more", page_size=10), "has_more"),
    (PageNumber(stop_after_empty_page=True), "bare"),
    (Cursor(), "cursor"),
]


@pytest.mark.parametrize("pages", [1, 2, 3, 50])
@pytest.mark.parametrize(("whole", "style"), CASES)
def test_a_sample_is_the_first_pages_of_each_partition_and_no_more_is_asked(
    whole: Pagination, style: Style, pages: int
) -> None:
    api = Api(tables=[45, 8, 0], style=style)
    asked: list[PageRequest] = []
    sample = Sample(whole, pages)

    def fetch(request: PageRequest) -> Page:
        asked.append(request)
        return api(request)

    found = by_partition(list(fetch_in_order(seeds_of(sample, 3), fetch, sample, 4, Window(16))))
    for seed in seeds_of(whole, 3):
        expected = plain_loop(seed, api, whole)
        landed = found[seed.partition]
        assert [one.page for one in landed] == [one.page for one in expected[:pages]]
        assert landed[-1].successor == (Stop("sample") if len(expected) > pages else expected[-1].successor)
    assert max(request.index for request in asked) < pages


def test_a_sample_knows_the_total_of_the_whole() -> None:
    api = Api(tables=[45])
    whole = PageNumber(total_path="meta.total")
    page = api(seeds_of(whole, 1)[0])
    assert totals_of(Sample(whole, 2))(page) == Total(45, "items")
    assert totals_of(Sample(Cursor(), 2))(page) is None


def test_a_sample_of_a_single_page_is_that_page() -> None:
    sample = Sample(SinglePage(), 3)
    api = Api(tables=[4])
    assert plain_loop(seeds_of(sample, 1)[0], api, sample) == plain_loop(
        seeds_of(SinglePage(), 1)[0], api, SinglePage()
    )
