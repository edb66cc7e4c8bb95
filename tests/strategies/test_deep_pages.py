"""APIs that refuse deep pages, or cap their totals: the data is collected in ranges."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from airflow_paginated import Cursor, Offset, PageNumber, Sliced
from airflow_paginated.core.errors import IncompleteError, LimitExceeded, RequestRefused
from tests.servers import mixed
from tests.servers.schedules import SEVEN
from tests.servers.styles import (
    ByNumber,
    ByOffset,
    ByToken,
    Carrier,
    Envelope,
    InRange,
    StyledApi,
    Total,
    employees,
    telling,
)
from tests.servers.styles.core import Asked
from tests.strategies.collecting import Collect

ROWS = employees(730)
DATA: dict[str, Any] = {"data_selector": "data"}
BY_ROW = Offset(total_path="meta.total", page_size=20)
ENDS: dict[str, Any] = {"from_param": "id_from", "to_param": "id_to", "start": 0, "end": 1000, "max_rows": 100}


def deep(carrier: Carrier) -> Asked:
    return ByOffset(carrier=carrier, size_param="limit", asks=20, deepest=100)


def api(inner: Callable[[Carrier], Asked] = deep, count: Any = telling.items, **ranges: Any) -> StyledApi:
    return StyledApi(rows=ROWS, asked=InRange(inner=inner, **ranges), tells=(Total(count=count),), shape=Envelope())


def test_an_offset_that_is_too_deep_is_refused_with_the_words_of_the_api(collect: Collect) -> None:
    plain = StyledApi(rows=ROWS, asked=deep(Carrier()), tells=(Total(),), shape=Envelope())
    error = collect.error(plain, BY_ROW, **DATA)
    assert isinstance(error, RequestRefused)
    assert "offset + limit must not exceed 100" in str(error)


@pytest.mark.parametrize("workers", [1, 16])
@pytest.mark.parametrize("rate", [0.0, 0.1])
@pytest.mark.parametrize("count", [telling.items, telling.capped])
def test_ranges_are_split_until_each_is_small_enough(collect: Collect, count: Any, rate: float, workers: int) -> None:
    whole = api(count=count)
    faults = mixed(SEVEN, rate or 1e-9, seed=3)
    found = collect(whole, Sliced(pagination=BY_ROW, **ENDS), faults=faults, max_workers=workers, **DATA)
    assert found.lines == whole.reference()
    assert max(int(each.request.query["offset"]) for each in found.seen) < 100


def test_ranges_that_include_their_end(collect: Collect) -> None:
    whole = api(inclusive=True)
    found = collect(whole, Sliced(pagination=BY_ROW, to_inclusive=True, **ENDS), **DATA)
    assert found.lines == whole.reference()
    assert "id_to=999&" in found.targets[0]


def test_an_end_that_is_taken_for_excluded_and_is_not_is_noticed(collect: Collect) -> None:
    error = collect.error(api(inclusive=True), Sliced(pagination=BY_ROW, **ENDS), **DATA)
    assert isinstance(error, IncompleteError)
    assert "is the end of a range inclusive (to_inclusive)" in str(error)


@pytest.mark.parametrize(
    ("inner", "strategy"),
    [
        (lambda carrier: ByNumber(carrier=carrier), PageNumber(total_path="meta.total")),
        (lambda carrier: ByToken(carrier=carrier), Cursor(cursor_path="next_cursor", total_path="meta.total")),
    ],
)
def test_any_strategy_with_a_total_goes_on_within_a_range(
    collect: Collect, inner: Callable[[Carrier], Asked], strategy: Any
) -> None:
    whole = api(inner)
    assert collect(whole, Sliced(pagination=strategy, **ENDS), **DATA).lines == whole.reference()


def test_ranges_in_the_order_of_the_data_and_the_query_stays(collect: Collect) -> None:
    carrier = Carrier(query={"q": "a b"})
    whole = replace(api(), asked=InRange(inner=deep, carrier=carrier))
    found = collect(whole, Sliced(pagination=BY_ROW, **ENDS), query={"q": "a b"}, max_workers=16, **DATA)
    assert found.lines == whole.reference()


def test_more_rows_with_one_value_than_can_be_paged_through_are_told(collect: Collect) -> None:
    alike = tuple(b'{"id":%d,"n":%d}' % (number // 150, number) for number in range(300))
    crowded = replace(api(), rows=alike)
    error = collect.error(crowded, Sliced(pagination=BY_ROW, **ENDS), **DATA)
    assert isinstance(error, LimitExceeded)
    assert "has 150 rows, at least max_rows=100, and cannot be split" in str(error)


def test_ranges_as_a_dict(collect: Collect) -> None:
    strategy = {"type": "sliced", "pagination": {"type": "offset", "total_path": "meta.total", "page_size": 20}, **ENDS}
    assert collect(api(), json.loads(json.dumps(strategy)), **DATA).lines == api().reference()
