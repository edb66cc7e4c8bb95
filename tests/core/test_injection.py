"""Injecting parameters into a request, and replacing earlier ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated import PageRequest
from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.injection import PLACES, InjectInto, check_parameter, inject, injected_value

REQUEST = PageRequest("/rows", query={"a": 1, "b": 2}, headers={"X-A": "1"}, body={"a": {"b": 1, "c": 2}, "d": 3})


def test_the_request_stays_as_it_is() -> None:
    for place in PLACES:
        assert inject(REQUEST, place, {}) == REQUEST
        assert inject(REQUEST, place, {"a": 9}) != REQUEST
    assert REQUEST.query == {"a": 1, "b": 2}
    assert REQUEST.headers == {"X-A": "1"}
    assert REQUEST.body == {"a": {"b": 1, "c": 2}, "d": 3}


def test_in_the_query_a_parameter_keeps_its_place_and_a_new_one_comes_last() -> None:
    found = inject(REQUEST, "query", {"c": 3, "a": "x"})
    assert list(found.query.items()) == [("a", "x"), ("b", 2), ("c", 3)]


@pytest.mark.parametrize(
    ("value", "query", "header"),
    [
        ("a+b/c=", "a+b/c=", "a+b/c="),
        ("", "", ""),
        (7, 7, "7"),
        (10**30, 10**30, "1" + "0" * 30),
        (1.5, 1.5, "1.5"),
        (True, True, "true"),
        (False, False, "false"),
        ({"k": ["ü", 1.5, None]}, '{"k":["ü",1.5,null]}', '{"k":["ü",1.5,null]}'),
        ([1, "a"], '[1,"a"]', '[1,"a"]'),
    ],
)
def test_a_value_is_sent_as_it_is_and_as_json_where_there_is_no_other_way(value: Any, query: Any, header: str) -> None:
    assert inject(REQUEST, "query", {"p": value}).query["p"] == query
    assert inject(REQUEST, "header", {"p": value}).headers["p"] == header
    assert inject(REQUEST, "body", {"p": value}).body["p"] == value


@pytest.mark.parametrize("place", PLACES)
def test_none_takes_a_parameter_away(place: InjectInto) -> None:
    there = inject(REQUEST, place, {"p": "x", "q": "y"})
    assert injected_value(there, place, "p") == "x"
    gone = inject(there, place, {"p": None, "q": "z"})
    assert injected_value(gone, place, "p") is None
    assert injected_value(gone, place, "q") == "z"
    assert "p" not in gone.headers
    assert "p" not in gone.body
    assert gone.query.get("p") is None


@pytest.mark.parametrize("given", ["X-Cursor", "x-cursor", "X-CURSOR"])
def test_a_header_takes_the_place_of_one_that_is_written_otherwise(given: str) -> None:
    """Of two headers an API may read either; that of the first request would lead back to page 1."""
    found = inject(PageRequest("/rows", headers={given: "old", "accept": "x"}), "header", {"X-Cursor": "new"})
    assert found.headers == {"accept": "x", "X-Cursor": "new"}


@pytest.mark.parametrize(
    ("body", "name", "expected"),
    [
        (None, "after", {"after": 9}),
        ({}, "after", {"after": 9}),
        (None, "variables.page.after", {"variables": {"page": {"after": 9}}}),
        ({"query": "q", "variables": {"n": 5}}, "variables.after", {"query": "q", "variables": {"n": 5, "after": 9}}),
        ({"variables": {"after": 1, "n": 5}}, "variables.after", {"variables": {"after": 9, "n": 5}}),
        ({"variables": None}, "variables.after", {"variables": {"after": 9}}),
        ({"a": 1}, '["odd.name"]', {"a": 1, "odd.name": 9}),
        ({"after": [1, 2]}, "after", {"after": 9}),
    ],
)
def test_in_the_body_a_name_is_a_path(body: Any, name: str, expected: Any) -> None:
    found = inject(PageRequest("/rows", body=body), "body", {name: 9})
    assert found.body == expected
    assert injected_value(found, "body", name) == 9


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (None, {}),
        ({}, {}),
        ({"a": 1}, {"a": 1}),
        ({"v": None}, {"v": None}),
        ({"v": {"after": 1}}, {"v": {}}),
        ({"v": {"after": 1, "n": 5}}, {"v": {"n": 5}}),
    ],
)
def test_what_is_taken_out_of_the_body_leaves_the_rest(body: Any, expected: Any) -> None:
    assert (inject(PageRequest("/rows", body=body), "body", {"v.after": None}).body or {}) == expected


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        ("text", "a string"),
        ([1, 2], "a list of length 2"),
        ({"v": "secret"}, "a string"),
        ({"v": [1]}, "a list of length 1"),
        ({"v": {"p": 5}}, "a number"),
        ({"v": {"p": False}}, "a boolean"),
    ],
)
def test_a_body_that_has_something_else_there_is_refused(body: Any, seen: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        inject(PageRequest("/rows", body=body), "body", {"v.p.after": 9})
    assert str(caught.value) == f"pagination: cannot set 'v.p.after' in the body: the path leads through {seen}"


def test_what_is_not_there_is_none() -> None:
    for place in PLACES:
        assert injected_value(REQUEST, place, "nothing") is None
    assert injected_value(REQUEST, "body", "a.b.c") is None
    assert injected_value(PageRequest("/rows", body=[1]), "body", "a") is None
    assert injected_value(REQUEST, "body", "a.c") == 2


@pytest.mark.parametrize("name", ["a[*]", "[*]", "a[*].b"])
def test_a_parameter_in_the_body_has_one_place(name: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"here: a body parameter needs a single location, but \[\*\] matches many"
    ):
        check_parameter(name, "body", "here")
    check_parameter(name, "query", "here")
    check_parameter(name, "header", "here")


words = st.text("ab", min_size=1, max_size=2)

bodies: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers(), lambda inner: st.dictionaries(words, inner, max_size=3), max_leaves=6
)


@given(body=st.none() | st.dictionaries(words, bodies), path=st.lists(words, min_size=1, max_size=3), value=bodies)
def test_what_is_put_into_a_body_is_found_there_and_all_else_stays(body: Any, path: list[str], value: Any) -> None:
    name = ".".join(path)
    request = PageRequest("/rows", body=body)
    try:
        found = inject(request, "body", {name: 7})
    except ConfigurationError:
        return
    assert injected_value(found, "body", name) == 7
    assert injected_value(inject(found, "body", {name: None}), "body", name) is None
    assert {key: each for key, each in found.body.items() if key != path[0]} == {
        key: each for key, each in (body or {}).items() if key != path[0]
    }
