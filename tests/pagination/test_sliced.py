"""Ranges that are split until each is small enough to page through."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated import (
    Completeness,
    Cursor,
    HeaderLink,
    Offset,
    Page,
    PageNumber,
    PageRequest,
    Sliced,
    Split,
    Total,
)
from airflow_paginated.collect.audit import Audit
from airflow_paginated.core.errors import IncompleteError, LimitExceeded, ResponseError
from airflow_paginated.core.policies import Limits
from airflow_paginated.core.values import OrderedPage, PageRecord
from airflow_paginated.pagination.common import Strategy
from airflow_paginated.pagination.protocols import Pagination, totals_of
from airflow_paginated.pagination.single_page import Sample
from tests.collect.tables import Tables, plain_pages, ranges_of, text_of
from tests.pagination.responses import ASKED, answer, followed, own, split, stopped

INNER = Offset(page_size=10, total_path="meta.total")

SLICED = Sliced(pagination=INNER, from_param="low", to_param="high", start=0, end=1000, max_rows=50)

TABLE = PageRequest("/rows", query={"table": 0})


def told(strategy: Sliced, total: Any, request: PageRequest | None = None, count: int = 10) -> Page:
    return answer(strategy.first(ASKED) if request is None else request, count, {"meta": {"total": total}})


def read(strategy: Pagination, tables: Tables, request: PageRequest = TABLE) -> list[OrderedPage]:
    return list(plain_pages(strategy.first(request), tables, strategy))


def audited(strategy: Pagination, landings: list[OrderedPage], **policy: Any) -> Audit:
    """Look at landings as a run does, in order; return the audit of a collection that is complete."""
    audit, total = Audit(Completeness(**policy)), totals_of(strategy)
    for landing in landings:
        audit.add_page(PageRecord.of(landing, total(landing.page)))
    audit.report()
    return audit


def leaves(landings: list[OrderedPage]) -> list[PageRequest]:
    """Return the first request of each range that was not split."""
    return [one.page.request for one in landings if not one.page.request.index and not isinstance(one.successor, Split)]


class TestOneRange:
    def test_the_whole_is_asked_for_first(self) -> None:
        first = SLICED.first(ASKED)
        assert own(first) == {"low": 0, "high": 1000, "offset": 0, "limit": 10}
        assert (first.partition, first.index) == ((4,), 0)

    def test_a_small_one_is_paged_through(self) -> None:
        page = told(SLICED, 25)
        assert SLICED.total(page) == Total(25, "items")
        second = followed(SLICED, page)
        assert own(second) == {"low": 0, "high": 1000, "offset": 10, "limit": 10}
        third = SLICED.ahead(page, second)
        assert third == followed(SLICED, told(SLICED, 25, second))
        assert third is not None
        assert SLICED.ahead(page, third) is None
        assert stopped(SLICED, told(SLICED, 25, third, 5)) == "total reached"

    def test_one_row_less_than_max_rows_is_small(self) -> None:
        assert followed(SLICED, told(SLICED, 49)).index == 1
        assert len(split(SLICED, told(SLICED, 50))) == 2

    def test_one_that_grows_on_the_way_is_not_split_any_more(self) -> None:
        second = followed(SLICED, told(SLICED, 49))
        assert followed(SLICED, told(SLICED, 51, second)).index == 2

    @pytest.mark.parametrize(("total", "parts"), [(50, 2), (99, 3), (100, 4), (1000, 40), (10**9, 64)])
    def test_a_large_one_is_split_into_parts_without_gaps(self, total: int, parts: int) -> None:
        requests = split(SLICED, told(SLICED, total))
        assert [request.partition for request in requests] == [(4, number) for number in range(parts)]
        found = ranges_of(requests)
        assert (found[0][0], found[-1][1]) == (0, 1000)
        assert all(1000 // parts <= high - low <= 1000 // parts + 1 for low, high in found)
        for request in requests:
            assert (request.index, request.state, request.sure, request.method) == (0, None, True, "GET")
            assert own(request) == {
                "low": request.query["low"],
                "high": request.query["high"],
                "offset": 0,
                "limit": 10,
            }

    def test_a_part_is_split_again(self) -> None:
        part = split(SLICED, told(SLICED, 50))[1]
        requests = split(SLICED, told(SLICED, 50, part))
        assert [request.partition for request in requests] == [(4, 1, 0), (4, 1, 1)]
        assert ranges_of(requests) == [(500, 750), (750, 1000)]

    def test_a_narrow_one_is_split_into_its_values(self) -> None:
        for end in (2, 3):
            strategy = replace(SLICED, end=end)
            found = ranges_of(split(strategy, told(strategy, 1000)))
            assert found == [(low, low + 1) for low in range(end)]

    def test_one_value_cannot_be_split(self) -> None:
        strategy = replace(SLICED, start=7, end=8)
        with pytest.raises(LimitExceeded) as caught:
            strategy.follow(told(strategy, 50))
        assert str(caught.value) == (
            "the slice from 7 has 50 rows, at least max_rows=50, and cannot be split: slice by a field with more"
            " distinct values; does the API support 'low'?"
        )

    @pytest.mark.parametrize("total", [None, "abc"])
    def test_the_first_page_has_to_tell_its_total(self, total: Any) -> None:
        with pytest.raises(ResponseError):
            SLICED.follow(told(SLICED, total))
        hinted = replace(SLICED, pagination=replace(INNER, total_is="hint", stop_after_empty_page=True))
        with pytest.raises(ResponseError, match="the first page of a slice must declare its total"):
            hinted.follow(told(hinted, total))

    def test_a_total_that_may_be_capped_proves_nothing(self) -> None:
        assert SLICED.total(told(SLICED, 50)) is None
        assert SLICED.total(told(SLICED, 51)) == Total(51, "items")
        assert SLICED.total(told(SLICED, 50, replace(SLICED.first(ASKED), index=1))) == Total(50, "items")

    def test_a_hint_splits_and_proves_nothing(self) -> None:
        hinted = replace(SLICED, pagination=replace(INNER, total_is="hint", stop_after_empty_page=True))
        assert len(split(hinted, told(hinted, 99))) == 3
        assert hinted.total(told(hinted, 99)) is None

    def test_an_empty_one_has_one_page(self) -> None:
        assert stopped(SLICED, told(SLICED, 0, count=0)) == "total reached"


class TestHowARangeIsSent:
    def test_with_its_last_value_included(self) -> None:
        strategy = replace(SLICED, to_inclusive=True)
        assert own(strategy.first(ASKED))["high"] == 999
        found = [(each.query["low"], each.query["high"]) for each in split(strategy, told(strategy, 99))]
        assert found == [(0, 332), (333, 665), (666, 999)]
        deeper = split(strategy, told(strategy, 50, split(strategy, told(strategy, 99))[1]))
        assert [(each.query["low"], each.query["high"]) for each in deeper] == [(333, 498), (499, 665)]

    @pytest.mark.parametrize(
        ("start", "end", "inclusive", "expected"),
        [
            ("2024-02-28", "2024-03-02", False, [("2024-02-28", "2024-02-29"), ("2024-02-29", "2024-03-02")]),
            ("2024-02-28", "2024-03-02", True, [("2024-02-28", "2024-02-28"), ("2024-02-29", "2024-03-01")]),
            (
                "2024-01-01T00:00:00Z",
                "2024-01-02T00:00:00Z",
                False,
                [("2024-01-01T00:00:00Z", "2024-01-01T12:00:00Z"), ("2024-01-01T12:00:00Z", "2024-01-02T00:00:00Z")],
            ),
            (
                "2024-01-01T00:00:00",
                "2024-01-02T00:00:00",
                True,
                [("2024-01-01T00:00:00", "2024-01-01T11:59:59"), ("2024-01-01T12:00:00", "2024-01-01T23:59:59")],
            ),
        ],
    )
    def test_as_dates_and_times(self, start: str, end: str, inclusive: bool, expected: list[tuple[str, str]]) -> None:
        strategy = replace(SLICED, start=start, end=end, to_inclusive=inclusive)
        found = [(each.query["low"], each.query["high"]) for each in split(strategy, told(strategy, 50))]
        assert found == expected

    @pytest.mark.parametrize("borders", [(0, 1000), ("2024-01-01", "2024-12-31")])
    def test_in_the_body(self, borders: tuple[Any, Any]) -> None:
        strategy = replace(SLICED, from_param="filter.id.gte", to_param="filter.id.lt", inject_into="body")
        strategy = replace(strategy, start=borders[0], end=borders[1])
        first = strategy.first(replace(ASKED, method="POST", body={"filter": {"x": 1}}))
        assert first.body == {"filter": {"x": 1, "id": {"gte": borders[0], "lt": borders[1]}}}
        low, high = split(strategy, told(strategy, 50, first))
        assert low.body["filter"]["id"]["gte"] == borders[0]
        assert low.body["filter"]["id"]["lt"] == high.body["filter"]["id"]["gte"]
        assert (high.body["filter"]["id"]["lt"], high.method) == (borders[1], "POST")
        assert len(split(strategy, told(strategy, 50, high))) == 2

    def test_in_headers(self) -> None:
        strategy = replace(SLICED, inject_into="header", from_param="X-Low", to_param="X-High")
        low, high = split(strategy, told(strategy, 50))
        assert (low.headers["X-Low"], low.headers["X-High"], high.headers["X-Low"]) == ("0", "500", "500")
        assert len(split(strategy, told(strategy, 50, high))) == 2

    def test_with_a_cursor_that_begins_anew_in_each_part(self) -> None:
        inner = Cursor(cursor_path="next", total_path="meta.total", first_cursor="*")
        strategy = replace(SLICED, pagination=inner)
        assert [each.query["cursor"] for each in split(strategy, told(strategy, 50))] == ["*", "*"]


class TestTheWhole:
    KEYS = sorted({number * number % 997 for number in range(400)})

    def test_its_parts_have_all_rows(self) -> None:
        tables = Tables(keys=[self.KEYS], cap=50)
        landings = read(SLICED, tables)
        assert text_of(landings) == tables.rows(0)
        found = ranges_of(leaves(landings))
        assert (found[0][0], found[-1][1]) == (0, 1000)
        audited(SLICED, landings)

    def test_with_the_last_value_included_too(self) -> None:
        tables = Tables(keys=[self.KEYS], cap=50)
        strategy = replace(SLICED, to_param="top", to_inclusive=True)
        assert text_of(read(strategy, tables)) == tables.rows(0)

    @pytest.mark.parametrize("wrong", [{"to_param": "top"}, {"to_inclusive": True}])
    def test_borders_that_count_twice_or_never_are_found(self, wrong: dict[str, Any]) -> None:
        strategy = replace(SLICED, **wrong)
        landings = read(strategy, Tables(keys=[range(0, 1000, 2 if "to_param" in wrong else 1)]))
        with pytest.raises(IncompleteError, match=r"is the end of a range inclusive \(to_inclusive\), or does the API"):
            audited(strategy, landings)

    def test_a_cap_below_the_totals_is_found(self) -> None:
        landings = read(SLICED, Tables(keys=[self.KEYS], cap=60))
        with pytest.raises(IncompleteError, match=r"declares 60 for the whole; .*does the API count no further"):
            audited(SLICED, landings)

    def test_a_whole_that_grows_may_be_followed(self) -> None:
        keys = list(self.KEYS)
        landings = read(SLICED, Tables(keys=[keys]))
        first = replace(landings[0].page, envelope={"meta": {"total": len(keys) - 3}})
        grown = [OrderedPage(first, landings[0].successor), *landings[1:]]
        with pytest.raises(IncompleteError):
            audited(SLICED, grown)
        audit = audited(SLICED, grown, on_total_change="extend")
        verdicts = {check.name: check.verdict for check in audit.report().checks}
        assert verdicts["total_is_stable"] == "unverified"
        assert not audited(SLICED, grown, on_total_change="warn").report().complete
        shrunk = [OrderedPage(told(SLICED, len(keys) + 3, first.request), landings[0].successor), *landings[1:]]
        with pytest.raises(IncompleteError):
            audited(SLICED, shrunk, on_total_change="extend")

    def test_an_api_that_does_not_know_the_parameters_is_given_up_soon(self) -> None:
        asked = 0

        def fetch(request: PageRequest) -> Page:
            nonlocal asked
            asked += 1
            return answer(request, 10, {"meta": {"total": 10**6}})

        strategy = replace(SLICED, end=10**9, max_rows=1000)
        with pytest.raises(LimitExceeded, match="does the API support 'low'"):
            list(plain_pages(strategy.first(TABLE), fetch, strategy))
        assert asked < 10

    def test_a_sample_is_one_of_its_parts(self) -> None:
        tables = Tables(keys=[self.KEYS])
        sample = Sample(SLICED, 2)
        landings = read(sample, tables)
        assert [one.page.request.partition for one in landings if one.page.count] == [(0, 0), (0, 0)]
        assert tables.rows(0).startswith(text_of(landings))
        audit = Audit(Completeness(), Limits(sample_pages=2))
        for landing in landings:
            audit.add_page(PageRecord.of(landing, totals_of(sample)(landing.page)))
        assert not audit.report().complete


INNERS: list[Strategy] = [
    INNER,
    PageNumber(total_header="X-Total"),
    Offset(total_path="meta.total", total_is="hint", stop_after_empty_page=True, on_short_page="accept"),
    Offset(total_path="meta.total", step="received"),
    Cursor(cursor_path="next", total_path="meta.total"),
    HeaderLink(total_header="X-Total"),
]


@given(
    keys=st.lists(st.integers(-40, 60), max_size=150).map(sorted),
    width=st.integers(1, 30),
    cap=st.integers(2, 40),
    size=st.integers(1, 12),
    inner=st.sampled_from(INNERS),
)
def test_the_union_of_the_slices_is_the_whole(
    keys: list[int], width: int, cap: int, size: int, inner: Strategy
) -> None:
    low, high = -width, width
    strategy = Sliced(pagination=inner, from_param="low", to_param="high", start=low, end=high, max_rows=cap)
    tables = Tables(keys=[keys], page_size=size, cap=cap)
    within = [at for at, key in enumerate(keys) if low <= key < high]
    crowded = any(keys.count(key) >= cap for key in range(low, high))
    try:
        landings = read(strategy, tables)
    except LimitExceeded:
        assert crowded
        return
    assert text_of(landings) == b"".join(tables.row(0, at) + b"\n" for at in within)
    found = ranges_of(leaves(landings))
    assert (found[0][0], found[-1][1]) == (low, high)
    rows: dict[tuple[int, ...], int] = {}
    for landing in landings:
        partition = landing.page.request.partition
        rows[partition] = rows.get(partition, 0) + landing.page.count
    assert max(rows.values()) < cap
    audited(strategy, landings)
