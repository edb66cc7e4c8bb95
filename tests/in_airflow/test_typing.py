"""The public signatures, as mypy --strict sees them in a DAG file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
# All of Airflow would take ten times as long.
CONFIG: Final = f"""
[mypy]
strict = true
follow_imports = silent
mypy_path = {ROOT}
[mypy-airflow.*]
follow_imports = skip
[mypy-airflow.sdk,airflow.sdk.definitions.xcom_arg]
follow_imports = silent
[mypy-fsspec.*]
ignore_missing_imports = true
"""
GOOD: Final = """
from pathlib import Path
from airflow_paginated import (
    AddColumns, Completeness, DateWindows, FileSink, Incremental, Limits, PageNumber, PageRequest, Page,
    PaginatedApiHook, PaginatedApiOperator, Product, RateLimit, RequestRetry, ResponseRules, RowsOf, SinglePage, Stop,
    XComSink,
)

class Own:
    def first(self, request: PageRequest) -> PageRequest:
        return request

    def follow(self, page: Page) -> PageRequest | Stop:
        return Stop("once")

orders = PaginatedApiOperator(task_id="a", endpoint="/a", pagination=PageNumber(total_path="total"), sink="xcom")
PaginatedApiOperator(task_id="a", endpoint="/a", pagination={"type": "single_page"}, sink=Path("/data/a/"))
PaginatedApiOperator(task_id="a", endpoint="/a", pagination=Own(), sink=XComSink(), partitions=[{"store": 1}])
PaginatedApiOperator(
    task_id="a",
    http_conn_id=orders.output,
    endpoint="/a/{id}",
    pagination=SinglePage(),
    sink=FileSink("/data/a/"),
    partitions=Product([RowsOf(orders.output, ["id"]), DateWindows("a", "b", "1d", from_param="f", to_param="t")]),
    add_columns=AddColumns({"id": "partition.id"}),
    row_filter=lambda row: row["id"],
    incremental=Incremental(field="updated_at"),
    retry=RequestRetry(),
    rate_limit=RateLimit(requests=1),
    limits=Limits(),
    completeness=Completeness(),
    response=ResponseRules(),
)
for row in PaginatedApiHook("a").rows("/a", pagination=Own(), partitions=[{"store": "north"}], decimals=True):
    print(row["id"])
for page in PaginatedApiHook().pages("/a", pagination={"type": "single_page"}, partitions=RowsOf("/a", ["id"])):
    print(page.rows)
"""
OPERATOR: Final = 'PaginatedApiOperator(task_id="a", endpoint="/a", {})'
GIVEN: Final = 'pagination=SinglePage(), sink="xcom", '
HOOK: Final = 'PaginatedApiHook("a").rows("/a", {})'
BAD: Final = {
    OPERATOR.format('pagination=42, sink="xcom"'): "arg-type",
    OPERATOR.format("pagination=SinglePage(), sink=3.5"): "arg-type",
    OPERATOR.format("pagination=SinglePage(), sink=FileSink"): "arg-type",
    OPERATOR.format("pagination=SinglePage()"): "call-arg",
    OPERATOR.format(GIVEN + "partitions=3"): "arg-type",
    OPERATOR.format(GIVEN + 'add_columns=["id"]'): "arg-type",
    OPERATOR.format(GIVEN + "incremental=True"): "arg-type",
    OPERATOR.format(GIVEN + "http_conn_id=None"): "arg-type",
    OPERATOR.format(GIVEN + 'row_filter="id"'): "arg-type",
    OPERATOR.format(GIVEN + "response=[]"): "arg-type",
    HOOK.format("pagnation=1"): "call-arg",
    HOOK.format("pagination=1"): "arg-type",
    HOOK.format("pagination=SinglePage(), partitions=3"): "arg-type",
    HOOK.format('pagination=SinglePage(), decimals="yes"'): "arg-type",
    'PaginatedApiHook(retry="often")': "arg-type",
}


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what mypy reports: ``file:line`` -> the code of the error."""
    folder = tmp_path_factory.mktemp("typing")
    (folder / "mypy.ini").write_text(CONFIG)
    (folder / "good.py").write_text(GOOD)
    heading = "from airflow_paginated import FileSink, PaginatedApiHook, PaginatedApiOperator, SinglePage\n"
    (folder / "bad.py").write_text(heading + "\n".join(BAD) + "\n")
    options = ["--config-file", str(folder / "mypy.ini"), "--cache-dir", str(folder / "cache"), "--no-pretty"]
    # In a process of its own: it raises Python's recursion limit for good.
    command = [sys.executable, "-m", "mypy", *options, str(folder / "good.py"), str(folder / "bad.py")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.stderr == ""
    found = re.findall(r"(\w+\.py:\d+): error: .*\[([\w-]+)\]$", ended.stdout, re.MULTILINE)
    assert len(found) == ended.stdout.count("error: "), ended.stdout
    return dict(found)


def test_right_calls_pass(errors: dict[str, str]) -> None:
    assert {where: code for where, code in errors.items() if where.startswith("good.py")} == {}


@pytest.mark.parametrize(("number", "call"), list(enumerate(BAD, start=2)), ids=BAD)
def test_a_wrong_call_fails(errors: dict[str, str], number: int, call: str) -> None:
    assert errors.get(f"bad.py:{number}") == BAD[call]
