"""Cursors in the body and in headers: what is sent, and where they end."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated import Cursor, HeaderCursor, Page, PageRequest, Total
from airflow_paginated.core.errors import ResponseError
from airflow_paginated.core.values import Json
from airflow_paginated.pagination.protocols import SupportsPrefetch
from tests.pagination.responses import ASKED, answer, followed, own, stopped

CURSOR = Cursor(cursor_path="meta.next")

HEADER = HeaderCursor(cursor_header="X-Next")


def told(strategy: Cursor, token: Json, request: PageRequest | None = None, count: int = 10) -> Page:
    return answer(strategy.first(ASKED) if request is None else request, count, {"meta": {"next": token}})


def headed(strategy: HeaderCursor, *tokens: str | None, request: PageRequest | None = None, count: int = 10) -> Page:
    """Return a page with the tokens in the strategy's headers, in that order; ``None`` omits one."""
    named = [strategy.cursor_header] if isinstance(strategy.cursor_header, str) else strategy.cursor_header
    headers = {name.lower(): token for name, token in zip(named, tokens, strict=True) if token is not None}
    return answer(strategy.first(ASKED) if request is None else request, count, headers=headers)


def test_a_token_is_sent_back() -> None:
    first = CURSOR.first(ASKED)
    assert first == replace(ASKED, index=0)
    second = followed(CURSOR, told(CURSOR, "abc"))
    assert second == replace(ASKED, index=1, query={"active": True, "cursor": "abc"})
    assert followed(CURSOR, told(CURSOR, "def", second)).query == {"active": True, "cursor": "def"}
    assert followed(HEADER, headed(HEADER, "abc")).query == {"active": True, "cursor": "abc"}


@pytest.mark.parametrize(
    ("token", "sent"),
    [
        ("a+b/c==", "a+b/c=="),
        ("a%2Bb", "a%2Bb"),
        ("a,b;c$d e&f=g#h?", "a,b;c$d e&f=g#h?"),
        ("ünï\u2028", "ünï\u2028"),
        ("0", "0"),
        (" ", " "),
        (7, 7),
        (10**25, 10**25),
        (1.5, 1.5),
        (True, True),
        ({"id": 7, "at": "x"}, '{"id":7,"at":"x"}'),
        ([7, "x", None], '[7,"x",null]'),
        ('{"id": 7}', '{"id": 7}'),
    ],
)
def test_in_the_query_a_token_is_what_it_was_or_its_json(token: Json, sent: Json) -> None:
    found = followed(CURSOR, told(CURSOR, token)).query["cursor"]
    assert found == sent
    assert type(found) is type(sent)


@pytest.mark.parametrize("token", ["a+b/c==", 7, 10**25, True, {"id": 7, "at": ["x", None]}, [7, "x"], '{"id": 7}'])
def test_in_the_body_a_token_keeps_its_kind(token: Json) -> None:
    strategy = replace(CURSOR, inject_into="body", cursor_param="variables.after")
    first = strategy.first(replace(ASKED, method="POST", body={"query": "q", "variables": {"n": 5}}))
    second = followed(strategy, told(strategy, token, first))
    assert (second.query, second.method) == (ASKED.query, "POST")
    assert second.body == {"query": "q", "variables": {"n": 5, "after": token}}


@pytest.mark.parametrize(("token", "sent"), [("a=", "a="), (7, "7"), (True, "true"), ({"id": 7}, '{"id":7}')])
def test_in_a_header_a_token_is_a_text(token: Json, sent: str) -> None:
    strategy = replace(CURSOR, inject_into="header", cursor_param="X-Cursor")
    second = followed(strategy, told(strategy, token))
    assert (second.query, second.headers) == (ASKED.query, {"x": "y", "X-Cursor": sent})


@pytest.mark.parametrize(
    ("token", "sent"),
    [
        ("a%2Bb%3D", "a+b="),
        ("a%252B", "a%2B"),
        ("a+b", "a+b"),
        ("%C3%BC", "ü"),
        ("100%", "100%"),
        ("%zz", "%zz"),
        (7, 7),
    ],
)
def test_an_encoded_token_is_decoded_to_be_encoded_once(token: Json, sent: Json) -> None:
    strategy = replace(CURSOR, cursor_encoded=True)
    assert followed(strategy, told(strategy, token)).query["cursor"] == sent
    if isinstance(token, str):
        encoded = replace(HEADER, cursor_encoded=True)
        assert followed(encoded, headed(encoded, token)).query["cursor"] == sent


@pytest.mark.parametrize("token", ["%FF", "abc%C3", "%80%80"])
def test_an_encoded_token_that_cannot_be_sent_back_as_it_is_fails(token: str) -> None:
    strategy = replace(CURSOR, cursor_encoded=True)
    with pytest.raises(ResponseError) as caught:
        strategy.follow(told(strategy, token))
    assert str(caught.value) == "a cursor is percent-encoded but not UTF-8, so it cannot be sent back"


