"""Pages that start after a key: which key is sent, which rows are already known, and what the key cannot prove."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from airflow_paginated import Keyset, Page, PageRequest, Total
from airflow_paginated.core.errors import IncompleteError, ResponseError
from airflow_paginated.core.values import Json
from airflow_paginated.pagination.protocols import SupportsPrefetch
from tests.pagination.responses import ASKED, answered, followed, own, stopped

PLAIN = Keyset(key_path="id", key_param="after")

TIES = Keyset(key_path="k", key_param="from", inclusive=True)


def ids(*numbers: Json) -> list[Json]:
    return [{"id": number} for number in numbers]


def ties(*keys: Json) -> list[Json]:
    """Rows ``a``, ``b`` and so on of each key: ``ties(1, 2, 2)`` are row ``a`` of key 1, rows ``a`` and ``b`` of 2."""
    return [{"k": key, "row": "abcdefghij"[list(keys[:at]).count(key)]} for at, key in enumerate(keys)]


def page_of(strategy: Keyset, rows: Sequence[Json], request: PageRequest | None = None, envelope: Json = None) -> Page:
    """Return a page with rows, trimmed by the strategy."""
    return strategy.trim(answered(strategy.first(ASKED) if request is None else request, rows, envelope))


def rows_of(page: Page) -> list[Any]:
    return [json.loads(row) for row in page.rows]


class TestWhatIsSent:
    def test_the_key_of_the_last_row(self) -> None:
        first = PLAIN.first(ASKED)
        assert first == replace(ASKED, index=0)
        second = followed(PLAIN, page_of(PLAIN, ids(3, 7)))
        assert (own(second), second.state) == ({"after": 7}, {"key": {"after": 7}})
        assert own(followed(PLAIN, page_of(PLAIN, ids(8), second))) == {"after": 8}

    @pytest.mark.parametrize(
        ("value", "text", "query"),
        [
            (7, b"7", 7),
            ("a+b/c=", b'"a+b/c="', "a+b/c="),
            (10**25, b"1" + b"0" * 25, 10**25),
            (None, b"1.10", "1.10"),
            (None, b"1512085950.0002161234567", "1512085950.0002161234567"),
            (None, b"1e3", "1E+3"),
        ],
    )
    def test_a_key_keeps_all_its_digits(self, value: Json, text: bytes, query: Json) -> None:
        page = Page.of(PLAIN.first(ASKED), [b'{"id": %b}' % text])
        assert own(followed(PLAIN, page)) == {"after": query}

    @pytest.mark.parametrize(
        ("text", "body"),
        [(b"7", 7), (b'"x"', "x"), (b"1.5", 1.5), (b"1.10", 1.1), (b"0.1234567890123456789", "0.1234567890123456789")],
    )
    def test_in_the_body_a_number_stays_a_number_where_it_can(self, text: bytes, body: Json) -> None:
        strategy = replace(PLAIN, inject_into="body", key_param="where.id.after")
        page = Page.of(strategy.first(ASKED), [b'{"id": %b}' % text])
        found = followed(strategy, page).body["where"]["id"]["after"]
        assert (found, type(found)) == (body, type(body))

    def test_it_may_be_in_a_header(self) -> None:
        strategy = replace(PLAIN, inject_into="header")
        assert followed(strategy, page_of(strategy, ids(7))).headers == {"x": "y", "after": "7"}

    def test_a_compound_key(self) -> None:
        strategy = Keyset(key_path=["at", "meta.id"], key_param=["since", "id"], first_key=["2024", 0])
        assert own(strategy.first(ASKED)) == {"since": "2024", "id": 0}
        second = followed(strategy, page_of(strategy, [{"at": "x", "meta": {"id": 1}}, {"at": "x", "meta": {"id": 2}}]))
        assert own(second) == {"since": "x", "id": 2}

    def test_a_first_key(self) -> None:
        for given in (0, "", "2024-01-01"):
            assert own(replace(PLAIN, first_key=given).first(ASKED)) == {"after": given}
        both = Keyset(key_path=["a", "b"], key_param=["x", "y"], first_key=0)
        assert own(both.first(ASKED)) == {"x": 0, "y": 0}

    def test_it_says_nothing_of_the_order(self) -> None:
        """It may mean the start, whatever the key of the first row."""
        strategy = replace(PLAIN, first_key=0)
        assert own(followed(strategy, page_of(strategy, ids(9, 7)))) == {"after": 7}
        assert own(followed(strategy, page_of(strategy, ids(0, 7)))) == {"after": 7}

    def test_a_page_size(self) -> None:
        strategy = replace(PLAIN, page_size=2, page_size_param="limit")
        assert own(strategy.first(ASKED)) == {"limit": 2}
        assert own(followed(strategy, page_of(strategy, ids(1, 2)))) == {"limit": 2, "after": 2}

    def test_nothing_is_known_before_its_turn(self) -> None:
        assert not isinstance(PLAIN, SupportsPrefetch)


class TestWhereItEnds:
    @pytest.mark.parametrize("strategy", [PLAIN, replace(PLAIN, stop_after_empty_page=False)])
    def test_an_empty_page_is_the_end(self, strategy: Keyset) -> None:
        assert stopped(strategy, page_of(strategy, [])) in ("empty page", "no next page")
        second = followed(strategy, page_of(strategy, ids(1, 2)))
        assert stopped(strategy, page_of(strategy, [], second)) in ("empty page", "no next page")

    def test_a_short_page_is_not(self) -> None:
        strategy = replace(PLAIN, page_size=100, page_size_param="limit")
        assert own(followed(strategy, page_of(strategy, ids(1))))["after"] == 1

    def test_a_flag_has_the_last_word(self) -> None:
        strategy = replace(PLAIN, has_more_path="more")
        assert stopped(strategy, page_of(strategy, ids(1), envelope={"more": False})) == "no more pages"
        second = followed(strategy, page_of(strategy, ids(1), envelope={"more": True}))
        assert stopped(strategy, page_of(strategy, [], second, {"more": False})) == "no more pages"
        with pytest.raises(ResponseError) as caught:
            strategy.follow(page_of(strategy, [], second, {"more": True}))
        assert str(caught.value) == (
            "the API reports more pages, but page 2 of partition 4 has no row to continue from"
        )

    def test_a_total_has_to_be_there(self) -> None:
        strategy = replace(PLAIN, total_path="n")
        page = page_of(strategy, ids(1), envelope={"n": 5})
        assert strategy.total(page) == Total(5, "items")
        assert followed(strategy, page).index == 1
        with pytest.raises(ResponseError, match="total_path 'n' matches nothing"):
            strategy.follow(page_of(strategy, ids(1), envelope={}))


class TestKeysThatCannotLeadOn:
    @pytest.mark.parametrize(
        ("row", "shown"),
        [
            ({"key": 1}, "the row is an object with the keys 'key'"),
            ({"id": None}, "'id' is null"),
            ([1], "the row is a list of length 1"),
            ("secret", "the row is a string"),
            (7, "the row is a number"),
        ],
    )
    def test_a_row_without_the_key(self, row: Json, shown: str) -> None:
        with pytest.raises(ResponseError) as caught:
            PLAIN.follow(page_of(PLAIN, [row]))
        assert str(caught.value) == f"key_path 'id' matches nothing in a row; {shown}"

    def test_one_in_the_middle(self) -> None:
        """No key is less than null: such rows would be missing from page 2 on."""
        with pytest.raises(ResponseError, match="key_path 'id' matches nothing in a row"):
            PLAIN.follow(page_of(PLAIN, ids(1, None, 3)))

    @pytest.mark.parametrize("keys", [(1, 1), (1, 2, 2), (1, 1, 2), ("a", "a", "b")])
    def test_two_rows_of_one_key_may_come_apart(self, keys: tuple[Json, ...]) -> None:
        with pytest.raises(ResponseError, match=r"two rows of page 1 of partition 4 share the key at 'id', .*inclus"):
            PLAIN.follow(page_of(PLAIN, ids(*keys)))

    def test_a_page_that_begins_with_the_key_that_was_sent(self) -> None:
        """The API includes the key: its row would be duplicated on each page."""
        told = replace(PLAIN, has_more_path="more")
        for strategy in (PLAIN, told):
            second = followed(strategy, page_of(strategy, ids(1, 2), envelope={"more": True}))
            with pytest.raises(ResponseError, match="page 2 of partition 4 begins with the key that was sent"):
                page_of(strategy, ids(2, 3), second, {"more": False})

    @pytest.mark.parametrize("keys", [(1, 3, 2), (3, 1, 2), (1.5, 1.75, 1.625), (9, 8, 10)])
    @pytest.mark.parametrize("strategy", [PLAIN, replace(TIES, key_path="id")])
    def test_rows_in_another_order(self, strategy: Keyset, keys: tuple[Json, ...]) -> None:
        """The next page starts after the last key: rows with smaller keys would never be requested."""
        strategy = replace(strategy, inject_into="body")
        with pytest.raises(ResponseError, match="the rows of page 1 of partition 4 are not in the order of 'id'"):
            strategy.follow(page_of(strategy, ids(*keys)))

    def test_pages_in_another_order(self) -> None:
        second = followed(PLAIN, page_of(PLAIN, ids(5, 6)))
        with pytest.raises(ResponseError, match="the rows of page 2 of partition 4 are not in the order of 'id'"):
            PLAIN.follow(page_of(PLAIN, ids(1, 2), second))

    @pytest.mark.parametrize("keys", [(9, 7, 2), (1, 2, 9), ("b", "A", "a"), ("10", "9"), (1, "a", 2), (True, 2)])
    def test_an_order_may_go_down_or_be_that_of_texts(self, keys: tuple[Json, ...]) -> None:
        assert own(followed(PLAIN, page_of(PLAIN, ids(*keys)))) == {"after": keys[-1]}

    @pytest.mark.parametrize("keys", [(1, 2, 2), (3, 1, 2)])
    def test_a_total_of_rows_will_show_it(self, keys: tuple[Json, ...]) -> None:
        strategy = replace(PLAIN, total_path="n")
        assert own(followed(strategy, page_of(strategy, ids(*keys), envelope={"n": 3}))) == {"after": 2}
        hinted = replace(strategy, total_is="hint")
        with pytest.raises(ResponseError, match=r"share the key|are not in the order"):
            hinted.follow(page_of(hinted, ids(*keys), envelope={"n": 3}))

    def test_the_last_page_needs_no_key(self) -> None:
        strategy = replace(PLAIN, has_more_path="more")
        assert stopped(strategy, page_of(strategy, ids(1, 1, None), envelope={"more": False})) == "no more pages"


class TestInclusive:
    """At most four rows on a page; the next page starts with the rows of the last key."""

    def read(self, strategy: Keyset, *pages: Sequence[Json], envelope: Json = None) -> list[Json] | str:
        """Return the new rows of the last page if another follows, else why none does."""
        page = page_of(strategy, pages[0], envelope=envelope)
        for rows in pages[1:]:
            page = page_of(strategy, rows, followed(strategy, page), envelope)
        return rows_of(page) if isinstance(strategy.follow(page), PageRequest) else stopped(strategy, page)

    def test_rows_that_are_known_are_taken_off(self) -> None:
        second = followed(TIES, page_of(TIES, ties(1, 1, 2, 2)))
        assert own(second) == {"from": 2}
        page = page_of(TIES, ties(2, 2, 2, 3), second)
        assert rows_of(page) == [{"k": 2, "row": "c"}, {"k": 3, "row": "a"}]
        assert own(followed(TIES, page)) == {"from": 3}

    def test_no_more_is_remembered_than_the_rows_of_the_last_key(self) -> None:
        second = followed(TIES, page_of(TIES, ties(1, 1, 2, 2)))
        third = followed(TIES, page_of(TIES, ties(2, 2, 3), second))
        assert [len(each.state["border"]) for each in (second, third)] == [2, 1]

    def test_in_whatever_order_rows_of_one_key_come(self) -> None:
        a, b, c, d = ties(2, 2, 2, 2)
        second = followed(TIES, page_of(TIES, [*ties(1), b, d]))
        assert rows_of(page_of(TIES, [c, d, a, b, *ties(3)], second)) == [c, a, *ties(3)]

    def test_two_rows_that_are_the_same_are_two(self) -> None:
        row = {"k": 2, "v": "x"}
        second = followed(TIES, page_of(TIES, [{"k": 1}, row]))
        assert rows_of(page_of(TIES, [row, row, {"k": 3}], second)) == [row, {"k": 3}]
        second = followed(TIES, page_of(TIES, [{"k": 1}, row, row]))
        assert rows_of(page_of(TIES, [row, row, row, {"k": 3}], second)) == [row, {"k": 3}]

    def test_a_row_of_another_key_is_new_whatever_it_looks_like(self) -> None:
        second = followed(TIES, page_of(TIES, ties(1, 2)))
        assert rows_of(page_of(TIES, [*ties(2), *ties(3), *ties(2)], second)) == [*ties(3), *ties(2)]

    def test_the_last_row_alone_is_the_end(self) -> None:
        assert self.read(TIES, ties(1, 2, 3, 4), ties(4)) == "empty page"
        assert self.read(TIES, ties(1, 2, 3, 4), ties(4, 5), ties(5)) == "empty page"

    def test_so_are_the_last_rows_of_one_key(self) -> None:
        assert self.read(TIES, ties(1, 2, 2, 2), ties(2, 2, 2)) == "empty page"
        assert self.read(TIES, ties(1, 2, 3, 4), ties(4, 5, 5), ties(5, 5)) == "empty page"
        assert self.read(TIES, ties(1, 2, 3, 3), ties(3, 3, 3)) == "no next page"

    def test_a_table_of_one_row_has_that_row(self) -> None:
        assert self.read(TIES, ties(1), ties(1)) == "empty page"
        sized = replace(TIES, page_size=100, page_size_param="limit")
        assert self.read(sized, ties(1), ties(1)) == "empty page"

    def test_an_empty_table_has_none(self) -> None:
        assert self.read(TIES, []) == "empty page"

    STUCK = r"a full page of rows shares the key at 'k', so the rows after page \d of partition 4 cannot be reached"

    @pytest.mark.parametrize(
        "pages",
        [
            [ties(1, 1, 1, 1), ties(1, 1, 1, 1)],
            [ties(1, 1), ties(1, 1)],
            [ties(1, 2, 3, 3), ties(3, 3, 3, 3)],
            [ties(1, 2, 3, 3), ties(3, 3, 4, 4), ties(4, 4, 4, 4)],
        ],
    )
    def test_a_whole_page_of_one_key_fails(self, pages: list[list[Json]]) -> None:
        with pytest.raises(ResponseError, match=self.STUCK):
            self.read(TIES, *pages)

    def test_a_total_says_whether_there_is_more(self) -> None:
        strategy = replace(TIES, total_path="n")
        assert self.read(strategy, ties(1, 1), ties(1, 1), envelope={"n": 2}) == "empty page"
        assert self.read(strategy, ties(1, 2, 3, 3), ties(3, 3, 3, 3), envelope={"n": 6}) == "no next page"

    def test_so_does_a_flag(self) -> None:
        strategy = replace(TIES, has_more_path="more")
        second = followed(strategy, page_of(strategy, ties(1, 1), envelope={"more": True}))
        assert stopped(strategy, page_of(strategy, ties(1, 1), second, {"more": False})) == "no more pages"
        with pytest.raises(ResponseError, match=r"reports more pages, but page 2 of partition 4 has no new row"):
            strategy.follow(page_of(strategy, ties(1, 1), second, {"more": True}))
        third = followed(strategy, page_of(strategy, ties(1, 2), second, {"more": True}))
        with pytest.raises(ResponseError, match=self.STUCK):
            strategy.follow(page_of(strategy, ties(2, 2), third, {"more": True}))

    def test_rows_of_the_first_key_only(self) -> None:
        """The second request would equal the first one: it need not be sent."""
        strategy = replace(TIES, first_key=1)
        assert self.read(strategy, ties(1)) == "no next page"
        with pytest.raises(ResponseError, match=self.STUCK):
            self.read(strategy, ties(1, 1))
        assert self.read(replace(strategy, total_path="n"), ties(1, 1), envelope={"n": 2}) == "no next page"
        assert self.read(strategy, ties(1, 2), ties(2)) == "empty page"

    def test_a_row_that_was_deleted_meanwhile_is_not_missed(self) -> None:
        second = followed(TIES, page_of(TIES, ties(1, 2, 2, 2)))
        _, b, c, d = ties(2, 2, 2, 2)
        third_page = page_of(TIES, [b, c, d, *ties(3)], second)
        assert rows_of(third_page) == [d, *ties(3)]
        third = followed(TIES, third_page)
        assert rows_of(page_of(TIES, ties(4, 5), third)) == ties(4, 5)

    @pytest.mark.parametrize("rows", [[], ties(3, 4), [{"k": 2, "row": "a", "signed": "anew"}, *ties(3)]])
    def test_a_second_page_that_repeats_nothing_comes_from_another_kind_of_api(self, rows: list[Json]) -> None:
        """The API excludes the key, so rows that share it would be missing; or the last row has changed."""
        with pytest.raises(
            IncompleteError, match="page 2 does not begin with the last row of page 1: that row was deleted"
        ):
            self.read(TIES, ties(1, 2), rows)

    def test_an_answer_that_is_the_end_may_be_anything(self) -> None:
        """But a known row must not be duplicated."""
        second = followed(TIES, page_of(TIES, ties(1, 2)))
        for rows, new in ((ties(3), ties(3)), (ties(2, 3), ties(3)), (ties(2, 2), ties(2, 2)[1:]), ([], [])):
            assert rows_of(TIES.trim(replace(answered(second, rows), end="by rule"))) == new

    def test_an_ignored_page_begins_with_nothing(self) -> None:
        second = followed(TIES, page_of(TIES, ties(1, 2)))
        with pytest.raises(ResponseError, match="page 2 is ignored, but only its response leads to the next page"):
            TIES.follow(TIES.trim(replace(answered(second, []), ignored=True)))

    def test_a_page_of_no_known_rows_stays_the_same(self) -> None:
        first = answered(TIES.first(ASKED), ties(1, 2))
        assert TIES.trim(first) is first

    def test_compound_keys_end_with_all_their_parts(self) -> None:
        strategy = Keyset(key_path=["k", "row"], key_param=["k", "row"], inclusive=True)
        second = followed(strategy, page_of(strategy, ties(1, 1, 1)))
        assert own(second) == {"k": 1, "row": "c"}
        assert rows_of(page_of(strategy, [ties(1, 1, 1)[2], *ties(2)], second)) == ties(2)
