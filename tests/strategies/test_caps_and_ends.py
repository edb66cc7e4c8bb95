"""What real APIs do at the edges: pages smaller than requested, and what follows the last one."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_paginated import Offset, PageNumber
from airflow_paginated.core.errors import IncompleteError, LimitExceeded, RequestRefused, ResponseError
from tests.servers.styles import ByNumber, ByOffset, Cap, Envelope, More, StyledApi, Total, employees, telling
from tests.strategies.collecting import Collect
from tests.strategies.scripted import Scripted

ROWS = employees(450)
CAPPED: dict[str, Any] = {"asks": 1000, "cap": Cap(most=100)}
PAGES = ByNumber(size_param="per_page", **CAPPED)
OFFSETS = ByOffset(size_param="limit", **CAPPED)
BY_NUMBER: dict[str, Any] = {"page_size": 1000, "page_size_param": "per_page"}


def table(asked: object, *tells: object, rows: Any = ROWS) -> StyledApi:
    return StyledApi(rows=rows, asked=asked, tells=tells, shape=Envelope())


@pytest.mark.parametrize(
    ("rule", "tells"),
    [
        ({"total_path": "meta.total"}, [Total()]),
        ({"total_path": "meta.total", "total_kind": "pages"}, [Total(count=telling.pages)]),
        ({"has_more_path": "has_more"}, [More()]),
    ],
)
def test_asked_for_1000_and_served_100_the_step_is_what_page_1_served(
    collect: Collect, rule: dict[str, Any], tells: list[Any]
) -> None:
    api = table(OFFSETS, *tells)
    found = collect(api, Offset(page_size=1000, **rule), data_selector="data", max_workers=1)
    assert found.lines == api.reference()
    offsets = [0, 100, 200, 300, 400]
    assert found.targets[:5] == [f"/items?offset={offset}&limit=1000" for offset in offsets]
    pages = table(PAGES, *tells)
    assert collect(pages, PageNumber(**BY_NUMBER, **rule), data_selector="data").lines == api.reference()


@pytest.mark.parametrize("workers", [1, 16])
def test_a_page_that_is_shorter_than_asked_for_is_not_the_end(collect: Collect, workers: int) -> None:
    for asked, strategy in (
        (OFFSETS, Offset(page_size=1000, stop_after_empty_page=True)),
        (
            PAGES,
            PageNumber(stop_after_empty_page=True, **BY_NUMBER),
        ),
    ):
        found = collect(table(asked), strategy, data_selector="data", max_workers=workers)
        assert found.lines == table(asked).reference()
        assert found.pages[-1].count == 0


def test_a_short_page_in_the_middle_is_not_the_end(collect: Collect) -> None:
    sizes = {"1": 3, "2": 1, "3": 0, "4": 3, "5": 2}
    answers = {
        number: {"data": [f"{number}.{row}" for row in range(size)], "more": number != "5"}
        for number, size in sizes.items()
    }
    guessed = {str(number): {"data": [], "more": False} for number in range(6, 40)}
    api = Scripted("page", {**guessed, **answers})
    found = collect(api, PageNumber(has_more_path="more"), data_selector="data")
    assert found.rows == [row for each in answers.values() for row in each["data"]]


def test_a_short_page_in_the_middle_fails_where_offsets_could_lose_rows(collect: Collect) -> None:
    answers = {"0": [1, 2, 3], "3": [4], "6": [7, 8]}
    guessed = {str(number): {"data": [], "more": False} for number in range(9, 99, 3)}
    api = Scripted("offset", {**guessed, **{at: {"data": rows, "more": at != "6"} for at, rows in answers.items()}})
    error = collect.error(api, Offset(has_more_path="more", page_size=3), data_selector="data")
    assert isinstance(error, ResponseError)
    assert "page 2 has fewer rows than the first page and is not the last" in str(error)
    assert "step='received'" in str(error)


@pytest.mark.parametrize("status", [400, 422])
def test_a_page_size_that_is_refused_is_told_with_the_words_of_the_api(collect: Collect, status: int) -> None:
    asked = ByOffset(size_param="limit", asks=1000, cap=Cap(most=100, over="status", status=status))
    error = collect.error(table(asked, Total()), Offset(page_size=1000, total_path="meta.total"), data_selector="data")
    assert isinstance(error, RequestRefused)
    assert error.status == status
    assert "page_size" in str(error)
    assert "page size must not exceed 100" in str(error)


def test_past_the_end_an_empty_list_is_the_end(collect: Collect) -> None:
    api = table(ByNumber(size=100))
    found = collect(api, PageNumber(stop_after_empty_page=True), data_selector="data", max_workers=1)
    assert found.lines == api.reference()
    assert found.targets[:6] == [f"/items?page={number}" for number in range(1, 7)]


@pytest.mark.parametrize("workers", [1, 16])
def test_past_the_end_a_404_fails_unless_it_is_declared_to_be_the_end(collect: Collect, workers: int) -> None:
    api = table(ByNumber(size=100, past_end="not_found"))
    strategy = PageNumber(stop_after_empty_page=True)
    error = collect.error(api, strategy, data_selector="data", max_workers=workers)
    assert isinstance(error, RequestRefused)
    assert (error.status, "page 6 " in str(error)) == (404, True)
    ends = {"response_actions": [{"action": "END", "status": 404}]}
    found = collect(api, strategy, data_selector="data", max_workers=workers, response=ends)
    assert found.lines == api.reference()


@pytest.mark.parametrize("workers", [1, 16])
def test_past_the_end_an_error_in_the_body_fails_unless_it_is_declared_to_be_the_end(
    collect: Collect, workers: int
) -> None:
    api = table(ByNumber(size=100, past_end="error"))
    strategy = PageNumber(stop_after_empty_page=True)
    error = collect.error(api, strategy, data_selector="data", max_workers=workers)
    assert isinstance(error, ResponseError)
    assert "page 6 " in str(error)
    assert "'error'" in str(error)
    ends = {"response_actions": [{"action": "END", "path": "error", "equals": "the page is out of range"}]}
    found = collect(api, strategy, data_selector="data", max_workers=workers, response=ends)
    assert found.lines == api.reference()


@pytest.mark.parametrize("workers", [1, 16])
def test_past_the_end_the_last_page_again_fails_unless_it_is_declared_to_be_the_end(
    collect: Collect, workers: int
) -> None:
    api = table(ByNumber(size=100, past_end="last"))
    strategy = PageNumber(stop_after_empty_page=True)
    error = collect.error(api, strategy, data_selector="data", max_workers=workers)
    assert isinstance(error, IncompleteError)
    assert "page 6 of partition 0 has the same rows as an earlier page" in str(error)
    assert "completeness.on_repeat='end'" in str(error)
    found = collect(api, strategy, data_selector="data", max_workers=workers, completeness={"on_repeat": "end"})
    assert found.lines == api.reference()
    assert found.pages[-1].end == "the last page again"


def test_a_run_that_would_not_end_is_ended_by_max_pages(collect: Collect) -> None:
    api = table(ByNumber(size=10, past_end="last"), rows=employees(30))
    strategy = PageNumber(stop_after_empty_page=True)
    error = collect.error(api, strategy, data_selector="data", max_workers=1, limits={"max_pages": 2})
    assert isinstance(error, LimitExceeded)
    assert "limits.max_pages is 2" in str(error)
