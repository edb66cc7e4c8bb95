"""The examples of docs/incremental.md, each run three times in Airflow over a table that changes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from airflow.sdk import DAG, Asset

from airflow_paginated import Incremental, PageNumber
from airflow_paginated.operators.paginated_api import PaginatedApiOperator
from airflow_paginated.sinks import FileSink
from tests.servers import FaultServer, Reply, Request
from tests.servers.changing import ChangingTable

GUIDE: Final = (Path(__file__).resolve().parents[2] / "docs/incremental.md").read_text()
_, *_SECTIONS = re.split(r"^## (.+)$", GUIDE, flags=re.MULTILINE)
EXAMPLES: Final = {
    heading: found[1]
    for heading, text in zip(_SECTIONS[::2], _SECTIONS[1::2], strict=True)
    if (found := re.search(r"```python\n(.*?)```", text, re.DOTALL))
}
FILTER: Final = re.compile(r"status ne 'draft' and updated_at ge (\S+)")


def filtered(table: ChangingTable, request: Request) -> Reply:
    """Answer as an API does that takes an expression."""
    query = dict(request.query)
    if "$filter" in query:
        found = FILTER.fullmatch(query.pop("$filter"))
        assert found is not None
        query["updated_since"] = found[1]
    return table(replace(request, query=query))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize("heading", EXAMPLES)
def test_an_example_brings_each_change_once(
    heading: str,
    run_dag: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    table = ChangingTable()
    names = {each.__name__: each for each in (Asset, FileSink, Incremental, PageNumber, PaginatedApiOperator)}
    text = EXAMPLES[heading].replace("s3://lake", str(tmp_path))

    def run(day: int) -> list[Any]:
        when = datetime(2024, 6, day, tzinfo=UTC)
        with DAG(re.sub(r"\W+", ".", request.node.name).strip("."), schedule=None) as dag:
            exec(text, dict(names))
        ended = run_dag(dag, run_after=when, logical_date=when)
        result = ended.get_task_instance("orders").xcom_pull(task_ids="orders", run_id=ended.run_id)
        parts = [part.read_text() for part in Path(result["path"]).glob("part-*")]
        return [json.loads(line) for part in parts for line in part.splitlines()]

    with FaultServer(lambda asked: filtered(table, asked)) as server:
        fields = {"conn_type": "paginated_api", "host": server.url}
        monkeypatch.setenv("AIRFLOW_CONN_PAGINATED_API_DEFAULT", json.dumps(fields))
        for key in range(5):
            table.change(key, f"2024-02-0{key + 1}T00:00:00Z")
        assert run(1) == list(table.rows.values())
        changed = [table.change(2, "2024-02-06T00:00:00Z"), table.change(7, "2024-02-07T02:00:00+02:00")]
        assert run(2) == changed
        assert run(3) == []
    assert (table.asked[0] is None) == ("initial_value" not in text)