@pytest.mark.parametrize("token", [None, "", False, 0, 0.0, {}, []])
def test_these_are_signs_of_the_end(token: Json) -> None:
    assert stopped(CURSOR, told(CURSOR, token)) == "no next page"
    second = followed(CURSOR, told(CURSOR, "abc"))
    assert stopped(CURSOR, told(CURSOR, token, second)) == "no next page"


def test_so_is_an_empty_header() -> None:
    assert stopped(HEADER, headed(HEADER, "")) == "no next page"


@pytest.mark.parametrize(
    ("envelope", "shown"),
    [
        ({"meta": {"nxt": "a"}}, "'meta' is an object with the keys 'nxt'"),
        ({"next": "a"}, "the body is an object with the keys 'next'"),
        ({}, "the body is an empty object"),
        ([], "the body is a list of length 0"),
        (None, "the body contains only its rows"),
    ],
)
def test_on_the_first_page_a_wrong_name_looks_like_the_end(envelope: Json, shown: str) -> None:
    page = answer(CURSOR.first(ASKED), 10, envelope)
    with pytest.raises(ResponseError) as caught:
        CURSOR.follow(page)
    assert str(caught.value) == (
        f"cursor_path 'meta.next' does not lead to a cursor; {shown};"
        " if the API omits it on the last page, set missing_next='end'"
    )
    assert stopped(replace(CURSOR, missing_next="end"), page) == "no next page"
    second = followed(CURSOR, told(CURSOR, "abc"))
    assert stopped(CURSOR, answer(second, 10, envelope)) == "no next page"


def test_so_does_one_of_a_header() -> None:
    page = answer(HEADER.first(ASKED), 10, headers={"x-nxt": "a", "age": "3"})
    with pytest.raises(ResponseError) as caught:
        HEADER.follow(page)
    assert str(caught.value) == (
        "cursor_header 'X-Next' is missing from the response; its headers are 'age', 'x-nxt';"
        " if the API omits it on the last page, set missing_next='end'"
    )
    assert stopped(replace(HEADER, missing_next="end"), page) == "no next page"


class TestSeveralTokens:
    PAIR = HeaderCursor(cursor_header=["X-Part", "X-Row"], cursor_param=["part", "row"])

    def test_they_travel_side_by_side(self) -> None:
        second = followed(self.PAIR, headed(self.PAIR, "a", "b"))
        assert own(second) == {"part": "a", "row": "b"}
        strategy = Cursor(cursor_path=("meta.a", "meta.b"), cursor_param=("x.a", "x.b"), inject_into="body")
        page = answer(strategy.first(ASKED), 1, {"meta": {"a": 1, "b": [2]}})
        assert followed(strategy, page).body == {"x": {"a": 1, "b": [2]}}

    @pytest.mark.parametrize("gone", [None, ""])
    def test_one_that_disappears_is_not_sent_any_more(self, gone: str | None) -> None:
        second = followed(self.PAIR, headed(self.PAIR, "a", "b"))
        third = followed(self.PAIR, headed(self.PAIR, "c", gone, request=second))
        assert (third.query["part"], third.query.get("row")) == ("c", None)
        fourth = followed(self.PAIR, headed(self.PAIR, "d", "e", request=third))
        assert own(fourth) == {"part": "d", "row": "e"}

    def test_it_leaves_the_body_and_the_headers_too(self) -> None:
        for place in ("body", "header"):
            strategy = replace(self.PAIR, inject_into=place)  # type: ignore[arg-type]  # a Literal
            second = followed(strategy, headed(strategy, "a", "b"))
            third = followed(strategy, headed(strategy, "c", None, request=second))
            assert (third.body or third.headers) == {"part": "c"} | ({} if third.body else {"x": "y"})

    def test_it_ends_where_all_are_gone(self) -> None:
        second = followed(self.PAIR, headed(self.PAIR, "a", "b"))
        for tokens in ((None, None), ("", ""), (None, "")):
            assert stopped(self.PAIR, headed(self.PAIR, *tokens, request=second)) == "no next page"
        assert stopped(self.PAIR, headed(self.PAIR, "", "")) == "no next page"
        assert stopped(self.PAIR, headed(self.PAIR, None, "")) == "no next page"

    def test_the_error_names_them_all(self) -> None:
        with pytest.raises(ResponseError, match="cursor_header 'X-Part' and 'X-Row' is missing from the response"):
            self.PAIR.follow(headed(self.PAIR, None, None))
        strategy = Cursor(cursor_path=["a", "b.c"], cursor_param=["x", "y"])
        with pytest.raises(ResponseError, match=r"cursor_path 'a' and 'b\.c' does not lead to a cursor"):
            strategy.follow(answer(strategy.first(ASKED), 1, {}))


