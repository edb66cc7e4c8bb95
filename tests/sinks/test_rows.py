"""Row functions: what is published of the rows that were collected."""

from __future__ import annotations

import gzip
import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from airflow_paginated.core.errors import Cancelled, ConfigurationError, StoreError
from airflow_paginated.core.policies import Incremental, State
from airflow_paginated.core.values import OrderedPage, Page, PageRequest, Stop
from airflow_paginated.sinks import XComSink
from airflow_paginated.sinks.files import manifest
from airflow_paginated.sinks.incremental import IncrementalFilter
from airflow_paginated.sinks.protocol import Run
from airflow_paginated.sinks.rows import RowFunctions, RowOrigin
from tests.sinks.conftest import Lake
from tests.sinks.pages import Api, collect, report_of, run_of, store_pages
from tests.sinks.reading import published

SCHEMA = Path(manifest.__file__).with_name("manifest.schema.json")
API = Api(pages=5, partitions=3)


def even(row: Any) -> bool:
    return bool(row["row"] % 2 == 0)


def shorter(row: Any) -> Any:
    return {"at": row["row"], "price": row["price"]}


def run_with(keep: Any = None, change: Any = None, run: str = "run-1", **known: Any) -> Run:
    return run_of(run, rows=RowFunctions(keep, change), **known)


def manifest_of(lake: Lake) -> Any:
    return json.loads(lake.files()["_manifest.json"])


@pytest.mark.parametrize("path", ["out/", "out/rows.jsonl"])
def test_rows_are_filtered_as_they_were_sent(near: Lake, path: str) -> None:
    result = collect(near.open(path, run_with(even)), API)
    kept = [line for line in API.lines().splitlines(keepends=True) if even(json.loads(line))]
    if path.endswith("/"):
        assert published(near) == b"".join(kept)
    else:
        assert near.files()["rows.jsonl"] == b"".join(kept)
    assert (result["rows"], result["pages"], result["complete"]) == (75, 15, True)


def test_rows_are_changed_with_every_digit(near: Lake) -> None:
    collect(near.open(run=run_with(change=shorter)), API)
    lines = published(near).splitlines()
    assert lines[:2] == [b'{"at":0,"price":1.1}', b'{"at":1,"price":1.1}']
    assert len(lines) == 150


def test_a_filter_sees_the_row_before_it_is_changed(near: Lake) -> None:
    collect(near.open(run=run_with(even, lambda row: row["row"])), API)
    assert published(near) == b"".join(b"%d\n" % number for _ in range(15) for number in range(0, 10, 2))


def test_the_manifest_tells_of_both(near: Lake) -> None:
    collect(near.open(run=run_with(even)), API)
    found = manifest_of(near)
    checks = {check["name"]: check for check in found["checks"]}
    assert found["rows"] == sum(file["rows"] for file in found["files"]) == 75
    assert checks["row_functions"]["verdict"] == "passed"
    assert checks["row_functions"]["evidence"].startswith("75 of 150 rows are published")
    assert checks["rows_equal_total"]["evidence"].startswith("150 rows")
    accounting = near.files()[f"_pages/{found['digest']}.ndjson.gz"]
    assert sum(json.loads(line)["rows"] for line in gzip.decompress(accounting).splitlines()) == 150


def test_other_functions_make_another_dataset(near: Lake) -> None:
    collect(near.open(run=run_with(even)), API)
    before = manifest_of(near)["digest"]
    collect(near.open(run=run_with(lambda row: not even(row), run="run-2")), API)
    assert manifest_of(near)["digest"] != before
    assert not [name for name in near.files() if before in name]


def test_rows_that_are_all_dropped_make_no_part(near: Lake) -> None:
    result = collect(near.open(run=run_with(lambda row: False)), API)
    assert (result["files"], result["rows"], result["pages"]) == (0, 0, 15)


def broken(row: Any) -> Any:
    return {"price": row["prise"]}


