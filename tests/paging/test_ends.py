"""The first and the last page of a partition, fetched again at the end."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_paginated.paging import Completeness, Page, PageRequest
from airflow_paginated.paging.beyond import MOST_LOOKS, REFUSED, lenient
from airflow_paginated.paging.ends import Ends
from airflow_paginated.paging.errors import IncompleteError, RequestRefused


def page(index: int, *rows: bytes, partition: int = 0, end: str | None = None) -> Page:
    return Page.of(PageRequest("/rows", partition=(partition,), index=index), rows, end=end)


def noted(*pages: Page, **policy: Any) -> Ends:
    ends = Ends(Completeness(**{"refetch_ends": True, **policy}))
    for each in pages:
        ends.note(each.request, each.sha256)
    return ends


THREE = (page(0, b"1"), page(1, b"2"), page(2, b"3"))


def test_nothing_is_fetched_again_unless_it_is_asked_for() -> None:
    assert not list(noted(*THREE, refetch_ends=False).requests())


def test_the_first_and_the_last_page_are() -> None:
    ends = noted(*THREE)
    assert list(ends.requests()) == [THREE[0].request, THREE[2].request]
    ends.judge(THREE[0])
    ends.judge(THREE[2])
    assert (ends.compared, ends.unsure, ends.waived) == (2, 0, None)


def test_a_single_page_is_fetched_again_once() -> None:
    assert list(noted(THREE[0]).requests()) == [THREE[0].request]


def test_of_many_partitions_the_first_ones() -> None:
    ends = noted(*(page(index, b"x", partition=each) for each in range(MOST_LOOKS + 5) for index in (0, 1)))
    assert len(list(ends.requests())) == 2 * MOST_LOOKS


def test_a_partition_that_gave_way_is_not() -> None:
    ends = noted(THREE[0], page(0, b"9", partition=1), page(1, b"9", partition=1))
    ends.forget((1,))
    assert list(ends.requests()) == [THREE[0].request]


@pytest.mark.parametrize("policy", ["fail", "refetch_tail"])
@pytest.mark.parametrize("changed", [page(0, b"0"), page(2, b"3", b"4")])
def test_a_page_that_reads_otherwise_fails(policy: str, changed: Page) -> None:
    with pytest.raises(IncompleteError, match=rf"{changed.request.name} reads otherwise .* \(check ends_unchanged\)"):
        noted(*THREE, on_total_change=policy).judge(changed)


def test_or_is_open_where_the_table_may_grow() -> None:
    ends = noted(*THREE, on_total_change="extend")
    ends.judge(page(2, b"3", b"4"))
    assert (ends.unsure, ends.waived) == (1, None)


def test_or_is_waived() -> None:
    ends = noted(*THREE, on_total_change="warn")
    ends.judge(page(0))
    ends.judge(page(2))
    assert ends.waived == "page 1 of partition 0 reads otherwise at the end than it did when it was collected"


def test_a_cursor_that_has_expired_tells_nothing() -> None:
    def refuse(request: PageRequest) -> Page:
        raise RequestRefused("gone", 404)

    ends = noted(*THREE)
    again = lenient(refuse, absent=())(THREE[2].request)
    assert again.end == REFUSED
    ends.judge(again)
    assert ends.unsure == 1
