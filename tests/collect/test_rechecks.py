"""Probes past a total that ended a partition with a full page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_paginated import Completeness, Offset, Page, PageNumber, PageRequest, Sliced, Stop, Total
from airflow_paginated.collect.rechecks import MAX_PROBES, REFUSED, PastEndProbe, tolerate_absence
from airflow_paginated.core.errors import IncompleteError, RequestRefused, ResponseError
from airflow_paginated.core.values import OrderedPage, PageRecord

BY_ITEMS = PageNumber(total_path="n")

ROWS = [b"%d" % number for number in range(10)]


def last_page(
    strategy: Any = BY_ITEMS, index: int = 1, rows: int = 10, total: int = 20, partition: tuple[int, ...] = (0,)
) -> PageRecord:
    """Return the record of the last page of a table, whose first page has 10 rows."""
    request = replace(strategy.first(PageRequest("/rows", partition=partition)), index=index)
    if index:
        request = replace(request, state={"step": 10, "rows": 10 * index, "total": total})
    page = Page.of(request, ROWS[:rows])
    return PageRecord.of(OrderedPage(page, Stop("total reached")), Total(total, "items"))


def behind(record: PageRecord, rows: list[bytes], end: str | None = None) -> Page:
    return Page.of(replace(record.request, index=record.request.index + 1), rows, end=end)


def probing(record: PageRecord | None = None, **policy: Any) -> PastEndProbe:
    probe = PastEndProbe(BY_ITEMS, Completeness(**policy))
    probe.note_last_page(record or last_page())
    return probe


@pytest.mark.parametrize(
    ("strategy", "query"),
    [
        (BY_ITEMS, {"page": 3}),
        (Offset(total_path="n", page_size=10), {"offset": 20, "limit": 10}),
        (Offset(total_path="n", page_size=10, step="received"), {"offset": 20, "limit": 10}),
        (
            Sliced(pagination=BY_ITEMS, from_param="a", to_param="b", start=0, end=9),
            {"a": 0, "b": 9, "page": 3},
        ),
    ],
)
def test_the_page_after_a_full_last_one_is_requested(strategy: Any, query: dict[str, Any]) -> None:
    probe = PastEndProbe(strategy, Completeness())
    probe.note_last_page(last_page(strategy))
    (request,) = probe.requests()
    assert request.query == query
    assert (request.index, request.behind) == (2, True)


@pytest.mark.parametrize(
    ("strategy", "record"),
    [
        (BY_ITEMS, last_page(rows=9)),
        (BY_ITEMS, last_page(index=0, rows=0, total=0)),
        (BY_ITEMS, replace(last_page(), total=Total(2, "pages"))),
        (BY_ITEMS, replace(last_page(), total=None)),
        (PageNumber(has_more_path="more", total_path="n"), last_page()),
        (Offset(total_path="n", page_size=10, step="received"), last_page(rows=9)),
        (object(), last_page()),
    ],
)
def test_where_something_else_tells_the_end_nothing_is_requested(strategy: Any, record: PageRecord) -> None:
    probe = PastEndProbe(strategy, Completeness())
    probe.note_last_page(record)
    assert list(probe.requests()) == []


def test_probes_can_be_switched_off() -> None:
    assert list(probing(probe_past_end=False).requests()) == []


def test_of_many_partitions_the_first_hundred_are_probed() -> None:
    probe = PastEndProbe(BY_ITEMS, Completeness())
    for number in range(MAX_PROBES + 10):
        probe.note_last_page(last_page(partition=(number,)))
    assert (len(list(probe.requests())), probe.candidates) == (MAX_PROBES, MAX_PROBES + 10)


@pytest.mark.parametrize("rows", [[], ROWS])
def test_no_page_or_the_last_one_again_is_what_should_be_there(rows: list[bytes]) -> None:
    probe = probing()
    probe.check(behind(last_page(), rows), Total(20, "items"))
    assert (probe.probed, probe.inconclusive, probe.waived) == (1, 0, None)


def test_a_refusal_leaves_it_open() -> None:
    probe = probing()
    probe.check(behind(last_page(), [], REFUSED), None)
    assert (probe.probed, probe.inconclusive) == (1, 1)


@pytest.mark.parametrize("policy", ["fail", "extend", "warn"])
@pytest.mark.parametrize("total", [None, Total(20, "items"), Total(3, "items")])
def test_rows_behind_a_total_show_that_it_is_wrong(policy: str, total: Total | None) -> None:
    with pytest.raises(ResponseError, match=r"page 3 of partition 0 has rows beyond the API's total: .*hint"):
        probing(on_total_change=policy).check(behind(last_page(), [b"20"]), total)


def test_rows_of_a_table_that_has_grown_fail_the_run_or_are_followed_no_further() -> None:
    page, grown = behind(last_page(), [b"20"]), Total(21, "items")
    with pytest.raises(IncompleteError, match="page 3 of partition 0 has rows beyond the total of earlier pages"):
        probing().check(page, grown)
    extended, warned = probing(on_total_change="extend"), probing(on_total_change="warn")
    for probe in (extended, warned):
        probe.check(page, grown)
        assert probe.inconclusive == 1
    assert extended.waived is None
    assert warned.waived == "page 3 of partition 0 has rows that were added while the others were read"


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (RequestRefused("x", 404), None),
        (RequestRefused("x", 410), None),
        (RequestRefused("x", 400), REFUSED),
        (RequestRefused("x", 422), REFUSED),
        (ResponseError("x"), REFUSED),
    ],
)
def test_a_refusal_is_an_empty_page(error: Exception, end: str | None) -> None:
    def fetch(request: PageRequest) -> Page:
        raise error

    page = tolerate_absence(fetch)(PageRequest("/rows"))
    assert (page.count, page.end) == (0, end)


@pytest.mark.parametrize("status", [401, 403, None])
def test_a_refusal_for_another_reason_stays_one(status: int | None) -> None:
    def fetch(request: PageRequest) -> Page:
        raise RequestRefused("x", status)

    with pytest.raises(RequestRefused):
        tolerate_absence(fetch)(PageRequest("/rows"))
