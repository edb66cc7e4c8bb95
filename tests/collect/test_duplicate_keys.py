"""Rows whose key is there twice."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated import Completeness, Page, PageRequest, Stop
from airflow_paginated.collect.audit import Audit
from airflow_paginated.collect.duplicates import DuplicateKeyCheck
from airflow_paginated.core.errors import ConfigurationError, IncompleteError, ResponseError
from airflow_paginated.core.values import CollectionReport, OrderedPage, PageRecord


def page(index: int, rows: Iterable[Any], partition: int = 0) -> Page:
    request = PageRequest("/rows", query={"page": index}, partition=(partition,), index=index)
    return Page.of(request, [json.dumps(row).encode() for row in rows])


def ids(*numbers: int) -> list[Any]:
    return [{"name": "x", "id": number, "more": {"id": 1}} for number in numbers]


def admitted(pages: Iterable[Page], key: Any = "id", **policy: Any) -> list[Any]:
    keys = DuplicateKeyCheck(Completeness(key=key, **policy))
    return [json.loads(row) for each in pages for row in keys.admit(each).rows]


def test_rows_with_keys_of_their_own_pass_as_they_are() -> None:
    pages = [page(0, ids(1, 2, 3)), page(1, ids(4, 5)), page(2, [])]
    keys = DuplicateKeyCheck(Completeness(key="id"))
    assert [keys.admit(each) for each in pages] == pages
    assert (keys.rows, keys.duplicates, keys.waived) == (5, 0, None)


@pytest.mark.parametrize("pages", [[page(0, ids(1, 2)), page(1, ids(2, 3))], [page(0, ids(1, 1))]])
def test_a_key_that_is_there_twice_fails(pages: list[Page]) -> None:
    with pytest.raises(IncompleteError) as caught:
        admitted(pages)
    assert f"page {len(pages)} of partition 0 has 1 rows with the same key 'id' as an earlier row" in str(caught.value)
    assert "completeness.on_duplicate='drop'" in str(caught.value)


def test_partitions_share_their_keys() -> None:
    with pytest.raises(IncompleteError, match="page 1 of partition 1 has 1 rows"):
        admitted([page(0, ids(1, 2)), page(0, ids(2), partition=1)])


def test_the_first_of_them_stays() -> None:
    found = admitted([page(0, ids(1, 2)), page(1, ids(2, 3, 2)), page(2, ids(3))], on_duplicate="drop")
    assert [row["id"] for row in found] == [1, 2, 3]


def test_all_of_them_stay_where_that_is_wanted() -> None:
    keys = DuplicateKeyCheck(Completeness(key="id", on_duplicate="keep"))
    for each in (page(0, ids(1, 2)), page(1, ids(2, 3))):
        assert keys.admit(each) is each
    assert keys.duplicates == 1
    assert keys.waived is not None
    assert keys.waived.startswith("page 2 of partition 0 has 1 rows with the same key 'id'")


@pytest.mark.parametrize(
    ("key", "rows"),
    [
        ("more.id", [{"more": {"id": 1}}, {"more": {"id": 2}}]),
        ('["odd.key"]', [{"odd.key": "a"}, {"odd.key": "b"}]),
        (["a", "b"], [{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 1}]),
        (["a.x", "a.y"], [{"a": {"x": 1, "y": 1}}, {"a": {"x": 1, "y": 2}}]),
        (["a", "b"], [{"a": "1", "b": "2"}, {"a": "12", "b": ""}]),
        ("id", [{"id": 1}, {"id": "1"}, {"id": 10**30}, {"id": 10**30 + 1}, {"id": 1.5}, {"id": [1, {"a": None}]}]),
        ("für €", [{"für €": True}, {"für €": False}]),
    ],
)
def test_keys_are_found_wherever_they_are(key: Any, rows: list[Any]) -> None:
    assert admitted([page(0, rows)], key) == rows
    with pytest.raises(IncompleteError):
        admitted([page(0, rows), page(1, rows[-1:])], key)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"id": 1}, {"other": 2}], "key 'id' is not in every row of page 1 of partition 0"),
        ([1, 2], "key 'id' is not in every row"),
        ([{"id": None}], "key 'id' is null in page 1 of partition 0"),
    ],
)
def test_a_row_without_its_key_fails(rows: list[Any], said: str) -> None:
    with pytest.raises(ResponseError, match=said):
        admitted([page(0, rows)])


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"key": "rows[*].id"}, "must lead to a single value of a row"),
        ({"key": ""}, "completeness: key"),
        ({"key": []}, "completeness: key must not be empty"),
        ({"key": 5}, "completeness: key"),
        ({"key": "id", "on_duplicate": "ignore"}, "completeness: on_duplicate"),
        ({"on_duplicate": "drop"}, "on_duplicate requires key"),
    ],
)
def test_wrong_policies_are_refused(policy: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Completeness(**policy)


def account(pages: list[Page], **policy: Any) -> CollectionReport:
    audit = Audit(Completeness(**policy))
    last = len(pages) - 1
    for index, each in enumerate(pages):
        following = Stop("empty page") if index == last else pages[index + 1].request
        audit.add_page(PageRecord.of(OrderedPage(audit.admit(each), following), None))
    return audit.report()


@pytest.mark.parametrize(
    ("policy", "verdict", "evidence"),
    [
        ({}, "unverified", "0 rows, 0 duplicates"),
        ({"key": "id", "on_duplicate": "drop"}, "passed", "4 rows, 1 duplicates"),
        ({"key": "id", "on_duplicate": "keep"}, "waived", "page 2 of partition 0 has 1 rows"),
    ],
)
def test_the_verdict_stands_in_the_account(policy: dict[str, Any], verdict: str, evidence: str) -> None:
    found = account([page(0, ids(1, 2)), page(1, ids(2, 3))], **policy)
    (check,) = [each for each in found.checks if each.name == "unique_key"]
    assert check.verdict == verdict
    assert check.evidence.startswith(evidence)
    assert found.complete == (verdict != "waived")
    assert found.rows == (3 if policy.get("on_duplicate") == "drop" else 4)


def test_what_an_earlier_try_stored_counts() -> None:
    audit = Audit(Completeness(key="id"))
    stored = page(0, ids(1, 2))
    audit.restore(PageRecord.of(OrderedPage(stored, page(1, []).request), None), stored.lines)
    with pytest.raises(IncompleteError, match="page 2 of partition 0 has 1 rows with the same key"):
        audit.admit(page(1, ids(2, 3)))


@given(st.lists(st.lists(st.integers(0, 30), max_size=8), max_size=8))
def test_dropping_leaves_each_key_once_in_the_order_of_its_first_row(pages: list[list[int]]) -> None:
    found = admitted([page(index, ids(*numbers)) for index, numbers in enumerate(pages)], on_duplicate="drop")
    assert [row["id"] for row in found] == list(dict.fromkeys(number for numbers in pages for number in numbers))


def test_a_hundred_times_the_rows_take_the_same_memory() -> None:
    peaks = []
    for pages in (10, 1_000):
        keys = DuplicateKeyCheck(Completeness(key="id"))
        tracemalloc.start()
        for index in range(pages):
            keys.admit(page(index, ids(*range(100 * index, 100 * index + 100))))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        keys.close()
    assert peaks[1] < 2 * peaks[0]
