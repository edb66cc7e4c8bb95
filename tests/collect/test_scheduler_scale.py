"""The walk at size: what it holds does not depend on how much there is."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

import pytest

from airflow_paginated import Page, PageNumber, PageRequest
from airflow_paginated.collect.scheduler import Window, fetch_in_order
from airflow_paginated.pagination.protocols import Pagination
from tests.collect.api import Cursor

PLANNED = PageNumber(total_path="meta.total")


def pages_of(table: int) -> int:
    return 2 if table % 10 == 3 else 1


def test_of_20_000_partitions_few_are_open_at_any_time() -> None:
    asked: list[PageRequest] = []
    began: list[PageRequest] = []

    def fetch(request: PageRequest) -> Page:
        (asked if request.index else began).append(request)
        told = {"meta": {"total": pages_of(request.query["table"])}}
        return Page(request, lines=b"{}\n", count=1, sha256="", envelope=told, bytes=3)

    drawn = most_drawn = most_open = closed = pages = 0

    def seeds() -> Iterator[PageRequest]:
        nonlocal drawn, most_drawn
        for number in range(20_000):
            drawn += 1
            most_drawn = max(most_drawn, drawn - closed)
            yield PLANNED.first(PageRequest("/rows", query={"table": number}, partition=(number,)))

    for landing in fetch_in_order(seeds(), fetch, PLANNED, 8, Window(32)):
        most_open = max(most_open, len(began) - closed)
        closed += not isinstance(landing.successor, PageRequest)
        pages += 1
    assert (closed, pages) == (20_000, sum(map(pages_of, range(20_000))))
    assert (len(began), len(asked)) == (20_000, pages - 20_000)
    # The page that is being handed out is one more.
    assert most_open <= 33
    assert most_drawn <= 34


def peak_of(pages: int, strategy: Pagination) -> tuple[int, int]:
    """Return the peak of the heap while so many pages of some 4 kB are walked, and how many came."""
    lines = b"x" * 4000

    def fetch(request: PageRequest) -> Page:
        return Page(
            request,
            lines=lines + b"%d\n" % request.index,  # a copy of its own
            count=1,
            sha256="",
            envelope={"meta": {"total": pages}, "next": request.index + 1 if request.index + 1 < pages else None},
            bytes=4000,
        )

    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        seeds = [strategy.first(PageRequest("/rows", query={"table": 0}))]
        count = sum(1 for _ in fetch_in_order(seeds, fetch, strategy, 8, Window(32)))
        return tracemalloc.get_traced_memory()[1] - before, count
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("strategy", "pages"), [(PLANNED, 10_000), (Cursor(), 3_000)], ids=["planned", "one after the other"]
)
def test_the_heap_is_as_flat_with_many_pages_as_with_a_tenth_of_them(strategy: Pagination, pages: int) -> None:
    few, tenth = peak_of(pages // 10, strategy)
    many, whole = peak_of(pages, strategy)
    assert (tenth, whole) == (pages // 10, pages)
    # A page has 4 kB and a walk may hold 32 of them; all pages together have 40 MB.
    assert few < 600_000
    assert many < few + 200_000
