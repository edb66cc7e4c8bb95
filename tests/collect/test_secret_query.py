"""Credentials in a query travel with every request, and are in nothing that is stored or shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_paginated import Cursor, JsonLink, Keyset, PageNumber, PageRequest, Sliced, Stop
from airflow_paginated.collect.collection import Collection, split_credentials
from airflow_paginated.core.values import Page
from airflow_paginated.pagination.protocols import Pagination

SECRET = "c4n4ry-t0ken"

BY_PAGE = PageNumber(total_path="n")


def collected(query: Mapping[str, Any], pagination: Pagination = BY_PAGE, **options: Any) -> Collection:
    request = PageRequest("/rows", query=query)
    return split_credentials(Collection(request=request, pagination=pagination, **options), [SECRET, "short"])


@pytest.mark.parametrize(
    "name",
    [
        *("key", "api_key", "apikey", "api-key", "X-API-Key", "user_key", "access_key", "subscription-key", "sig"),
        *("token", "access_token", "auth_token", "apiToken", "password", "pwd", "client_secret", "signature"),
    ],
)
def test_what_is_named_like_a_credential_is_withheld(name: str) -> None:
    found = collected({"active": True, name: "x", "page_size": 5})
    assert found.secret_query == {name: "x"}
    assert found.request.query == {"active": True, "page_size": 5}
    assert found.plan("http://api", "c")["query"] == {"active": True, "page_size": 5, name: "***"}


@pytest.mark.parametrize(
    "name", ["page_token", "next_token", "monkey", "keys", "keyword", "sort_key", "tokens", "design"]
)
def test_what_is_not_stays(name: str) -> None:
    assert collected({name: "x"}).request.query == {name: "x"}
    assert collected({name: "x"}).secret_query == {}


@pytest.mark.parametrize("value", [SECRET, f"Bearer {SECRET}", [SECRET], "short"])
def test_what_holds_a_secret_of_the_connection_is_withheld(value: Any) -> None:
    assert collected({"q": value}).secret_query == {"q": value}


@pytest.mark.parametrize("value", ["shorter", 7, None, True, "c4n4ry"])
def test_a_part_of_one_or_a_short_one_within_a_text_is_not(value: Any) -> None:
    assert collected({"q": value}).secret_query == {}


@pytest.mark.parametrize(
    "pagination",
    [
        PageNumber(page_param="token", total_path="n"),
        Cursor(cursor_path="next", cursor_param="token"),
        Keyset(key_path="id", key_param=["token"]),
        Sliced(
            pagination=PageNumber(page_param="token", total_path="n"),
            from_param="a",
            to_param="b",
            start=0,
            end=9,
            max_rows=5,
        ),
    ],
    ids=lambda pagination: type(pagination).__name__,
)
def test_parameters_of_the_strategy_stay(pagination: Pagination) -> None:
    assert collected({"token": "1"}, pagination).request.query == {"token": "1"}


def test_parameters_of_the_partitions_stay() -> None:
    assert collected({"key": "1"}, partitions=[{"key": "2"}, {"key": "3"}]).request.query == {"key": "1"}


def test_a_strategy_of_somebody_elses_may_set_any_name() -> None:
    @dataclass(frozen=True)
    class Own:
        def first(self, request: PageRequest) -> PageRequest:
            return request

        def follow(self, page: Page) -> Stop:
            return Stop("once")

    found = collected({"token": "1", "q": SECRET}, Own())
    assert (found.request.query, found.secret_query) == ({"token": "1"}, {"q": SECRET})


def test_another_credential_is_another_collection_and_no_plan_says_which() -> None:
    first, second = collected({"token": "1"}), collected({"token": "2"})
    assert first.plan("u", "c") == second.plan("u", "c")
    assert first.credentials_fingerprint != second.credentials_fingerprint != ""
    assert collected({"q": 1}).credentials_fingerprint == ""
    assert SECRET not in repr(collected({"token": SECRET})) + json.dumps(collected({"token": SECRET}).plan("u", "c"))


def test_the_partitions_are_asked_without_it() -> None:
    found = collected({"token": "1", "q": 2}, JsonLink(), partitions=[{"a": 1}, {"a": 2}])
    assert [request.query for request in found.requests()] == [{"q": 2, "a": 1}, {"q": 2, "a": 2}]
