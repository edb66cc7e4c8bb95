"""Pages that overlap with the previous page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated import Offset, Page, PageNumber, PageRequest, Sliced, Stop
from airflow_paginated.collect.audit import Audit
from airflow_paginated.collect.rechecks import tolerate_absence
from airflow_paginated.collect.scheduler import Window, fetch_in_order
from airflow_paginated.core.errors import ConfigurationError, IncompleteError, ResponseError
from airflow_paginated.core.policies import Completeness
from airflow_paginated.core.values import PageRecord
from airflow_paginated.pagination.protocols import overlapped, totals_of

STOPS: list[dict[str, Any]] = [
    {"total_path": "total"},
    {"total_path": "total", "total_is": "hint", "stop_after_empty_page": True},
    {"stop_after_empty_page": True},
    {"has_more_path": "more"},
]


def served(request: PageRequest, rows: int, most: int) -> Page:
    """Return a page of an API that serves at most ``most`` rows at once."""
    start, size = int(request.query["offset"]), min(int(request.query["limit"]), most)
    texts = [b"%d" % row for row in range(start, min(start + size, rows))]
    return replace(Page.of(request, texts), envelope={"total": rows, "more": start + size < rows}, bytes=1)


@given(st.integers(0, 40), st.integers(1, 4), st.integers(0, 6), st.integers(0, 3), st.sampled_from(STOPS))
def test_every_row_comes_once(rows: int, overlap: int, more: int, clamp: int, stop: dict[str, Any]) -> None:
    size = 2 * overlap + more
    strategy = Offset(page_size=size, **stop).overlapping(overlap)
    audit, total = Audit(Completeness(overlap=overlap), strategy=strategy), totals_of(strategy)
    found = b""
    most = max(size - clamp, 2 * overlap)
    fetch = lambda request: served(request, rows, most)  # noqa: E731
    seeds = [strategy.first(PageRequest("/rows"))]
    for landing in fetch_in_order(
        seeds, fetch, strategy, 3, Window(12), admit=lambda page: audit.admit(strategy.trim(page))
    ):
        audit.add_page(PageRecord.of(landing, total(landing.page)))
        found += landing.page.lines
    assert found == b"".join(b"%d\n" % row for row in range(rows))
    for landing in fetch_in_order(
        audit.past_end.requests(), tolerate_absence(fetch), Offset(total_path="total"), 1, Window(1)
    ):
        audit.check_past_end(landing.page)
    checks = {check.name: check.verdict for check in audit.report().checks}
    assert checks["pages_overlap"] == "passed"
    audit.close()


def second_page(rows: list[bytes]) -> Page:
    """Return the second page, as fetched, of a table whose first page holds rows 0 to 9."""
    strategy = Offset(page_size=10, total_path="total", overlap=2)
    first = Page.of(strategy.first(PageRequest("/rows")), [b"%d" % n for n in range(10)], envelope={"total": 30})
    request = strategy.follow(first)
    assert isinstance(request, PageRequest)
    assert request.query == {"offset": 8, "limit": 10}
    return strategy.trim(Page.of(request, rows, envelope={"total": 30}))


def test_what_the_page_before_ends_with_is_taken_off() -> None:
    assert second_page([b"%d" % n for n in range(8, 18)]).rows == [b"%d" % n for n in range(10, 18)]


@pytest.mark.parametrize("start", [7, 9, 10])
def test_a_row_that_has_moved_is_noticed(start: int) -> None:
    with pytest.raises(
        IncompleteError, match=r"page 2 of partition 0 does not begin with the last rows of the previous page"
    ):
        second_page([b"%d" % n for n in range(start, start + 10)])


def test_a_page_that_is_gone_is_noticed() -> None:
    with pytest.raises(IncompleteError, match="pages_overlap"):
        second_page([])


def test_pages_that_are_too_short() -> None:
    strategy = Offset(page_size=10, total_path="total", overlap=2)
    page = Page.of(strategy.first(PageRequest("/rows")), [b"1", b"2", b"3"], envelope={"total": 30})
    assert strategy.follow(replace(page, envelope={"total": 3})) == Stop("total reached")
    behind = strategy.follow(page)
    assert isinstance(behind, PageRequest)
    with pytest.raises(ResponseError, match="the API serves pages of 3 rows, too few for an overlap of 2"):
        strategy.follow(Page.of(behind, [b"4"], envelope={"total": 30}))


def test_slices_overlap_inside() -> None:
    slices = Sliced(pagination=Offset(total_path="n"), from_param="a", to_param="b", start=0, end=9)
    assert overlapped(slices, 3) == replace(slices, pagination=Offset(total_path="n", overlap=3))


def test_no_overlap_is_no_change() -> None:
    assert overlapped(PageNumber(total_path="n"), 0) == PageNumber(total_path="n")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"overlap": 3, "page_size": 5}, "overlap must be at most half of page_size"),
        ({"overlap": 1, "step": "received"}, "overlap requires step='served'"),
        ({"overlap": 1, "total_kind": "pages"}, "overlap requires step='served'"),
        ({"overlap": -1}, "overlap"),
    ],
)
def test_what_does_not_go_together(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        Offset(total_path="total", **given)


def test_pages_without_offsets_cannot_overlap() -> None:
    with pytest.raises(ConfigurationError, match="completeness: overlap requires pages that can begin at any row"):
        overlapped(PageNumber(total_path="n"), 1)
