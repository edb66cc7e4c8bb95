"""Partitions as Airflow renders them: the rows of a task before, windows of the data interval."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, task

from airflow_paginated import DateWindows, PageNumber, ParameterSets, Product, RowsOf
from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.hooks.paginated_api import PaginatedApiHook
from airflow_paginated.operators.paginated_api import PaginatedApiOperator
from airflow_paginated.sinks import FileSink
from tests.servers import Family, FaultServer, Reply, Request

Connect = Callable[..., str]
FAMILY = Family(orders=30)
PAGES: dict[str, Any] = {"pagination": PageNumber(total_path="meta.total"), "data_selector": "data"}
XCOM = "{{ ti.xcom_pull('orders')['manifest'] }}"


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(FAMILY) as made:
        yield made


def rows_at(folder: Path) -> list[Any]:
    said = json.loads((folder / "_manifest.json").read_text())
    return [json.loads(line) for file in said["files"] for line in (folder / file["path"]).read_bytes().splitlines()]


def orders_and_items(conn: str, folder: Path, name: str, partitions: Callable[[Any], Any], **known: Any) -> DAG:
    with DAG(name, schedule=None) as dag:
        orders = PaginatedApiOperator(
            task_id="orders", http_conn_id=conn, endpoint="/orders", sink=FileSink(f"{folder}/orders/"), **PAGES
        )
        items = PaginatedApiOperator(
            task_id="items",
            http_conn_id=conn,
            endpoint="/orders/{order_id}/items",
            partitions=partitions(orders),
            add_columns={"order_id": "partition.order_id", "_fetched_at": "fetched_at"},
            sink=FileSink(f"{folder}/items/"),
            **{**PAGES, **known},
        )
        if "orders" not in items.upstream_task_ids:
            orders >> items
    return dag


@pytest.mark.parametrize(
    "partitions",
    [
        pytest.param(lambda orders: RowsOf(orders.output, {"order_id": "id"}), id="output"),
        pytest.param(lambda orders: RowsOf(XCOM, {"order_id": "id"}), id="template"),
        pytest.param(lambda orders: {"type": "rows_of", "manifest": XCOM, "fields": {"order_id": "id"}}, id="dict"),
        pytest.param(
            lambda orders: Product([RowsOf(orders.output, {"order_id": "id"}), [{"a": "{{ 1 }}"}]]), id="product"
        ),
    ],
)
def test_a_dag_from_parents_to_children(
    run_dag: Callable[..., Any],
    connect: Connect,
    server: FaultServer,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    partitions: Callable[[Any], Any],
) -> None:
    name = f"partitions-{request.node.callspec.id}"
    ended = run_dag(orders_and_items(connect(server.url), tmp_path, name, partitions))
    states = {each.task_id: str(each.state) for each in ended.get_task_instances()}
    assert states == {"orders": "success", "items": "success"}
    found = rows_at(tmp_path / "items")
    assert [row["order_id"] for row in found] == [row["item"] // 1000 for row in found]
    assert [row["item"] for row in found] == [json.loads(line)["item"] for line in FAMILY.reference().splitlines()]
    assert all(datetime.fromisoformat(row["_fetched_at"]).tzinfo for row in found)


def test_an_output_is_a_dependency_and_a_copy_is_rendered(tmp_path: Path) -> None:
    dag = orders_and_items("any", tmp_path, "dependency", lambda orders: RowsOf(orders.output, {"order_id": "id"}))
    assert dag.get_task("items").upstream_task_ids == {"orders"}
    given = RowsOf("{{ 'a' }}", ["id"])
    with DAG("copies", schedule=None):
        one, two = (
            PaginatedApiOperator(task_id=name, endpoint="/{id}", partitions=given, sink="xcom", **PAGES)
            for name in ("one", "two")
        )
    one.render_template_fields({})  # type: ignore[typeddict-item]  # no more is needed
    assert (one.partitions.manifest, two.partitions.manifest, given.manifest) == ("a", "{{ 'a' }}", "{{ 'a' }}")


def test_a_serialized_dag_and_its_rendered_fields_hold_no_rows(
    run_dag: Callable[..., Any], connect: Connect, server: FaultServer, tmp_path: Path
) -> None:
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.serialization.serialized_objects import DagSerialization

    dag = orders_and_items(connect(server.url), tmp_path, "short", lambda orders: RowsOf(XCOM, {"order_id": "id"}))
    text = json.dumps(DagSerialization.to_dict(dag))
    assert "RowsOf(manifest=" in text
    ended = run_dag(dag)
    rendered = RenderedTaskInstanceFields.get_templated_fields(ended.get_task_instance("items"))
    assert rendered["partitions"].startswith(f"RowsOf(manifest='{tmp_path}/orders/_manifest.json', fields={{'order_id'")


def test_mapped_tasks_have_partitions_of_their_own(
    run_dag: Callable[..., Any], connect: Connect, server: FaultServer, tmp_path: Path
) -> None:
    conn = connect(server.url)
    with DAG("mapped-partitions", schedule=None) as dag:

        @task
        def sets() -> list[list[dict[str, int]]]:
            return [[{"id": 1}, {"id": 2}], [{"id": 3}]]

        PaginatedApiOperator.partial(
            task_id="items",
            http_conn_id=conn,
            endpoint="/orders/{id}/items",
            sink=f"{tmp_path}/{{{{ ti.map_index }}}}/",
            **PAGES,
        ).expand(partitions=sets())
    run_dag(dag)
    assert [row["item"] // 1000 for row in rows_at(tmp_path / "0")] == [1, 1, 1, 2, 2]
    assert [row["item"] // 1000 for row in rows_at(tmp_path / "1")] == [3]


def test_a_list_can_be_the_output_of_a_task(
    run_dag: Callable[..., Any], connect: Connect, server: FaultServer, tmp_path: Path
) -> None:
    with DAG("listed-partitions", schedule=None) as dag:

        @task
        def sets() -> list[dict[str, int]]:
            return [{"id": 2}, {"id": 1}]

        items = PaginatedApiOperator(
            task_id="items",
            http_conn_id=connect(server.url),
            endpoint="/orders/{id}/items",
            partitions=sets(),
            sink=f"{tmp_path}/items/",
            **PAGES,
        )
    assert items.upstream_task_ids == {"sets"}
    run_dag(dag)
    assert [row["item"] // 1000 for row in rows_at(tmp_path / "items")] == [2, 2, 1, 1, 1]


def test_windows_of_the_data_interval(run_operator: Callable[..., Any], connect: Connect) -> None:
    asked = []

    def api(request: Request) -> Reply:
        asked.append((request.query["since"], request.query["until"]))
        row = json.dumps({"data": [request.query["since"]], "meta": {"total": 1}})
        return Reply(row.encode())

    with FaultServer(api) as server:
        outcome = run_operator(
            when=datetime(2024, 3, 30, tzinfo=UTC),
            http_conn_id=connect(server.url),
            endpoint="/events",
            partitions=DateWindows(
                "{{ logical_date }}",
                "{{ logical_date + macros.timedelta(days=2) }}",
                "1d",
                from_param="since",
                to_param="until",
            ),
            max_workers=1,
            **PAGES,
        )
    assert outcome.result == ["2024-03-30T00:00:00+00:00", "2024-03-31T00:00:00+00:00"]
    assert [until for _, until in asked[:2]] == ["2024-03-31T00:00:00+00:00", "2024-04-01T00:00:00+00:00"]


def test_the_hook_reads_children_in_any_task(
    run_operator: Callable[..., Any], connect: Connect, server: FaultServer, tmp_path: Path
) -> None:
    conn = connect(server.url)
    outcome = run_operator(http_conn_id=conn, endpoint="/orders", sink=f"{tmp_path}/orders/", **PAGES)
    rows = PaginatedApiHook(conn).rows(
        "/orders/{id}/items",
        partitions=RowsOf(outcome.result, ["id"]),
        pagination=PAGES["pagination"],
        data_selector="data",
    )
    assert sorted(row["item"] for row in rows) == [json.loads(line)["item"] for line in FAMILY.reference().splitlines()]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"partitions": {"store": 1}}, "expected a list of dicts, or a dict with 'type': parameter_sets, rows_of"),
        ({"partitions": {"type": "rows"}}, "'rows' is not one of parameter_sets, rows_of, date_windows, product"),
        ({"partitions": {"type": "rows_of", "manifest": "x"}}, "'fields' is required"),
        ({"add_columns": {"page": "pages"}}, "'page' must be page, fetched_at or partition.NAME"),
    ],
)
def test_wrong_arguments_are_refused_when_the_dag_is_parsed(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        PaginatedApiOperator(task_id="items", endpoint="/items", sink="xcom", **PAGES, **arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            {"add_columns": {"store": "partition.store"}},
            "the partitions have no parameter for 'partition.store'; available: none",
        ),
        (
            {"add_columns": {"s": "partition.shop"}, "partitions": [{"store": 1}]},
            "the partitions have no parameter for 'partition.shop'; available: store",
        ),
        ({"partitions": "{{ 5 }}"}, "partitions: expected a list of dicts, got str"),
        (
            {"partitions": ParameterSets([{"Authorization": "x"}], inject_into="header")},
            "'Authorization' looks like a credential",
        ),
    ],
)
def test_wrong_arguments_fail_the_task_without_a_request(
    run_operator: Callable[..., Any], connect: Connect, server: FaultServer, arguments: dict[str, Any], said: str
) -> None:
    outcome = run_operator(http_conn_id=connect(server.url), endpoint="/orders", retries=2, **PAGES, **arguments)
    (error,) = outcome.errors
    assert said in str(error)
    assert server.log.requests == ()
