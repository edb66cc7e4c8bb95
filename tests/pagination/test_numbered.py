"""Page numbers and offsets with irregular responses, and with parameters in other places."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_paginated import Offset, Page, PageNumber, PageRequest, Total
from airflow_paginated.core.errors import ResponseError
from airflow_paginated.core.values import Json
from airflow_paginated.pagination.numbered import Numbered
from tests.pagination.responses import ASKED, answer, followed, own, stopped

BARE: dict[str, Any] = {"stop_after_empty_page": True}

MORE: dict[str, Any] = {"has_more_path": "more"}

ITEMS: dict[str, Any] = {"total_path": "n"}

PAGES: dict[str, Any] = {"total_path": "n", "total_kind": "pages"}

HINT: dict[str, Any] = {"total_path": "n", "total_is": "hint", "stop_after_empty_page": True}

LOST = "rows may be missing or duplicated; if the API filters rows after paginating, set on_short_page='accept'"


def read(strategy: Numbered, *counts: int, envelope: Json = None) -> Page | str:
    """Follow a strategy through pages of so many rows; return the last page, or why nothing follows it."""
    request = strategy.first(ASKED)
    for count in counts[:-1]:
        request = followed(strategy, answer(request, count, envelope))
    page = answer(request, counts[-1], envelope)
    return page if isinstance(strategy.follow(page), PageRequest) else stopped(strategy, page)


class TestShortPages:
    """Ten rows on page 1, and another number on a later page."""

    @pytest.mark.parametrize(
        ("strategy", "envelope"),
        [
            (PageNumber(**PAGES), {"n": 9}),
            (PageNumber(**ITEMS), {"n": 99}),
            (PageNumber(**MORE), {"more": True}),
            (PageNumber(**BARE), None),
            (Offset(**ITEMS), {"n": 99}),
            (Offset(**MORE, on_short_page="accept"), {"more": True}),
            (Offset(**PAGES, on_short_page="accept"), {"n": 9}),
            (Offset(**BARE, on_short_page="accept"), None),
            (Offset(**BARE, on_short_page="accept", total_path="n", total_is="hint"), {"n": 99}),
        ],
    )
    @pytest.mark.parametrize("counts", [(10, 7), (10, 7, 10), (10, 10, 7, 7), (10, 12), (10, 12, 3)])
    def test_they_are_accepted_where_they_cost_nothing(
        self, strategy: Numbered, envelope: Json, counts: tuple[int, ...]
    ) -> None:
        page = read(strategy, *counts, envelope=envelope)
        assert isinstance(page, Page)
        further = followed(strategy, page)
        assert own(further).get("offset", 10 * further.index) == 10 * further.index

    @pytest.mark.parametrize(
        ("strategy", "envelope"),
        [
            (Offset(**MORE), {"more": True}),
            (Offset(**PAGES), {"n": 9}),
            (Offset(**MORE, total_path="n", total_is="hint"), {"more": True, "n": 99}),
            (Offset(**ITEMS, on_short_page="fail"), {"n": 99}),
            (PageNumber(**ITEMS, on_short_page="fail"), {"n": 99}),
            (PageNumber(**MORE, on_short_page="fail"), {"more": True}),
        ],
    )
    @pytest.mark.parametrize("short", [0, 1, 9])
    def test_they_fail_at_once_where_the_api_says_that_more_follow(
        self, strategy: Numbered, envelope: Json, short: int
    ) -> None:
        with pytest.raises(ResponseError) as caught:
            read(strategy, 10, 10, short, envelope=envelope)
        assert str(caught.value).startswith(f"page 3 has fewer rows than the first page and is not the last: {LOST}")

    @pytest.mark.parametrize("strategy", [Offset(**BARE), Offset(**HINT), PageNumber(**BARE, on_short_page="fail")])
    def test_they_fail_where_rows_come_after_them(self, strategy: Numbered) -> None:
        with pytest.raises(ResponseError, match="page 2 has fewer rows than the first page and is not the last"):
            read(strategy, 10, 9, 1)

    @pytest.mark.parametrize(
        "strategy", [Offset(**BARE), Offset(**HINT), PageNumber(**BARE), PageNumber(**HINT, on_short_page="fail")]
    )
    @pytest.mark.parametrize("envelope", [None, {"n": 25}, {"n": 1000}, {"n": 0}])
    def test_the_last_page_may_be_short(self, strategy: Numbered, envelope: Json) -> None:
        assert read(strategy, 10, 10, 5, 0, envelope=envelope) == "empty page"

    @pytest.mark.parametrize(
        ("strategy", "envelope"), [(Offset(**ITEMS, on_short_page="fail"), {"n": 25}), (Offset(**PAGES), {"n": 3})]
    )
    def test_so_it_may_where_a_total_tells_which_one_it_is(self, strategy: Numbered, envelope: Json) -> None:
        assert read(strategy, 10, 10, 5, envelope=envelope) == "total reached"

    def test_so_it_may_where_a_flag_tells_which_one_it_is(self) -> None:
        strategy = Offset(**MORE)
        second = followed(strategy, answer(strategy.first(ASKED), 10, {"more": True}))
        assert stopped(strategy, answer(second, 5, {"more": False})) == "no more pages"
        assert stopped(strategy, answer(second, 0, {"more": False})) == "no more pages"

    @pytest.mark.parametrize("strategy", [Offset(**BARE), Offset(**MORE), PageNumber(**MORE, on_short_page="fail")])
    def test_a_page_of_more_rows_than_the_first_fails(self, strategy: Numbered) -> None:
        with pytest.raises(ResponseError, match="page 2 has more rows than the first page and is not the last"):
            read(strategy, 10, 11, envelope={"more": True})

    def test_the_error_of_offsets_knows_another_way_out(self) -> None:
        with pytest.raises(ResponseError, match=r"set on_short_page='accept', otherwise step='received'$"):
            read(Offset(**MORE), 10, 9, envelope={"more": True})

    @pytest.mark.parametrize("strategy", [Offset(**MORE), Offset(**BARE), PageNumber(**MORE, on_short_page="fail")])
    def test_a_page_that_is_ignored_is_not_short(self, strategy: Numbered) -> None:
        second = followed(strategy, answer(strategy.first(ASKED), 10, {"more": True}))
        third = followed(strategy, answer(second, 0, {"more": True}, ignored=True))
        assert own(third).get("offset", 20) == 20
        assert followed(strategy, answer(third, 10, {"more": True})).index == 3


def test_an_ignored_page_is_no_empty_one() -> None:
    strategy = PageNumber(**BARE)
    second = followed(strategy, answer(strategy.first(ASKED), 10))
    third = followed(strategy, answer(second, 0, ignored=True))
    assert stopped(strategy, answer(third, 0)) == "empty page"


class TestHints:
    def test_a_hint_bounds_what_is_sent_ahead_and_ends_nothing(self) -> None:
        strategy = PageNumber(**HINT)
        page = answer(strategy.first(ASKED), 10, {"n": 25})
        second = strategy.ahead(page, page.request)
        assert second is not None
        third = strategy.ahead(page, second)
        assert third is not None
        assert (second.sure, third.index, third.sure) == (False, 2, False)
        assert strategy.ahead(page, third) is None
        assert read(strategy, 10, 10, 5, 10, 0, envelope={"n": 25}) == "empty page"
        assert read(strategy, 10, 0, envelope={"n": 25}) == "empty page"

    @pytest.mark.parametrize("told", [{}, {"n": None}, {"n": "about 25"}, {"n": -1}, {"n": [25]}])
    def test_it_may_be_anything(self, told: Json) -> None:
        strategy = PageNumber(**HINT)
        assert strategy.declared(answer(ASKED, 10, told)) is None
        assert read(strategy, 10, 10, 0, envelope=told) == "empty page"

    def test_nobody_has_to_come_to_it(self) -> None:
        page = answer(ASKED, 10, {"n": 25})
        assert PageNumber(**HINT).total(page) is None
        assert PageNumber(**HINT).declared(page) == Total(25, "items")


class TestOffsetsThatFollowTheRows:
    @pytest.mark.parametrize(
        ("rule", "told", "last", "why"),
        [
            (ITEMS, {"n": 24}, {"n": 24}, "total reached"),
            (PAGES, {"n": 3}, {"n": 3}, "total reached"),
            (MORE, {"more": True}, {"more": False}, "no more pages"),
        ],
    )
    def test_each_page_begins_behind_the_rows_that_came(
        self, rule: dict[str, Any], told: Json, last: Json, why: str
    ) -> None:
        strategy = Offset(**rule, step="received", page_size=10, base_offset=1)
        first = strategy.first(ASKED)
        assert own(first) == {"offset": 1, "limit": 10}
        page = answer(first, 9, told)
        assert strategy.ahead(page, first) is None
        second = followed(strategy, page)
        third = followed(strategy, answer(second, 10, told))
        assert [own(each)["offset"] for each in (second, third)] == [10, 20]
        assert stopped(strategy, answer(third, 5, last)) == why

    def test_an_empty_page_is_the_end_where_nothing_else_tells(self) -> None:
        strategy = Offset(**BARE, step="received")
        second = followed(strategy, answer(strategy.first(ASKED), 3))
        assert stopped(strategy, answer(second, 0)) == "empty page"
        with pytest.raises(ResponseError, match="page 2 has no rows, but the API reports more"):
            strategy.follow(answer(second, 0, ignored=True))

    @pytest.mark.parametrize(("rule", "told"), [(ITEMS, {"n": 24}), (PAGES, {"n": 3}), (MORE, {"more": True})])
    def test_an_empty_page_before_the_end_fails(self, rule: dict[str, Any], told: Json) -> None:
        strategy = Offset(**rule, step="received")
        second = followed(strategy, answer(strategy.first(ASKED), 3, told))
        with pytest.raises(
            ResponseError, match=r"page 2 has no rows, but the API reports .* the offset cannot advance"
        ):
            strategy.follow(answer(second, 0, told))

    def test_a_total_of_page_1_holds_and_the_newest_wins(self) -> None:
        strategy = Offset(**ITEMS, step="received")
        second = followed(strategy, answer(strategy.first(ASKED), 10, {"n": 12}))
        assert stopped(strategy, answer(second, 2, {})) == "total reached"
        third = followed(strategy, answer(second, 2, {"n": 13}))
        assert stopped(strategy, answer(third, 1, {"n": 13})) == "total reached"

    def test_a_total_that_is_missing_fails(self) -> None:
        strategy = Offset(**ITEMS, step="received")
        with pytest.raises(ResponseError, match="total_path 'n' matches nothing"):
            strategy.follow(answer(strategy.first(ASKED), 10, {}))

    def test_a_hint_does_not_end_it(self) -> None:
        strategy = Offset(**HINT, step="received")
        assert read(strategy, 10, 10, 0, envelope={"n": 5}) == "empty page"


@pytest.mark.parametrize(
    ("strategy", "headers", "body"),
    [
        (PageNumber(**BARE, inject_into="header", page_param="X-Page"), ["1", "2"], None),
        (
            PageNumber(**BARE, inject_into="body", page_param="page.number", page_size=5, page_size_param="page.size"),
            None,
            [{"page": {"number": 1, "size": 5}}, {"page": {"number": 2, "size": 5}}],
        ),
        (
            Offset(**BARE, inject_into="body", page_size=5),
            None,
            [{"offset": 0, "limit": 5}, {"offset": 5, "limit": 5}],
        ),
    ],
)
def test_parameters_may_go_into_a_header_or_the_body(
    strategy: Numbered, headers: list[str] | None, body: list[Json] | None
) -> None:
    first = strategy.first(ASKED)
    page = answer(first, 5)
    second = followed(strategy, page)
    assert strategy.ahead(page, first) == second
    assert [first.query, second.query] == [ASKED.query] * 2
    assert [each.headers.get("X-Page") for each in (first, second)] == (headers or [None, None])
    assert [each.body for each in (first, second)] == (body or [None, None])
    assert first.headers["x"] == "y"
