"""Incremental collection as Airflow runs it: run after run, in one task."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from airflow.models.asset_state_store import AssetStateStoreModel
from airflow.sdk import DAG, Asset, AssetAlias
from airflow.sdk.execution_time.context import AssetStateStoreAccessor
from airflow.utils.session import create_session

from airflow_paginated import Incremental, PageNumber
from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.operators import paginated_api
from airflow_paginated.operators.paginated_api import PaginatedApiOperator
from tests.servers import FaultServer, ServerError, on_page
from tests.servers.changing import ChangingTable

START: Final = "2024-03-30T12:00:00+00:00"


def at(seconds: float) -> str:
    return (datetime.fromisoformat(START) + timedelta(seconds=seconds)).isoformat()


@dataclass
class Task:
    """One task of a DAG, and its runs: ``run`` makes the next of them."""

    run_dag: Callable[..., Any]
    connection: str
    folder: Path
    dag_id: str
    table: ChangingTable
    server: FaultServer
    asset: bool
    policy: dict[str, Any] = field(default_factory=dict)
    runs: int = 0
    result: Any = None

    def run(self, again: bool = False, **known: Any) -> list[Any] | str:
        """Return the rows that a run has published, or its state where it is no success."""
        self.runs += not again
        when = datetime(2024, 4, 1, tzinfo=UTC) + timedelta(days=self.runs)
        ended = self.run_dag(self.dag(**known), run_after=when, logical_date=when)
        task = ended.get_task_instance("collect")
        if task.state != "success":
            return str(task.state)
        self.result = task.xcom_pull(task_ids="collect", run_id=ended.run_id)
        manifest = json.loads(Path(self.result["manifest"]).read_text())
        files = [Path(self.result["path"]) / file["path"] for file in manifest["files"]]
        assert self.result["watermark"] == manifest["watermark"]
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def dag(self, **known: Any) -> DAG:
        # Made anew for each run, as Airflow does: rendering writes into it.
        policy = {"field": "updated_at", "param": "updated_since", "initial_value": START, **self.policy}
        places_of_state = {"outlets": [Asset(self.dag_id)]} if self.asset else {}
        with DAG(self.dag_id, schedule=None) as dag:
            PaginatedApiOperator(
                task_id="collect",
                http_conn_id=self.connection,
                endpoint="/orders",
                pagination=PageNumber(total_path="meta.total"),
                data_selector="data",
                incremental=Incremental(**policy, state_path=None if self.asset else f"{self.folder}/state/"),
                sink=f"{self.folder}/{{{{ run_id }}}}/",
                retry_delay=timedelta(0),
                **{**places_of_state, **known},
            )
        return dag

    @property
    def state(self) -> Any:
        """The newest state as Airflow, or the folder, has it."""
        if self.asset:
            return state_of(f"watermark.{self.dag_id}.collect")
        names = sorted((self.folder / "state").glob("watermark-*.json"))
        return json.loads(names[-1].read_text()) if names else None


def state_of(key: str) -> Any:
    with create_session() as session:
        found = session.get(AssetStateStoreModel, (asset_of(session, key), key))
        return None if found is None else json.loads(found.value)


def asset_of(session: Any, key: str) -> int:
    found = session.query(AssetStateStoreModel.asset_id).filter(AssetStateStoreModel.key == key).scalar()
    return -1 if found is None else int(found)


@pytest.fixture(params=["asset", "folder"])
def task(
    request: pytest.FixtureRequest, run_dag: Callable[..., Any], connect: Callable[..., str], tmp_path: Path
) -> Iterator[Task]:
    table = ChangingTable()
    name = re.sub(r"\W+", ".", request.node.name).strip(".")
    with FaultServer(table) as server:
        yield Task(run_dag, connect(server.url), tmp_path, name, table, server, request.param == "asset")


def fill(table: ChangingTable, count: int = 8) -> None:
    for key in range(count):
        table.change(key, at(key))


@pytest.mark.parametrize("lookback", [0, 3])
def test_three_runs_bring_each_change_once(task: Task, lookback: int) -> None:
    task.policy = {"lookback": lookback}
    fill(task.table)
    assert task.run() == list(task.table.rows.values())
    assert task.result["watermark"] == at(7)
    changed = [task.table.change(3, at(20)), task.table.change(9, "2024-03-30T14:00:21.5+02:00")]
    if lookback:
        # It could not be seen until now, though it is from before the watermark.
        changed.append(task.table.change(10, at(5)))
    assert task.run() == changed
    assert task.run() == []
    task.table.change(3, at(30))
    assert task.run() == [task.table.rows[3]]
    later = "2024-03-30T14:00:18.5+02:00" if lookback else "2024-03-30T14:00:21.5+02:00"
    assert list(dict.fromkeys(task.table.asked)) == [START, at(7 - lookback), later]
    assert task.state["watermark"] == at(30)


def test_a_run_that_fails_does_not_move_the_watermark(task: Task) -> None:
    fill(task.table)
    task.run()
    before = task.state
    changed = [task.table.change(3, at(20))]
    assert task.run(completeness={"min_rows": 50}) == "failed"
    assert task.run(row_map=lambda row: {object()}) == "failed"
    assert task.state == before
    assert task.run() == changed


def test_a_sample_does_not_move_the_watermark(task: Task) -> None:
    fill(task.table)
    rows = task.run(limits={"sample_pages": 1})
    assert (len(rows), task.result["complete"], task.result["watermark"]) == (3, False, None)
    assert task.state is None
    assert len(task.run()) == 8


def test_a_retry_begins_where_the_first_try_began(task: Task) -> None:
    fill(task.table)
    task.run()
    changed = [task.table.change(key, at(20 + key)) for key in range(12)]
    task.server.faults = on_page(4, ServerError(), times=1)
    assert task.run(retries=1, retry={"max_attempts": 1}, max_workers=1) == changed
    assert task.result["resumed_pages"] == 3
    assert set(task.table.asked) == {START, at(7)}


def test_another_run_that_goes_on_meanwhile_is_noticed(task: Task) -> None:
    fill(task.table)
    task.run()
    task.table.change(3, at(20))
    newer = {**task.state, "generation": 2, "watermark": at(20), "start": at(20), "by": {"run": "another"}}

    def meanwhile(number: int) -> None:
        task.table.on_page = lambda number: None
        if task.asset:
            write(f"watermark.{task.dag_id}.collect", newer)
        else:
            (task.folder / "state/watermark-00000002.json").write_text(json.dumps(newer))

    task.table.on_page = meanwhile
    assert task.run() == "failed"
    assert not list(task.folder.glob("*-04-03*/_manifest.json"))
    assert task.state == newer
    changed = task.table.change(4, at(21))
    assert task.run() == [task.table.rows[3], changed]


def write(key: str, value: Any) -> None:
    with create_session() as session:
        session.get(AssetStateStoreModel, (asset_of(session, key), key)).value = json.dumps(value)


# Of a folder, tests/collect/test_incremental_runs.py shows the same.
@pytest.mark.parametrize("task", ["asset"], indirect=True)
def test_a_task_that_could_not_move_the_watermark_does_so_in_its_retry(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(task.table)
    task.run()
    changed = [task.table.change(3, at(20))]
    given, failures = AssetStateStoreAccessor.set, iter([True])

    def fail_once(self: Any, key: str, value: Any) -> None:
        if next(failures, False):
            # Published by now; a retry finds one more change.
            changed.append(task.table.change(9, at(21)))
            raise ConnectionError("the API server is away")
        given(self, key, value)

    monkeypatch.setattr(AssetStateStoreAccessor, "set", fail_once)
    assert task.run(retries=1) == changed
    assert task.state["watermark"] == at(21)
    assert task.run() == []


def test_the_last_run_can_be_cleared(task: Task) -> None:
    fill(task.table)
    task.run()
    changed = [task.table.change(3, at(20))]
    assert task.run() == changed
    changed.append(task.table.change(9, at(21)))
    assert task.run(again=True) == changed
    assert task.run() == []


def test_a_mapped_task_has_a_watermark_for_each_request(task: Task) -> None:
    tables = {name: ChangingTable() for name in ("a", "b")}
    task.server.app = lambda request: tables[request.path[1:]](request)
    common: dict[str, Any] = {
        "task_id": "collect",
        "http_conn_id": task.connection,
        "pagination": PageNumber(total_path="meta.total"),
        "data_selector": "data",
        "sink": f"{task.folder}/{{{{ run_id }}}}-{{{{ ti.map_index }}}}/",
        "incremental": {
            "field": "updated_at",
            "param": "updated_since",
            "state_path": None if task.asset else f"{task.folder}/state",
        },
        **({"outlets": [Asset(task.dag_id)]} if task.asset else {}),
    }

    def run(day: int, names: Sequence[str]) -> list[Any]:
        when = datetime(2024, 5, day, tzinfo=UTC)
        with DAG(task.dag_id, schedule=None) as dag:
            PaginatedApiOperator.partial(**common).expand(endpoint=[f"/{name}" for name in names])
        run_id = task.run_dag(dag, run_after=when, logical_date=when).run_id
        folders = [task.folder / f"{run_id}-{index}" for index in range(len(names))]
        return [[json.loads(part.read_text()) for part in folder.glob("part-*")] for folder in folders]

    first, second = tables["a"].change(1, at(0)), tables["b"].change(1, at(1))
    assert run(1, ["a", "b"]) == [[first], [second]]
    second = tables["b"].change(1, at(15))
    assert run(2, ["b", "a"]) == [[second], []]
    asked = {name: list(dict.fromkeys(table.asked)) for name, table in tables.items()}
    assert asked == {"a": [None, at(0)], "b": [None, at(1)]}


def operator(**known: Any) -> PaginatedApiOperator:
    given = {"incremental": {"field": "updated_at"}, "sink": "out/", **known}
    return PaginatedApiOperator(task_id="collect", endpoint="/x", pagination={"type": "single_page"}, **given)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({}, "the watermark needs a place: give the task an outlet asset"),
        ({"sink": "xcom", "outlets": [Asset("x")]}, "Airflow stores an XCom after the task has ended"),
        ({"incremental": {"path": "updated_at"}}, "incremental: unknown key 'path'"),
        ({"incremental": "updated_at"}, "incremental: expected a dict or Incremental, got str"),
    ],
)
def test_what_cannot_be_is_refused_when_the_dag_is_parsed(known: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        operator(**known)


def test_an_older_airflow_needs_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(paginated_api, "HAS_ASSET_STATE", False)
    with pytest.raises(ConfigurationError, match="give the task an outlet asset"):
        operator(outlets=[Asset("x")])
    operator(incremental={"field": "updated_at", "state_path": str(tmp_path)})


def test_an_alias_has_no_state(run_operator: Callable[..., Any], connect: Callable[..., str], tmp_path: Path) -> None:
    with FaultServer(ChangingTable()) as server:
        outcome = run_operator(
            http_conn_id=connect(server.url),
            endpoint="/orders",
            pagination={"type": "single_page"},
            incremental={"field": "updated_at"},
            outlets=[AssetAlias("orders")],
            sink=f"{tmp_path}/out/",
        )
    assert outcome.state == "failed"
    assert "no outlet of the task has a state" in str(outcome.errors[0])
