"""Requests, pages and records as values."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields, replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated import Page, PageRequest, Stop, Total
from airflow_paginated.core.values import OrderedPage, PageRecord

REQUEST = PageRequest("/rows", query={"page": 1})

scalars = st.none() | st.booleans() | st.integers() | st.text()

json_values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=5), scalars, max_size=3)


@given(rows=st.lists(json_values, max_size=8))
def test_a_page_gives_back_the_rows_it_was_made_of(rows: list[Any]) -> None:
    texts = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    page = Page.of(REQUEST, iter(texts))
    assert page.rows == texts
    assert page.count == len(texts)
    assert page.lines == b"".join(text + b"\n" for text in texts)
    assert page.sha256 == sha256(page.lines).hexdigest()


def test_a_page_knows_what_it_is_told() -> None:
    page = Page.of(REQUEST, [b"1"], envelope={"n": 1}, headers={"x": "y"}, attempts=3, bytes=9, seconds=0.5)
    assert (page.request, page.envelope, page.headers) == (REQUEST, {"n": 1}, {"x": "y"})
    assert (page.attempts, page.bytes, page.seconds) == (3, 9, 0.5)
    assert Page.of(REQUEST, []) == Page(REQUEST, b"", 0, sha256(b"").hexdigest())


@pytest.mark.parametrize("value", [REQUEST, Page.of(REQUEST, []), Stop("end"), Total(3, "items")])
def test_values_are_frozen(value: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, fields(value)[0].name, "other")


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"partition": (5,), "index": 3, "state": {"step": 1}, "sure": False}, True),
        ({"path": "/other"}, False),
        ({"method": "POST"}, False),
        ({"query": {"page": 2}}, False),
        ({"query": {}}, False),
        ({"headers": {"x": "y"}}, False),
        ({"body": {"page": 1}}, False),
    ],
)
def test_two_requests_are_one_exchange_when_the_same_is_sent(change: dict[str, Any], same: bool) -> None:
    other = replace(REQUEST, **change)
    assert REQUEST.same_exchange(other) is same
    assert other.same_exchange(REQUEST) is same


def test_a_record_keeps_of_a_landing_all_but_the_rows() -> None:
    page = Page.of(REQUEST, [b"1", b"22"], attempts=2, bytes=100, seconds=0.5)
    record = PageRecord.of(OrderedPage(page, Stop("end")), Total(2, "items"))
    assert record == PageRecord(
        REQUEST, Stop("end"), rows=2, bytes=5, sha256=page.sha256, attempts=2, seconds=0.5, total=Total(2, "items")
    )