@pytest.mark.parametrize(
    ("functions", "said"),
    [
        ({"keep": broken}, "row_filter raised KeyError for row 1 of page 1 of partition 0"),
        ({"change": broken}, "row_map raised KeyError for row 1 of page 1 of partition 0"),
        (
            {"change": lambda row: {1, object()}},
            "row_map returned a value for row 1 of page 1 of partition 0 that JSON",
        ),
    ],
)
def test_a_function_that_fails_shows_nothing_and_costs_nothing(near: Lake, functions: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        collect(near.open(run=run_with(**functions)), API)
    assert not [name for name in near.files() if not name.startswith("_staging/")]
    # Mended, it goes on with what is there: nothing is asked for again.
    dataset = near.open(run=run_with(even))
    assert dataset.publish(report_of(dataset))["rows"] == 75


def test_it_stops_when_told_to(near: Lake) -> None:
    calls = 0

    def check_cancelled() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Cancelled("told to")

    with pytest.raises(Cancelled):
        collect(near.open(run=run_with(even, check_cancelled=check_cancelled)), API)


def test_what_was_damaged_is_noticed(local: Lake) -> None:
    dataset = local.open(run=run_with(even))
    store_pages(dataset, API.landings())
    report = report_of(dataset)
    (segment,) = [name for name in local.files() if "/segment-" in name]
    local.write(f"out/{segment}", local.files()[segment].replace(b'"price"', b'"prise"'))
    with pytest.raises(StoreError, match="is damaged"):
        dataset.publish(report)
    dataset.close()


def test_xcom_rows_pass_them_too() -> None:
    rows = collect(XComSink().open(run_with(even, shorter)), Api(pages=2, rows=4))
    assert rows == [{"at": 0, "price": 1.1}, {"at": 2, "price": 1.1}] * 2


def test_numbers_keep_their_digits() -> None:
    seen = []

    def keep_and_see(row: Any) -> Any:
        seen.append(row)
        return row

    functions = RowFunctions(change=keep_and_see)
    rows = b'{"a":1.10,"b":12345678901234567890123,"c":1E+2,"d":-0.0,"e":0.1000000000000000000001}\n'
    assert functions.apply(rows, RowOrigin((0,), 0, 0.0)) == [rows.strip()]
    assert seen[0]["a"] == Decimal("1.10")


@pytest.mark.parametrize("name", ["row_filter", "row_map"])
def test_what_is_no_function_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}: expected a function of one row, got str"):
        RowFunctions(**{{"row_filter": "keep", "row_map": "change"}[name]: "lower"})  # type: ignore[arg-type]


def test_an_empty_page_is_nothing() -> None:
    assert RowFunctions(even).apply(b"", RowOrigin((0,), 0, 0.0)) == []
    page = Page.of(PageRequest("/"), [])
    dataset = XComSink().open(run_with(even))
    store_pages(dataset, [OrderedPage(page, Stop("single page"))])
    assert dataset.publish(report_of(dataset)) == []


def changes_since(row: int) -> IncrementalFilter:
    return IncrementalFilter(Incremental(field="row"), State(watermark=row), began=0.0)


def test_of_an_incremental_run_they_see_what_is_new(near: Lake) -> None:
    seen = []

    def keep_and_see(row: Any) -> bool:
        seen.append(row["row"])
        return even(row)

    rows = RowFunctions(keep_and_see, shorter, changes_since(6))
    result = collect(near.open(run=run_of(rows=rows, plan={"incremental": {"after": 1}})), API)
    found = manifest_of(near)
    assert sorted(set(seen)) == [6, 7, 8, 9]
    assert published(near) == b'{"at":6,"price":1.1}\n{"at":8,"price":1.1}\n' * 15
    assert (result["watermark"], result["rows"], found["watermark"]) == (9, 30, 9)
    jsonschema.validate(found, json.loads(SCHEMA.read_text()))
    checks = {check["name"]: check["evidence"] for check in found["checks"]}
    assert checks["only_changes"] == (
        "60 of 150 rows are new, 0 were published before, 90 are older than the start '6'"
    )
    assert checks["row_functions"].startswith("30 of 60 rows are published")


def test_a_function_that_fails_is_told_of_the_new_rows(near: Lake) -> None:
    rows = RowFunctions(broken, None, changes_since(6))
    with pytest.raises(ConfigurationError, match="row_filter raised KeyError for new row 1 of page 1"):
        collect(near.open(run=run_of(rows=rows)), API)


def test_where_the_first_page_was_asked_for_long_ago_the_run_began_then(near: Lake) -> None:
    changes = IncrementalFilter(Incremental(field="row"), None, began=time.time() + 1000)
    collect(near.open(run=run_of(rows=RowFunctions(changes=changes))), API)
    assert changes.began <= time.time()
