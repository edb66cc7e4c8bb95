"""One request for each parameter set, each another one, and the plan that names a collection."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated import Offset, PageNumber, PageRequest
from airflow_paginated.collect.collection import Collection
from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.pagination.single_page import Sample

PAGES = PageNumber(total_path="n")

REQUEST = PageRequest("/rows", query={"active": True}, headers={"x": "y"})


def collected(request: PageRequest = REQUEST, **options: Any) -> list[PageRequest]:
    collection = Collection(request=request, pagination=PAGES, **options)
    found = list(collection.requests())
    assert collection.count() == len(found)
    return found


def test_without_partitions_there_is_one_request() -> None:
    assert collected() == [REQUEST]


def test_an_empty_list_of_partitions_asks_nothing() -> None:
    assert collected(partitions=[]) == []


def test_parameters_go_into_the_query_and_replace_what_is_there() -> None:
    first, second = collected(partitions=[{"year": 2024}, {"year": 2025, "active": False}])
    assert first == replace(REQUEST, query={"active": True, "year": 2024}, partition=(0,))
    assert second == replace(REQUEST, query={"active": False, "year": 2025}, partition=(1,))
    assert REQUEST.query == {"active": True}


def test_parameters_go_into_a_body_that_is_an_object() -> None:
    request = PageRequest("/search", "POST", query={"v": 1}, body={"filter": "x", "year": 0})
    (found,) = collected(request, partitions=[{"year": 2024}])
    assert (found.query, found.body) == ({"v": 1}, {"filter": "x", "year": 2024})


@pytest.mark.parametrize("body", [None, [1, 2], "text"])
def test_another_body_is_left_alone(body: Any) -> None:
    (found,) = collected(PageRequest("/search", "POST", body=body), partitions=[{"year": 2024}])
    assert (found.query, found.body) == ({"year": 2024}, body)


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("eu", "eu"),
        (7, "7"),
        (1.5, "1.5"),
        ("a/b", "a%2Fb"),
        ("../secret", "..%2Fsecret"),
        ("a b?c=d&e#f", "a%20b%3Fc%3Dd%26e%23f"),
        ("{id}", "%7Bid%7D"),
        ("ü", "%C3%BC"),
        ("@evil", "%40evil"),
        ("\\", "%5C"),
        ("...", "..."),
        ("\r\nHost: x", "%0D%0AHost%3A%20x"),
    ],
)
def test_a_placeholder_is_filled_with_the_quoted_value(value: Any, quoted: str) -> None:
    request = PageRequest("/shops/{id}/{id}/rows", query={"a": 1})
    (found,) = collected(request, partitions=[{"id": value, "b": 2}])
    assert (found.path, found.query) == (f"/shops/{quoted}/{quoted}/rows", {"a": 1, "b": 2})


def test_a_value_is_not_taken_for_another_placeholder() -> None:
    (found,) = collected(PageRequest("/{a}/{b}"), partitions=[{"a": "{b}", "b": "x"}])
    assert found.path == "/%7Bb%7D/x"


@pytest.mark.parametrize("value", ["", ".", "..", None, True, ["a"], {"a": 1}, b"x"])
def test_a_value_that_would_ask_another_endpoint_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"partitions\[1\]: 'id' fills a placeholder of the endpoint"):
        collected(PageRequest("/shops/{id}/rows"), partitions=[{"id": "x"}, {"id": value}])


@pytest.mark.parametrize(
    "twice",
    [
        [{"a": 1}, {"a": 1}],
        [{"a": 1, "b": 2}, {"b": 2, "a": 1}],
        [{"a": 1}, {"a": "1"}],
        [{}, {"active": True}],
        [{}, {"a": None}],
        [{"page": 1}, {"page": 2}],
    ],
)
def test_two_sets_that_ask_the_same_are_refused(twice: list[dict[str, Any]]) -> None:
    with pytest.raises(
        ConfigurationError, match=r"partitions\[2\] sends the same request as partitions\[1\]; its rows would be"
    ):
        collected(partitions=[{"other": 5}, *twice])


def test_two_sets_that_fill_the_same_endpoint_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"partitions\[1\] sends the same request as partitions\[0\]"):
        collected(PageRequest("/{id}"), partitions=[{"id": 1}, {"id": "1"}])


@pytest.mark.parametrize(
    ("request_", "sets"),
    [
        (REQUEST, [{"a": True}, {"a": "True"}, {"a": 1}, {"a": ""}, {}]),
        (REQUEST, [{"a": [1, 2]}, {"a": [2, 1]}]),
        (PageRequest("/", "POST", body={}), [{"a": 1}, {"a": "1"}, {"a": None}, {}]),
        (PageRequest("/{id}"), [{"id": "a/b"}, {"id": "a", "x": "b"}]),
    ],
)
def test_sets_that_ask_otherwise_are_not(request_: PageRequest, sets: list[dict[str, Any]]) -> None:
    assert [found.partition for found in collected(request_, partitions=sets)] == [(n,) for n in range(len(sets))]


@given(values=st.lists(st.integers(0, 9) | st.text(max_size=2), max_size=8))
def test_partitions_are_accepted_when_all_are_different(values: list[int | str]) -> None:
    sets = [{"v": value} for value in values]
    if len({str(value) for value in values}) == len(values):
        assert [found.query["v"] for found in collected(partitions=sets)] == values
    else:
        with pytest.raises(ConfigurationError, match="sends the same request"):
            collected(partitions=sets)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("abc", "partitions: expected a list of dicts, got str"),
        ({"a": 1}, "partitions: expected a list of dicts, got dict"),
        (5, "partitions: expected a list of dicts, got int"),
        (iter([{}]), "partitions: expected a list of dicts, got list_iterator"),
        ([{}, "a"], "partitions[1]: expected a dict, got str"),
        ([None], "partitions[0]: expected a dict, got NoneType"),
        ([{1: 2}], "partitions[0]: parameter name: expected a non-empty string, got 1"),
    ],
)
def test_what_is_no_list_of_parameter_sets_is_refused(given: Any, said: str) -> None:
    collected(partitions=None)
    collected(partitions=({"a": 1},))
    with pytest.raises(ConfigurationError) as caught:
        collected(partitions=given)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"path": None}, "endpoint: expected a string, got None"),
        ({"method": 5}, "method: expected a string, got 5"),
        ({"method": "GET /x"}, "method: expected a name such as GET, got 'GET /x'"),
        ({"method": ""}, "method: expected a name such as GET, got ''"),
        ({"query": "a=1"}, "query: expected a dict, got str"),
        ({"headers": [("a", "b")]}, "headers: expected a dict, got list"),
    ],
)
def test_a_request_of_wrong_parts_names_the_argument(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        collected(replace(REQUEST, **change))
    assert str(caught.value) == said


@pytest.mark.parametrize("selector", ["", "a..b", 5])
def test_a_selector_outside_the_grammar_names_the_argument(selector: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^data_selector: "):
        collected(data_selector=selector)


def test_the_strategy_is_a_sample_where_one_is_asked_for() -> None:
    assert Collection(request=REQUEST, pagination=PAGES).strategy is PAGES
    assert Collection(request=REQUEST, pagination=PAGES, sample_pages=3).strategy == Sample(PAGES, 3)


def plan(**options: Any) -> str:
    given = {"request": REQUEST, "pagination": PAGES, **options}
    return json.dumps(Collection(**given).plan("https://api.example/v1", "hr"), sort_keys=True)


def test_the_plan_is_json_and_says_what_is_collected() -> None:
    said = json.loads(plan(data_selector="data", sample_pages=2, partitions=[{"a": 1}]))
    digest = said.pop("partitions")
    assert len(digest) == 64
    assert said == {
        "base_url": "https://api.example/v1",
        "conn_id": "hr",
        "method": "GET",
        "endpoint": "/rows",
        "query": {"active": True},
        "body": None,
        "pagination": {"type": "page_number", **vars(PAGES)},
        "data_selector": "data",
        "sample_pages": 2,
    }
    assert json.loads(plan())["partitions"] is None


def test_the_plan_says_how_answers_are_read_where_that_is_not_the_usual_way() -> None:
    assert "response" not in json.loads(plan(response={}))
    assert json.loads(plan(response={"response_format": "csv"}))["response"] == {"response_format": "csv"}


def test_the_plan_is_the_same_for_the_same_collection() -> None:
    assert plan() == plan(request=replace(REQUEST, headers={"authorization": "secret"}))
    assert plan(partitions=[{"a": 1, "b": 2}]) == plan(partitions=[{"b": 2, "a": 1}])


@pytest.mark.parametrize(
    "change",
    [
        {"request": replace(REQUEST, path="/other")},
        {"request": replace(REQUEST, method="POST")},
        {"request": replace(REQUEST, query={})},
        {"request": replace(REQUEST, body={"a": 1})},
        {"pagination": PageNumber(total_path="m")},
        {"pagination": Offset(total_path="n")},
        {"data_selector": "data"},
        {"partitions": []},
        {"partitions": [{"a": 1}]},
        {"sample_pages": 1},
        {"response": {"null_rows": "empty"}},
    ],
)
def test_the_plan_is_another_for_another_collection(change: dict[str, Any]) -> None:
    assert plan(**change) != plan()
