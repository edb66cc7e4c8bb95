"""APIs that loop or repeat a page: the first repeat fails or ends the collection, as configured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_paginated import Cursor, HeaderLink, JsonLink, Keyset, Offset, PageNumber
from airflow_paginated.core.errors import ConfigurationError, IncompleteError, LimitExceeded, ResponseError
from airflow_paginated.hooks.paginated_api import PAGES_PER_WORKER
from tests.servers import Reply, Request
from tests.strategies.collecting import Application, Collect
from tests.strategies.scripted import Scripted, always, with_headers

NEXT = Cursor(cursor_path="next")
LINK = JsonLink(next_url_path="next")
DATA: dict[str, Any] = {"data_selector": "data", "max_workers": 1}


def said(rows: list[Any], **rest: Any) -> dict[str, Any]:
    return {"data": rows, **rest}


def in_header(rows: list[Any], target: str) -> Reply:
    return with_headers(said(rows), Link=f'<{target}>; rel="next"')


CIRCLES: dict[str, tuple[Application, object, int]] = {
    "the first page has the cursor of the first page": (
        Scripted("cursor", {None: said([1], next="a"), "a": said([2], next="a")}),
        NEXT,
        3,
    ),
    "a cursor leads back": (
        Scripted("cursor", {None: said([1], next="a"), "a": said([2], next="b"), "b": said([3], next="a")}),
        NEXT,
        4,
    ),
    "a cursor leads back, by way of empty pages": (
        Scripted("cursor", {None: said([1], next="a"), "a": said([], next="b"), "b": said([], next="a")}),
        NEXT,
        4,
    ),
    "a link leads to its own page": (
        Scripted("page", {None: said([1], next="?page=2"), "2": said([2], next="?page=2")}),
        LINK,
        3,
    ),
    "a link leads back": (
        Scripted(
            "page", {None: said([1], next="?page=2"), "2": said([2], next="?page=3"), "3": said([3], next="?page=2")}
        ),
        LINK,
        4,
    ),
    "a link header leads back": (
        Scripted(
            "page", {None: in_header([1], "?page=2"), "2": in_header([2], "?page=3"), "3": in_header([], "?page=2")}
        ),
        HeaderLink(),
        4,
    ),
    "the page parameter is ignored": (always(said([1, 2], total=100)), PageNumber(total_path="total"), 2),
    "the offset is ignored": (always(said([1, 2])), Offset(page_size=2, stop_after_empty_page=True), 2),
    "the cursor parameter is ignored": (always(said([1, 2], next="a")), NEXT, 2),
    "the key is ignored": (always(said([{"id": 1}, {"id": 2}])), Keyset(key_path="id", key_param="after"), 2),
    "every other page is the same": (
        Scripted("page", {str(number): said([number % 2], more=True) for number in range(1, 9)}),
        PageNumber(has_more_path="more"),
        3,
    ),
}


@pytest.mark.parametrize("name", CIRCLES)
def test_the_first_repeat_fails(collect: Collect, name: str) -> None:
    api, strategy, requests = CIRCLES[name]
    seen: list[Request] = []

    def noted(request: Request) -> Reply:
        seen.append(request)
        return api(request)

    error = collect.error(noted, strategy, **DATA)
    assert isinstance(error, IncompleteError)
    assert f"page {requests} of partition 0 has the same" in str(error)
    assert requests <= len(seen) < requests + PAGES_PER_WORKER


@pytest.mark.parametrize("name", CIRCLES)
def test_what_is_no_repeat_of_the_page_before_is_no_end_either(collect: Collect, name: str) -> None:
    api, strategy, _ = CIRCLES[name]
    if name in ("a cursor leads back", "a link leads back", "every other page is the same"):
        error = collect.error(api, strategy, completeness={"on_repeat": "end"}, **DATA)
        assert isinstance(error, IncompleteError)


def test_the_page_before_again_is_the_end_where_that_is_configured(collect: Collect) -> None:
    api = Scripted("cursor", {None: said([1], next="a"), "a": said([2], next="a")})
    found = collect(api, NEXT, completeness={"on_repeat": "end"}, **DATA)
    assert (found.rows, len(found.seen)) == ([1, 2], 3)
    ignored = collect(
        always(said([1, 2])), PageNumber(stop_after_empty_page=True), completeness={"on_repeat": "end"}, **DATA
    )
    assert ignored.rows == [1, 2]


@pytest.mark.parametrize("rows", [[], [1], [1, 2]])
def test_the_same_cursor_on_an_empty_page_is_the_end(collect: Collect, rows: list[int]) -> None:
    """As Solr's cursorMark: the page after the last row returns the cursor that was sent."""
    marks = "*ab"[: len(rows) + 1]
    pages = {mark: said([row], next=following) for mark, row, following in zip(marks, rows, marks[1:], strict=False)}
    api = Scripted("cursor", {**pages, marks[-1]: said([], next=marks[-1])})
    found = collect(api, replace(NEXT, first_cursor="*", stop_after_empty_page=True), **DATA)
    assert (found.rows, len(found.seen)) == (rows, len(rows) + 1)


