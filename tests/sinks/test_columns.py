"""Columns that are added to rows: where they come from, spliced into texts that stay as they are."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.sinks import AddColumns, XComSink
from airflow_paginated.sinks.rows import Columns, RowFunctions, RowOrigin, columns_from
from tests.sinks.conftest import Lake
from tests.sinks.pages import Api, collect, report_of, run_of, store_pages
from tests.sinks.reading import published

API = Api(pages=3, partitions=2, rows=2)
SETS: list[Mapping[str, Any]] = [{"order": 7, "odd.name": "ü"}, {"order": "b"}]
AT = 1_700_000_000.5


def sets() -> Iterator[Mapping[str, Any]]:
    return iter(SETS)


def added(
    row: bytes, /, *, partition: int = 0, if_exists: Any = "fail", parameters: Any = None, **columns: str
) -> bytes:
    adder = Columns(AddColumns(columns, if_exists), sets if parameters is None else lambda: iter([parameters]))
    (found,) = adder.added([row], RowOrigin((partition, 3), 4, AT))
    return found


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (b'{"a":1.10}', b'{"a":1.10,"order":7,"_page":5}'),
        (
            b'{ "a" : 12345678901234567890123 , "b":[1E+2] }',
            b'{ "a" : 12345678901234567890123 , "b":[1E+2],"order":7,"_page":5}',
        ),
        (b"{}", b'{"order":7,"_page":5}'),
        (b"{ }", b'{"order":7,"_page":5}'),
        (b'{"a":{"order":1}}', b'{"a":{"order":1},"order":7,"_page":5}'),
        (b'{"a":"\\"order\\":1}"}', b'{"a":"\\"order\\":1}","order":7,"_page":5}'),
    ],
)
def test_columns_are_spliced_into_the_text(row: bytes, found: bytes) -> None:
    assert added(row, order="partition.order", _page="page") == found


def test_the_time_is_that_of_the_page_in_utc() -> None:
    assert added(b"{}", at="fetched_at") == b'{"at":"2023-11-14T22:13:20.500+00:00"}'


def test_a_parameter_that_a_set_lacks_is_null() -> None:
    columns = {"o": 'partition["odd.name"]'}
    assert added(b"{}", **columns) == '{"o":"ü"}'.encode()
    assert added(b"{}", partition=1, **columns) == b'{"o":null}'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10**30, b"1" + b"0" * 30),
        ("\ud800", b'"\\ud800"'),
        ([1, {"a": None}], b'[1,{"a":null}]'),
        (True, b"true"),
        (1.5, b"1.5"),
    ],
)
def test_any_value_can_be_a_column(value: Any, text: bytes) -> None:
    assert added(b"{}", parameters={"v": value}, v="partition.v") == b'{"v":' + text + b"}"


@pytest.mark.parametrize("row", [b'{"order":1,"x":1.10}', b'{"x":1.10,"\\u006frder" : 1}'])
def test_a_column_that_a_row_has_is_refused_or_replaced_or_kept(row: bytes) -> None:
    columns = {"order": "partition.order", "_page": "page"}
    with pytest.raises(
        ConfigurationError, match=r"row 1 of page 5 of partition 0.3 already has 'order'; rename the col"
    ):
        added(row, **columns)
    replaced = added(row, if_exists="replace", **columns)
    assert json.loads(replaced) == {"order": 7, "x": 1.1, "_page": 5}
    assert b'"x":1.10' in replaced
    kept = added(row, if_exists="keep", **columns)
    assert json.loads(kept) == {"order": 1, "x": 1.1, "_page": 5}
    assert kept.startswith(row[:-1])
    assert list(json.loads(replaced)) == list(json.loads(kept))


@pytest.mark.parametrize("row", [b"[1]", b"5", b'"text"', b"null"])
def test_a_row_that_is_no_object_is_refused(row: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"add_columns: row 1 of page 5 of partition 0.3 is not an object"):
        added(row, _page="page")


VALUES: Any = st.integers() | st.text() | st.none() | st.lists(st.booleans())
NAMES: Any = st.text(st.characters(exclude_characters='"\\', exclude_categories=["Cc", "Cs"]), min_size=1)


@given(st.dictionaries(st.text(), VALUES), NAMES)
def test_a_row_has_what_it_had_and_the_column(row: dict[str, Any], name: str) -> None:
    text = json.dumps(row).encode()
    found = json.loads(added(text, if_exists="replace", **{name: "page"}))
    assert found == {**row, name: 5}


@given(st.lists(st.integers(0, 9), max_size=30))
def test_partitions_may_come_in_any_order(numbers: list[int]) -> None:
    adder = Columns(AddColumns({"n": "partition.n"}), lambda: ({"n": number} for number in range(10)))
    rows = [next(adder.added([b"{}"], RowOrigin((number,), 0, AT))) for number in numbers]
    assert rows == [b'{"n":%d}' % number for number in numbers]


def test_partitions_in_order_are_gone_through_once() -> None:
    begun = 0

    def counted() -> Iterator[Mapping[str, Any]]:
        nonlocal begun
        begun += 1
        return ({"n": number} for number in range(1000))

    adder = Columns(AddColumns({"n": "partition.n"}), counted)
    for number in range(0, 1000, 3):
        assert list(adder.added([b"{}"] * 2, RowOrigin((number,), 0, AT))) == [b'{"n":%d}' % number] * 2
    assert begun == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "expected a dict of columns"),
        ("page", "expected a dict of columns"),
        ({"": "page"}, "the name of a column: expected a non-empty string"),
        ({'a"b': "page"}, "contains a quote, a backslash or a control character"),
        ({"p": "pages"}, "'p' must be page, fetched_at or partition.NAME, got 'pages'"),
        ({"p": "partition"}, "'p' must be page, fetched_at or partition.NAME"),
        ({"p": "partition.a.b"}, "'p' must be page, fetched_at or partition.NAME"),
        ({"p": "partition[*]"}, "'p' must be page, fetched_at or partition.NAME"),
        ({"p": 5}, "add_columns: 'p'"),
        ({"columns": {"p": "page"}, "if_exists": "skip"}, "if_exists: 'skip' is not one of fail, replace, keep"),
        ({"columns": {"p": "page"}, "exists": "keep"}, "unknown key 'exists'"),
    ],
)
def test_wrong_columns_are_refused(given: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        columns_from(given)


def test_columns_are_a_dict_or_a_value() -> None:
    assert columns_from(None) is None
    assert columns_from({"p": "page"}) == AddColumns({"p": "page"}) == columns_from(AddColumns({"p": "page"}))
    assert columns_from({"columns": {"p": "page"}, "if_exists": "keep"}) == AddColumns({"p": "page"}, "keep")
    assert columns_from({"columns": "page"}) == AddColumns({"columns": "page"})


def test_a_column_of_no_parameter_is_refused() -> None:
    AddColumns({"a": "partition.store", "p": "page"}).check(["store", "year"])
    AddColumns({"p": "page"}).check([])
    with pytest.raises(
        ConfigurationError, match=r"the partitions have no parameter for 'partition.store'; available: none"
    ):
        AddColumns({"a": "partition.store"}).check([])


def run_with(columns: dict[str, str], keep: Any = None, change: Any = None, **known: Any) -> Any:
    return run_of(rows=RowFunctions(keep, change, add=Columns(AddColumns(columns), sets)), **known)


def test_published_rows_have_their_columns(near: Lake) -> None:
    result = collect(near.open(run=run_with({"order": "partition.order", "_page": "page"})), API)
    before = [json.loads(line) for line in API.lines().splitlines()]
    after = [json.loads(line) for line in published(near).splitlines()]
    assert after == [{**row, "order": SETS[row["partition"][0]]["order"], "_page": row["page"] + 1} for row in before]
    assert b'"price": 1.1,"order":7,"_page":1}\n' in published(near)
    checks = {check["name"]: check for check in json.loads(near.files()["_manifest.json"])["checks"]}
    assert checks["row_functions"]["evidence"] == "12 of 12 rows are published; add_columns saw each of them once"
    assert result["rows"] == 12


def test_row_functions_see_the_columns(near: Lake) -> None:
    run = run_with({"order": "partition.order"}, lambda row: row["order"] == 7, lambda row: row["order"])
    collect(near.open(run=run), API)
    assert published(near) == b"7\n" * 6


def test_a_later_try_publishes_the_times_of_the_pages(near: Lake) -> None:
    begun = time.time()
    dataset = near.open("out/", run_with({"at": "fetched_at"}))
    store_pages(dataset, API.landings())
    dataset.close()
    ended = time.time()
    again = near.open("out/", run_with({"at": "fetched_at"}))
    again.publish(report_of(again))
    times = [datetime.fromisoformat(json.loads(line)["at"]).timestamp() for line in published(near).splitlines()]
    assert begun - 0.001 <= min(times) <= max(times) <= ended


def test_a_column_that_is_taken_shows_nothing_and_costs_nothing(near: Lake) -> None:
    with pytest.raises(ConfigurationError, match=r"already has 'price'; .* the collected pages are kept"):
        collect(near.open(run=run_with({"price": "page"})), API)
    dataset = near.open(run=run_with({"_page": "page"}))
    assert dataset.publish(report_of(dataset))["rows"] == 12


def test_xcom_rows_have_them_too() -> None:
    rows = collect(XComSink().open(run_with({"order": "partition.order", "at": "fetched_at", "p": "page"})), API)
    assert [(row["order"], row["p"]) for row in rows] == [(7, 1), (7, 1), (7, 2), (7, 2), (7, 3), (7, 3)] + [
        ("b", number) for number in (1, 1, 2, 2, 3, 3)
    ]
    assert all(datetime.fromisoformat(row["at"]) for row in rows)
