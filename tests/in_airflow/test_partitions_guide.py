"""The examples of docs/partitions.md, run by Airflow against an API that answers as the guide says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from airflow.sdk import DAG

import airflow_paginated
from airflow_paginated import PaginatedApiHook, SinglePage
from tests.servers import Family, FaultServer, Reply, Request

GUIDE: Final = (Path(__file__).resolve().parents[2] / "docs/partitions.md").read_text()
SECTION: Final = re.compile(r"^##+ (.+)$", re.MULTILINE)
FAMILY: Final = Family(orders=20)


def sales(request: Request) -> Any:
    return {"path": request.target.partition("?")[0], "year": request.query["year"]}


def tenant(request: Request) -> Any:
    return {"tenant": request.headers["x-tenant"], "year": request.query["year"]}


def bounds(request: Request) -> Any:
    return [request.query[name] for name in ("since", "until")]


def month(request: Request) -> Any:
    return [request.path, request.query["from"], request.query["to"]]


DAY: Final = [f"2024-03-30T{hour:02d}:00:00+00:00" for hour in (0, 6, 12, 18)] + ["2024-03-31T00:00:00+00:00"]
EXAMPLES: Final[dict[str, tuple[Callable[[Request], Any], list[Any]]]] = {
    "A list": (
        sales,
        [{"path": "/stores/north/sales", "year": "2024"}, {"path": "/stores/a%2Fb/sales", "year": "2025"}],
    ),
    "Parameters in headers": (tenant, [{"tenant": "north", "year": "2024"}]),
    "Windows of the data interval": (bounds, [list(pair) for pair in pairwise(DAY)]),
    "Each month for each store": (
        month,
        [
            [f"/stores/{store}/sales", *each]
            for store in ("north", "south")
            for each in (("2024-01-01", "2024-02-01"), ("2024-02-01", "2024-03-01"))
        ],
    ),
}


def examples() -> dict[str, str]:
    """Return the text of each example by its heading."""
    _, *rest = SECTION.split(GUIDE)
    found = (
        (heading, re.search(r"```python\n(.*?)```", text, re.DOTALL))
        for heading, text in zip(rest[::2], rest[1::2], strict=True)
    )
    return {heading: text[1] for heading, text in found if text}


def names() -> dict[str, Any]:
    return {name: getattr(airflow_paginated, name) for name in airflow_paginated.__all__}


@contextmanager
def api(monkeypatch: pytest.MonkeyPatch, app: Callable[[Request], Reply]) -> Iterator[FaultServer]:
    with FaultServer(app) as server:
        monkeypatch.setenv(
            "AIRFLOW_CONN_PAGINATED_API_DEFAULT", json.dumps({"conn_type": "paginated_api", "host": server.url})
        )
        yield server


def run_example(run_dag: Callable[..., Any], heading: str, text: str) -> Any:
    from airflow.sdk import CronDataIntervalTimetable

    schedule = CronDataIntervalTimetable("@daily", timezone="UTC")
    with DAG(re.sub(r"\W+", "-", heading), schedule=schedule, start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
        exec(text, names())
    return run_dag(dag, logical_date=datetime(2024, 3, 31, tzinfo=UTC), run_after=datetime(2024, 3, 31, tzinfo=UTC))


@pytest.mark.parametrize("heading", EXAMPLES)
def test_an_example_asks_what_the_guide_says(
    run_dag: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, heading: str
) -> None:
    told, expected = EXAMPLES[heading]

    def answer(request: Request) -> Reply:
        if request.query.get("page") != "1":
            return Reply(b'{"data": [], "meta": {"total": 1}}')
        return Reply(json.dumps({"data": [told(request)], "meta": {"total": 1}}).encode())

    with api(monkeypatch, answer):
        run_example(run_dag, heading, examples()[heading].replace("s3://lake", str(tmp_path)))
    (part,) = tmp_path.glob("*/*/part-*.jsonl")
    assert [json.loads(line) for line in part.read_bytes().splitlines()] == expected


def test_the_items_of_each_order(run_dag: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    heading = "The rows of another collection"
    with api(monkeypatch, FAMILY):
        run_example(run_dag, heading, examples()[heading].replace("s3://lake", str(tmp_path)))
    (part,) = tmp_path.glob("items/*/part-*.jsonl")
    rows = [json.loads(line) for line in part.read_bytes().splitlines()]
    items = [json.loads(line) for line in FAMILY.reference().splitlines()]
    assert rows == [{**item, "order_id": item["item"] // 1000} for item in items]


def test_partitions_of_your_own(connect: Callable[..., str]) -> None:
    known = names()
    exec(examples()["Your own"], known)

    def answer(request: Request) -> Reply:
        return Reply(json.dumps([int(request.query["shard"])]).encode())

    with FaultServer(answer) as server:
        rows = PaginatedApiHook(connect(server.url)).rows("/x", pagination=SinglePage(), partitions=known["Shards"]())
        assert sorted(rows) == list(range(16))


def test_every_example_is_tried() -> None:
    assert set(examples()) == {*EXAMPLES, "The rows of another collection", "Your own"}