def test_pages_that_are_alike_are_kept_where_that_is_configured(collect: Collect) -> None:
    answers = {str(number): said([0, 0], more=number < 5) for number in range(1, 9)}
    api = Scripted("page", answers)
    strategy = PageNumber(has_more_path="more")
    assert collect(api, strategy, completeness={"on_repeat": "allow"}, **DATA).rows == [0] * 10
    assert isinstance(collect.error(api, strategy, **DATA), IncompleteError)


def test_a_circle_that_is_allowed_ends_at_max_pages(collect: Collect) -> None:
    api = Scripted("cursor", {None: said([1], next="a"), "a": said([2], next="a")})
    error = collect.error(api, NEXT, completeness={"on_repeat": "allow"}, limits={"max_pages": 30}, **DATA)
    assert isinstance(error, LimitExceeded)
    assert "limits.max_pages is 30" in str(error)


def test_one_cursor_for_a_whole_scroll_is_no_circle_where_that_is_configured(collect: Collect) -> None:
    batches = iter([[1, 2], [3, 4], [5], []])
    strategy = Cursor(cursor_path="scroll_id", cursor_param="scroll_id", stop_after_empty_page=True)

    def scroll(request: Request) -> Reply:
        return always(said(next(batches), scroll_id="s"))(request)

    assert collect(scroll, strategy, completeness={"on_repeat": "allow"}, **DATA).rows == [1, 2, 3, 4, 5]


def test_partitions_may_be_alike_unless_all_of_them_are(collect: Collect) -> None:
    api, by_total = always(said([1], total=1)), PageNumber(total_path="total")
    two, three = ([{"shop": shop} for shop in shops] for shops in ("ab", "abc"))
    assert collect(api, by_total, partitions=two, **DATA).rows == [1, 1]
    error = collect.error(api, by_total, partitions=three, **DATA)
    assert isinstance(error, ResponseError)
    assert "does the API ignore their parameters, or does the endpoint lack a {placeholder}?" in str(error)
    allowed = collect(api, by_total, partitions=three, completeness={"on_repeat": "allow"}, **DATA)
    assert allowed.rows == [1, 1, 1]


def test_two_partitions_that_ask_the_same_are_refused(collect: Collect) -> None:
    error = collect.error(
        always(said([1])), PageNumber(total_path="total"), partitions=[{"a": 1}, {"a": "1"}], data_selector="data"
    )
    assert isinstance(error, ConfigurationError)
    assert "partitions[1] sends the same request as partitions[0]" in str(error)


def test_a_key_that_does_not_grow_is_a_circle(collect: Collect) -> None:
    api = Scripted("after", {None: said([{"id": 1}, {"id": 2}]), "2": said([{"id": 3}, {"id": 2}])})
    error = collect.error(api, Keyset(key_path="id", key_param="after"), **DATA)
    assert isinstance(error, IncompleteError | ResponseError)
