"""Page numbers, offsets and single pages: one page in, one successor or reason to stop out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from airflow_paginated import Offset, Page, PageNumber, PageRequest, SinglePage, Stop, Total
from airflow_paginated.core.errors import ConfigurationError, ResponseError
from airflow_paginated.core.values import Json
from airflow_paginated.pagination.numbered import Numbered
from airflow_paginated.pagination.protocols import Pagination, SupportsPrefetch, SupportsTotal, totals_of

ASKED = PageRequest("/rows", query={"active": True}, headers={"x": "y"}, partition=(4,), index=7)


def answer(request: PageRequest, count: int, envelope: Json = None, headers: Mapping[str, str] | None = None) -> Page:
    return Page.of(request, [b"{}"] * count, envelope=envelope, headers=headers or {})


def queries(strategy: Numbered, count: int, envelope: Json, pages: int) -> list[dict[str, Any]]:
    """Return the query of each of the first pages, when all have so many rows."""
    request: PageRequest | Stop = strategy.first(ASKED)
    found: list[dict[str, Any]] = []
    while isinstance(request, PageRequest) and len(found) < pages:
        found.append({name: value for name, value in request.query.items() if name != "active"})
        request = strategy.follow(answer(request, count, envelope))
    return found


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (PageNumber(total_path="n"), [{"page": 1}, {"page": 2}, {"page": 3}]),
        (PageNumber(total_path="n", base_page=0, page_param="p"), [{"p": 0}, {"p": 1}, {"p": 2}]),
        (PageNumber(total_path="n", page_size=10), [{"page": 1}, {"page": 2}, {"page": 3}]),
        (
            PageNumber(total_path="n", page_size=10, page_size_param="per_page"),
            [{"page": 1, "per_page": 10}, {"page": 2, "per_page": 10}, {"page": 3, "per_page": 10}],
        ),
        (
            Offset(total_path="n", page_size=10),
            [{"offset": 0, "limit": 10}, {"offset": 10, "limit": 10}, {"offset": 20, "limit": 10}],
        ),
        (
            Offset(total_path="n", page_size=10, base_offset=1, offset_param="skip", limit_param=None),
            [{"skip": 1}, {"skip": 11}, {"skip": 21}],
        ),
        (
            Offset(total_path="n", offset_param="skip", limit_param="take"),
            [{"skip": 0, "take": 100}, {"skip": 10, "take": 100}, {"skip": 20, "take": 100}],
        ),
    ],
)
def test_a_page_has_its_place_in_the_query(strategy: Numbered, expected: list[dict[str, Any]]) -> None:
    assert queries(strategy, 10, {"n": 100}, 3) == expected


def test_the_first_request_keeps_all_but_its_place() -> None:
    first = PageNumber(total_path="n").first(ASKED)
    assert first == PageRequest(
        "/rows", query={"active": True, "page": 1}, headers={"x": "y"}, partition=(4,), index=0, state=None, sure=True
    )
    assert ASKED.query == {"active": True}


def test_the_place_of_a_page_replaces_what_the_query_said() -> None:
    first = PageNumber(total_path="n").first(PageRequest("/rows", query={"page": 99}))
    assert first.query == {"page": 1}


@pytest.mark.parametrize(
    ("strategy", "envelope", "headers"),
    [
        (PageNumber(total_path="meta.total"), {"meta": {"total": 25}}, {}),
        (PageNumber(total_path='meta["@odata.count"]'), {"meta": {"@odata.count": "25"}}, {}),
        (PageNumber(total_path="pages", total_kind="pages"), {"pages": 3}, {}),
        (PageNumber(total_header="X-Total-Count"), None, {"x-total-count": "25"}),
        (PageNumber(total_header="x-pages", total_kind="pages"), None, {"x-pages": " 3 "}),
        (Offset(total_path="n", page_size=10), {"n": 25}, {}),
        (Offset(total_header="X-Total", page_size=1000), None, {"x-total": "25"}),
    ],
)
def test_a_total_plans_the_run_and_ends_it(strategy: Numbered, envelope: Json, headers: dict[str, str]) -> None:
    page = answer(strategy.first(ASKED), 10, envelope, headers)
    second = strategy.follow(page)
    assert isinstance(second, PageRequest)
    assert (second.index, second.partition, second.sure) == (1, (4,), True)
    third = strategy.ahead(page, second)
    assert third is not None
    assert (third.index, third.sure) == (2, True)
    assert strategy.ahead(page, third) is None
    assert strategy.follow(answer(second, 10, envelope, headers)) == third
    assert strategy.follow(answer(third, 5, envelope, headers)) == Stop("total reached")


@pytest.mark.parametrize(("asked", "served", "pages"), [(1000, 100, 5), (100, 100, 5), (None, 100, 5), (10, 50, 10)])
@pytest.mark.parametrize("kind", [PageNumber, Offset])
def test_the_step_is_what_page_1_served(kind: type[Numbered], asked: int | None, served: int, pages: int) -> None:
    strategy = kind(total_path="n", page_size=asked) if asked else kind(total_path="n")
    page = answer(strategy.first(ASKED), served, {"n": 500})
    sent: PageRequest | None = page.request
    last = sent
    while sent is not None:
        last, sent = sent, strategy.ahead(page, sent)
    assert last is not None
    assert last.index == pages - 1
    assert last.query.get("offset") in (None, served * (pages - 1))


def test_a_short_page_later_on_changes_neither_step_nor_plan() -> None:
    strategy = Offset(total_path="n", page_size=1000)
    second = strategy.follow(answer(strategy.first(ASKED), 100, {"n": 500}))
    assert isinstance(second, PageRequest)
    third = strategy.follow(answer(second, 60, {"n": 500}))
    assert isinstance(third, PageRequest)
    assert third.query["offset"] == 200


@pytest.mark.parametrize(
    ("strategy", "envelope"),
    [
        (PageNumber(total_path="n"), {"n": 0}),
        (PageNumber(total_path="n", total_kind="pages"), {"n": 0}),
        (PageNumber(total_path="n", total_kind="pages"), {"n": 1}),
        (Offset(total_path="n"), {"n": 0}),
    ],
)
def test_an_empty_table_has_one_page(strategy: Numbered, envelope: Json) -> None:
    page = answer(strategy.first(ASKED), 0, envelope)
    assert strategy.follow(page) == Stop("total reached")
    assert strategy.ahead(page, page.request) is None


def test_rows_are_declared_and_page_1_has_none() -> None:
    with pytest.raises(ResponseError, match="declares 25 items, but its first page has no rows"):
        PageNumber(total_path="n").follow(answer(PageNumber(total_path="n").first(ASKED), 0, {"n": 25}))
    sized = PageNumber(total_path="n", page_size=10)
    assert isinstance(sized.follow(answer(sized.first(ASKED), 0, {"n": 25})), PageRequest)


@pytest.mark.parametrize("missing", [{}, {"n": None}, None, []])
def test_a_total_of_page_1_holds_for_pages_that_tell_none(missing: Json) -> None:
    strategy = PageNumber(total_path="n")
    second = strategy.follow(answer(strategy.first(ASKED), 10, {"n": 25}))
    assert isinstance(second, PageRequest)
    page = answer(second, 10, missing)
    assert strategy.total(page) is None
    third = strategy.follow(page)
    assert isinstance(third, PageRequest)
    assert strategy.follow(answer(third, 5, missing)) == Stop("total reached")


@pytest.mark.parametrize(("newest", "index"), [(45, 4), (21, 2), (20, None), (0, None)])
def test_the_newest_total_wins(newest: int, index: int | None) -> None:
    strategy = PageNumber(total_path="n")
    second = strategy.follow(answer(strategy.first(ASKED), 10, {"n": 25}))
    assert isinstance(second, PageRequest)
    page = answer(second, 10, {"n": newest})
    assert isinstance(strategy.follow(page), Stop if index is None else PageRequest)
    last: int | None = None
    sent = strategy.ahead(page, second)
    while sent is not None:
        last, sent = sent.index, strategy.ahead(page, sent)
    assert last == index


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (-1, "a number"),
        (10**18, "a number"),
        (True, "a boolean"),
        (float("nan"), "a number"),
        (25.0, "a number"),
        ("25.5", "a string"),
        ("-3", "a string"),
        ("", "a string"),
        ("²", "a string"),
        ("9" * 5000, "a string"),
        ([25], "a list of length 1"),
        ({"value": 25}, "an object with the keys 'value'"),
    ],
)
def test_a_total_is_a_count(given: Json, shown: str) -> None:
    strategy = PageNumber(total_path="meta.total")
    with pytest.raises(ResponseError) as caught:
        strategy.follow(answer(strategy.first(ASKED), 10, {"meta": {"total": given}}))
    assert str(caught.value) == (
        f"the total at 'meta.total' must be a count, the response has {shown} there; if the API does not always know"
        " it, set total_is='hint'"
    )


@pytest.mark.parametrize("given", ["many", "-1", "", "1e3"])
def test_a_total_in_a_header_is_a_count(given: str) -> None:
    strategy = PageNumber(total_header="X-Total")
    with pytest.raises(ResponseError, match="header 'X-Total' must be a count"):
        strategy.follow(answer(strategy.first(ASKED), 10, headers={"x-total": given}))


@pytest.mark.parametrize(
    ("envelope", "shown"),
    [
        ({"metadata": {"total": 3}, "links": {}}, "the body is an object with the keys 'metadata', 'links'"),
        ({}, "the body is an empty object"),
        ({"meta": {"count": 3}}, "'meta' is an object with the keys 'count'"),
        ({"meta": {"total": None}}, "'meta.total' is null"),
        (None, "the body contains only its rows"),
    ],
)
def test_a_total_that_is_missing_names_the_path_and_what_is_there(envelope: Json, shown: str) -> None:
    strategy = PageNumber(total_path="meta.total")
    with pytest.raises(ResponseError) as caught:
        strategy.follow(answer(strategy.first(ASKED), 10, envelope))
    assert str(caught.value) == f"total_path 'meta.total' matches nothing; {shown}"


def test_a_header_that_is_missing_names_those_that_are_there() -> None:
    strategy = PageNumber(total_header="X-Total")
    with pytest.raises(
        ResponseError, match="'X-Total' is missing from the response; its headers are 'content-type', 'x-count'"
    ):
        strategy.follow(answer(strategy.first(ASKED), 10, headers={"x-count": "3", "content-type": "x"}))


def test_has_more_decides_whatever_the_page_holds() -> None:
    strategy = PageNumber(has_more_path="meta.more", stop_after_empty_page=True)
    first = strategy.first(ASKED)
    second = strategy.follow(answer(first, 0, {"meta": {"more": True}}))
    assert isinstance(second, PageRequest)
    assert (second.index, second.sure) == (1, False)
    assert strategy.follow(answer(second, 10, {"meta": {"more": False}})) == Stop("no more pages")


def test_has_more_has_the_last_word_beside_a_total() -> None:
    strategy = PageNumber(has_more_path="more", total_path="n")
    first = strategy.first(ASKED)
    assert isinstance(strategy.follow(answer(first, 10, {"more": True, "n": 10})), PageRequest)
    assert strategy.ahead(answer(first, 10, {"more": True, "n": 10}), first) is None
    assert strategy.follow(answer(first, 10, {"more": False, "n": 100})) == Stop("no more pages")


@pytest.mark.parametrize("last", [False, "false", 0])
def test_a_flag_may_mean_the_last_page(last: Json) -> None:
    strategy = PageNumber(has_more_path="last", has_more_value=False)
    first = strategy.first(ASKED)
    assert isinstance(strategy.follow(answer(first, 10, {"last": last})), PageRequest)
    assert strategy.follow(answer(first, 10, {"last": True})) == Stop("no more pages")
    with pytest.raises(ConfigurationError, match="has_more_value requires has_more_path"):
        PageNumber(total_path="n", has_more_value=False)


@pytest.mark.parametrize(
    ("envelope", "shown"),
    [
        ({"more": "no"}, "'more' is a string"),
        ({"more": ""}, "'more' is a string"),
        ({"more": 2}, "'more' is a number"),
        ({"more": 0.0}, "'more' is a number"),
        ({"more": None}, "'more' is null"),
        ({"more": [True]}, "'more' is a list of length 1"),
        ({"next": True}, "the body is an object with the keys 'next'"),
        (None, "the body contains only its rows"),
    ],
)
def test_has_more_is_a_flag(envelope: Json, shown: str) -> None:
    strategy = PageNumber(has_more_path="more")
    with pytest.raises(ResponseError, match="has_more_path 'more' must be true or false") as caught:
        strategy.follow(answer(strategy.first(ASKED), 10, envelope))
    assert shown in str(caught.value)


@pytest.mark.parametrize(
    ("yes", "no"), [(True, False), ("true", "false"), ("True", "False"), ("TRUE", "FALSE"), (1, 0), ("1", "0")]
)
def test_a_flag_may_be_written_in_several_ways(yes: Json, no: Json) -> None:
    strategy = PageNumber(has_more_path="more")
    assert isinstance(strategy.follow(answer(strategy.first(ASKED), 10, {"more": yes})), PageRequest)
    assert strategy.follow(answer(strategy.first(ASKED), 10, {"more": no})) == Stop("no more pages")


def test_an_empty_page_ends_a_run_that_knows_no_other_end() -> None:
    strategy = Offset(stop_after_empty_page=True, page_size=10)
    first = strategy.first(ASKED)
    second = strategy.follow(answer(first, 3))
    assert isinstance(second, PageRequest)
    assert (second.query["offset"], second.sure) == (3, False)
    assert strategy.follow(answer(second, 0)) == Stop("empty page")
    assert strategy.follow(answer(first, 0)) == Stop("empty page")


def test_an_empty_page_does_not_end_a_run_with_a_total() -> None:
    strategy = PageNumber(total_path="n", stop_after_empty_page=True)
    second = strategy.follow(answer(strategy.first(ASKED), 10, {"n": 25}))
    assert isinstance(second, PageRequest)
    assert isinstance(strategy.follow(answer(second, 0, {"n": 25})), PageRequest)


def test_ahead_guesses_without_end_where_no_total_is_known() -> None:
    strategy = PageNumber(has_more_path="more")
    page = answer(strategy.first(ASKED), 10, {"more": True})
    sent = page.request
    for index in range(1, 50):
        further = strategy.ahead(page, sent)
        assert further is not None
        assert (further.index, further.query["page"], further.sure) == (index, index + 1, False)
        sent = further


def test_state_is_json_and_all_that_a_resume_needs() -> None:
    strategy = Offset(total_path="n", page_size=1000)
    second = strategy.follow(answer(strategy.first(ASKED), 100, {"n": 250}))
    assert isinstance(second, PageRequest)
    assert second.state == {"step": 100, "total": 250}
    third = strategy.follow(answer(second, 100, {}))
    assert isinstance(third, PageRequest)
    assert third.query == {"active": True, "offset": 200, "limit": 1000}
    assert strategy.follow(answer(third, 50, {})) == Stop("total reached")


def test_totals_are_declared_by_the_page_itself() -> None:
    page = answer(ASKED, 10, {"n": 25}, {"x-total": "7"})
    assert totals_of(PageNumber(total_path="n"))(page) == Total(25, "items")
    assert totals_of(PageNumber(total_header="X-Total", total_kind="pages"))(page) == Total(7, "pages")
    assert totals_of(PageNumber(total_path="m"))(page) is None
    assert totals_of(PageNumber(has_more_path="more"))(page) is None
    assert totals_of(SinglePage())(page) is None


def test_a_single_page_is_one_page() -> None:
    strategy: Pagination = SinglePage()
    first = strategy.first(ASKED)
    assert (first.index, first.query, first.partition) == (0, {"active": True}, (4,))
    assert strategy.follow(answer(first, 10)) == Stop("single page")
    assert not isinstance(strategy, SupportsPrefetch | SupportsTotal)


@pytest.mark.parametrize("value", [PageNumber(total_path="n"), Offset(total_path="n"), SinglePage()])
def test_strategies_are_frozen_values(value: Any) -> None:
    assert value == replace(value)
    with pytest.raises(AttributeError):
        value.page_size = 5