class TestFirstCursor:
    @pytest.mark.parametrize("given", ["", "*", 0, False, {"id": 0}])
    def test_it_is_in_the_first_request(self, given: Json) -> None:
        strategy = replace(CURSOR, first_cursor=given)
        sent = json.dumps(given, separators=(",", ":")) if isinstance(given, dict) else given
        assert own(strategy.first(ASKED)) == {"cursor": sent}
        assert own(followed(strategy, told(strategy, "abc"))) == {"cursor": "abc"}

    def test_without_it_the_parameter_is_left_out(self) -> None:
        assert own(CURSOR.first(ASKED)) == {}

    def test_it_takes_the_place_of_what_the_query_says(self) -> None:
        assert replace(CURSOR, first_cursor="*").first(PageRequest("/", query={"cursor": "x"})).query == {"cursor": "*"}

    def test_it_may_be_in_the_body(self) -> None:
        strategy = replace(CURSOR, first_cursor="", inject_into="body", cursor_param="page.after")
        assert strategy.first(ASKED).body == {"page": {"after": ""}}

    def test_several_tokens_begin_alike_or_each_by_itself(self) -> None:
        pair = TestSeveralTokens.PAIR
        assert own(replace(pair, first_cursor="").first(ASKED)) == {"part": "", "row": ""}
        assert own(replace(pair, first_cursor=["a", 0]).first(ASKED)) == {"part": "a", "row": 0}
        assert own(replace(CURSOR, first_cursor=["a", 0]).first(ASKED)) == {"cursor": '["a",0]'}
        assert own(replace(CURSOR, first_cursor=["a"]).first(ASKED)) == {"cursor": '["a"]'}


def test_the_same_cursor_again_is_requested_again() -> None:
    second = followed(CURSOR, told(CURSOR, "abc"))
    assert own(followed(CURSOR, told(CURSOR, "abc", second))) == {"cursor": "abc"}


BOTH = pytest.mark.parametrize("strategy", [CURSOR, HEADER])


def page_of(
    strategy: Cursor | HeaderCursor, token: str | None, request: PageRequest | None = None, count: int = 10, **told: Any
) -> Page:
    """Return a page with a token in either place."""
    request = strategy.first(ASKED) if request is None else request
    meta, headers = ({}, {}) if token is None else ({"next": token}, {"x-next": token})
    return answer(request, count, {"meta": meta, **told}, headers)


@BOTH
def test_a_page_size_is_sent_with_each_request(strategy: Cursor | HeaderCursor) -> None:
    sized = replace(strategy, page_size=50, page_size_param="per")
    assert own(sized.first(ASKED)) == {"per": 50}
    assert own(followed(sized, page_of(sized, "abc"))) == {"per": 50, "cursor": "abc"}


@BOTH
def test_a_flag_has_the_last_word(strategy: Cursor | HeaderCursor) -> None:
    flagged = replace(strategy, has_more_path="more")
    assert stopped(flagged, page_of(flagged, "abc", more=False)) == "no more pages"
    assert own(followed(flagged, page_of(flagged, "abc", more=True))) == {"cursor": "abc"}
    for index in (0, 3):
        request = replace(flagged.first(ASKED), index=index)
        with pytest.raises(ResponseError, match="the API reports more pages, but cursor_"):
            flagged.follow(page_of(flagged, None, request, more=True))
        with pytest.raises(ResponseError, match="the API reports more pages, but cursor_"):
            flagged.follow(page_of(flagged, "", request, more=True))


@BOTH
def test_an_empty_page_ends_only_where_it_may(strategy: Cursor | HeaderCursor) -> None:
    assert own(followed(strategy, page_of(strategy, "abc", count=0))) == {"cursor": "abc"}
    stopping = replace(strategy, stop_after_empty_page=True)
    assert stopped(stopping, page_of(stopping, "abc", count=0)) == "empty page"
    flagged = replace(stopping, has_more_path="more")
    assert own(followed(flagged, page_of(flagged, "abc", count=0, more=True))) == {"cursor": "abc"}


@BOTH
def test_an_ignored_page_leads_nowhere(strategy: Cursor | HeaderCursor) -> None:
    with pytest.raises(ResponseError, match="page 1 is ignored, but only its response leads to the next page"):
        strategy.follow(replace(page_of(strategy, "abc"), ignored=True))


@BOTH
def test_a_total_has_to_be_there(strategy: Cursor | HeaderCursor) -> None:
    counted = replace(strategy, total_path="n")
    with pytest.raises(ResponseError, match="total_path 'n' matches nothing; the body is an object with the keys"):
        counted.follow(page_of(counted, "abc"))
    page = page_of(counted, "abc", n=25)
    assert counted.total(page) == Total(25, "items")
    assert followed(counted, page_of(counted, "def", followed(counted, page))).index == 2


@BOTH
def test_nothing_is_known_before_its_turn(strategy: Cursor | HeaderCursor) -> None:
    assert not isinstance(strategy, SupportsPrefetch)


scalars = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False)

tokens: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)


@given(token=tokens, place=st.sampled_from(["query", "header", "body"]))
def test_whatever_a_token_is_it_survives_being_stored(token: Json, place: Any) -> None:
    strategy = Cursor(cursor_path="meta.next", inject_into=place)
    page = told(strategy, token)
    if token in (None, "", 0, [], {}):
        assert stopped(strategy, page) == "no next page"
    else:
        assert followed(strategy, page).index == 1
