"""Pages and requests that come a second time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import pytest

from airflow_paginated import Completeness, Page, PageRequest, Stop
from airflow_paginated.collect.duplicates import RepeatedPageCheck
from airflow_paginated.core.errors import IncompleteError
from airflow_paginated.core.values import OrderedPage, PageRecord


def page(index: int, rows: str | None = None, asked: str | None = None, partition: tuple[int, ...] = (0,)) -> Page:
    """A page of one row, or of none for an empty text; by default its rows and its request are its own."""
    text = f"own {index}" if rows is None else rows
    query = {"cursor": f"own {index}" if asked is None else asked}
    request = PageRequest("/rows", query=query, partition=partition, index=index)
    return Page.of(request, [text.encode()] if text else [])


def admitted(pages: Iterable[Page], policy: str = "fail") -> RepeatedPageCheck:
    repeats = RepeatedPageCheck(Completeness(on_repeat=policy))  # type: ignore[arg-type]  # a Literal
    for each in pages:
        assert repeats.admit(each) is each
    return repeats


@pytest.mark.parametrize("what", ["rows", "request"])
@pytest.mark.parametrize(("between", "policy"), [(0, "fail"), (1, "fail"), (50, "fail"), (1, "end"), (50, "end")])
def test_a_repeat_fails_at_once(between: int, what: str, policy: str) -> None:
    repeats = admitted(map(page, range(between + 1)), policy)
    again = page(between + 1, rows="own 0") if what == "rows" else page(between + 1, asked="own 0")
    with pytest.raises(IncompleteError) as caught:
        repeats.admit(again)
    assert f"page {between + 2} of partition 0 has the same {what} as an earlier page" in str(caught.value)
    assert "completeness.on_repeat='allow'" in str(caught.value)
    assert "(check no_page_repeats)" in str(caught.value)


def test_the_last_page_again_is_the_end_where_it_may_be() -> None:
    repeats = admitted([page(0), page(1)], "end")
    last = repeats.admit(page(2, rows="own 1"))
    assert (last.count, last.lines, last.end) == (0, b"", "the last page again")
    assert last.sha256 == Page.of(last.request, []).sha256
    assert repeats.waived is None


def test_the_last_page_again_is_the_end_after_a_resume() -> None:
    repeats = RepeatedPageCheck(Completeness(on_repeat="end"))
    for before, after in pairwise([page(0), page(1), page(2)]):
        repeats.remember(PageRecord.of(OrderedPage(before, after.request), None))
    assert repeats.admit(page(2, rows="own 1")).end


def test_it_is_waived_where_it_is_allowed() -> None:
    repeats = admitted([page(0), page(1, rows="own 0"), page(2, asked="own 1")], "allow")
    assert repeats.waived is not None
    assert repeats.waived.startswith("page 2 of partition 0 has the same rows")


def test_empty_pages_are_alike() -> None:
    admitted(page(index, rows="") for index in range(3))


def test_empty_pages_in_circles_are_found() -> None:
    repeats = admitted([page(0, rows=""), page(1, rows="")])
    with pytest.raises(IncompleteError, match="has the same request"):
        repeats.admit(page(2, rows="", asked="own 0"))


def test_partitions_may_have_the_same_rows() -> None:
    admitted(page(0, asked=f"{number}", partition=(number,)) for number in range(3))


def test_they_may_not_have_the_same_request() -> None:
    """Its rows would be there twice, as where links do not keep the parameters of a partition."""
    repeats = admitted(page(0, rows=f"{number}", asked=f"{number}", partition=(number,)) for number in range(2))
    assert repeats.admit(page(1, partition=(0,)))
    with pytest.raises(IncompleteError, match="page 2 of partition 1 has the same request as an earlier page"):
        repeats.admit(page(1, partition=(1,)))


def test_what_an_earlier_try_stored_counts() -> None:
    repeats = RepeatedPageCheck(Completeness())
    repeats.remember(PageRecord.of(OrderedPage(page(0), Stop("x")), None))
    with pytest.raises(IncompleteError, match="the same rows"):
        repeats.admit(page(1, rows="own 0"))


def test_the_order_of_parameters_does_not_matter() -> None:
    first = replace(page(0), request=PageRequest("/rows", query={"a": 1, "b": 2}))
    again = replace(page(1), request=PageRequest("/rows", query={"b": 2, "a": 1}, index=1))
    repeats = admitted([first])
    with pytest.raises(IncompleteError, match="the same request"):
        repeats.admit(again)


def test_rows_are_known_among_any_number_of_pages() -> None:
    repeats = admitted(map(page, range(20_000)))
    for index in (0, 10_000, 19_999):
        with pytest.raises(IncompleteError, match="page 20001 of partition 0 has the same rows"):
            repeats.admit(page(20_000, rows=f"own {index}", asked=f"new {index}"))


def test_a_long_circle_of_empty_pages_is_found() -> None:
    circles = (page(index, rows="", asked=f"{index % 20_000}") for index in range(20_001))
    with pytest.raises(IncompleteError, match="page 20001 of partition 0 has the same request"):
        admitted(circles)


def test_an_ended_partition_may_be_asked_anew() -> None:
    repeats = admitted([page(0)])
    repeats.forget((0,))
    with pytest.raises(IncompleteError):
        repeats.admit(page(0))
