"""The operator as Airflow runs it: success, retries, failures, kills."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException

from airflow_paginated import Incremental, Limits, Offset, PageNumber, SinglePage
from airflow_paginated.core.errors import Cancelled, PageFailed, RunTimeout
from airflow_paginated.operators.paginated_api import PaginatedApiOperator
from airflow_paginated.sinks import FileSink
from airflow_paginated.transport import RequestRetry
from tests.airflow_runs import Outcome
from tests.servers import (
    FaultServer,
    Given,
    PagedApi,
    Request,
    RetryLater,
    ServerError,
    StallInBody,
    on_page,
    seven_faults,
)

Run = Callable[..., Outcome]
Connect = Callable[..., str]
SUMMARY = {
    "path",
    "manifest",
    "files",
    "rows",
    "pages",
    "bytes",
    "requests",
    "retries",
    "throttled_seconds",
    "seconds",
    "stop_reason",
    "resumed_pages",
}
EMPLOYEES: dict[str, Any] = {
    "endpoint": "/employees",
    "pagination": PageNumber(total_path="meta.total"),
    "data_selector": "data",
}


def visible(folder: Path) -> list[str]:
    """Return the files that a reader of the folder sees: none whose name, or whose folder's, has an underscore."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if not any(part.startswith("_") for part in path.parts))


def data_of(folder: Path) -> bytes:
    manifest = json.loads((folder / "_manifest.json").read_text())
    return b"".join((folder / file["path"]).read_bytes() for file in manifest["files"])


def check_no_thread_is_left() -> None:
    """Fail when a thread of a page goes on; one that was told to end is given the time for it."""
    deadline = time.monotonic() + 10
    for thread in [thread for thread in threading.enumerate() if thread.name.startswith("page")]:
        thread.join(max(0.0, deadline - time.monotonic()))
        assert not thread.is_alive()


def test_a_flaky_api_becomes_a_complete_dataset(run_operator: Run, connect: Connect, tmp_path: Path) -> None:
    api = PagedApi(rows=2_000, page_size=50)
    with FaultServer(api, seven_faults(0.1, seed=1)) as server:
        outcome = run_operator(
            http_conn_id=connect(server.url), sink=FileSink(f"{tmp_path}/{{{{ run_id }}}}/"), **EMPLOYEES
        )
    assert outcome.state == "success"
    assert set(outcome.result) >= SUMMARY
    assert (outcome.result["rows"], outcome.result["pages"]) == (2_000, 40)
    # The last page is full: one request more shows that nothing follows it.
    assert outcome.result["requests"] == 40 + 1 + outcome.result["retries"] > 41
    folder = Path(outcome.result["path"])
    assert folder.parent == tmp_path
    assert data_of(folder) == api.reference()
    assert sorted(path.name for path in folder.iterdir())[:2] == ["_manifest.json", "_pages"]


def test_a_retry_goes_on_where_the_last_try_stopped(run_operator: Run, connect: Connect, tmp_path: Path) -> None:
    api = PagedApi(rows=4_000, page_size=20)
    with FaultServer(api, on_page(150, ServerError(500), times=2)) as server:
        outcome = run_operator(
            retries=1,
            http_conn_id=connect(server.url),
            sink=f"{tmp_path}/out/",
            max_workers=4,
            retry={"max_attempts": 2, "backoff_factor": 0.01},
            **EMPLOYEES,
        )
        counts = server.log.counts
    assert (outcome.state, outcome.try_number) == ("success", 2)
    assert data_of(tmp_path / "out") == api.reference()
    assert [type(error) for error in outcome.errors] == [PageFailed]
    message = str(outcome.errors[0])
    assert "page 150" in message
    assert f"{server.url}/employees?page=150" in message
    assert "2 attempts" in message
    assert "500 Internal Server Error" in message
    landed = outcome.result["resumed_pages"]
    assert landed >= 150 - 4 * 4
    # The newest stored page is fetched again to see that it still reads the same; none of those before it is.
    assert all(counts["", index] == 1 for index in range(landed - 1))
    assert counts["", landed - 1] == 2


def test_a_page_that_fails_for_good_fails_the_task_and_shows_nothing(
    run_operator: Run, connect: Connect, tmp_path: Path
) -> None:
    api = PagedApi(rows=1_000, page_size=10)
    refusal = Given(403, b'{"error": "page 37 is not for you, bearer s3cr3t-token"}')
    with FaultServer(api, on_page(37, refusal)) as server:
        outcome = run_operator(
            retries=3,
            http_conn_id=connect(server.url, password="s3cr3t-token"),
            query={"api_key": "another-secret"},
            sink=f"{tmp_path}/out/",
            **EMPLOYEES,
        )
    assert (outcome.state, outcome.try_number) == ("failed", 1)
    assert visible(tmp_path) == []
    assert not (tmp_path / "out" / "_manifest.json").exists()
    (error,) = outcome.errors
    assert isinstance(error, AirflowFailException)
    assert "page 37" in str(error)
    assert "?api_key=***&page=37" in str(error)
    assert "403 Forbidden" in str(error)
    assert "page 37 is not for you" in str(error)
    assert "secret" not in str(error)
    assert "s3cr3t" not in str(error)


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        ({"execution_timeout": timedelta(seconds=2)}, "(1 s of execution_timeout=2 s)"),
        ({"timeouts": {"run": 1}}, "(timeouts.run=1 s)"),
    ],
)
def test_before_its_timeout_the_task_ends_and_shows_nothing(
    run_operator: Run, connect: Connect, tmp_path: Path, given: dict[str, Any], limit: str
) -> None:
    api = PagedApi(rows=1_000, page_size=10)
    with FaultServer(api, on_page(30, StallInBody())) as server:
        started = datetime.now(UTC)
        outcome = run_operator(
            http_conn_id=connect(server.url),
            sink=f"{tmp_path}/out/",
            **given,
            **EMPLOYEES,
        )
        took = datetime.now(UTC) - started
    assert outcome.state == "failed"
    assert [type(error) for error in outcome.errors] == [RunTimeout]
    assert limit in str(outcome.errors[0])
    assert "29 pages with 290 rows are stored" in str(outcome.errors[0])
    # The stall would hold the page for timeouts.read, 60 s.
    assert took < timedelta(seconds=45)
    assert visible(tmp_path) == []
    check_no_thread_is_left()


def test_sigterm_ends_the_task_without_success(run_operator: Run, connect: Connect, tmp_path: Path) -> None:
    def terminate(request: Request, nth: int) -> StallInBody | None:
        if request.parameters().get("page") != "40":
            return None
        os.kill(os.getpid(), signal.SIGTERM)
        return StallInBody()

    before = signal.getsignal(signal.SIGTERM)
    try:
        with FaultServer(PagedApi(rows=1_000, page_size=10), terminate) as server:
            outcome = run_operator(http_conn_id=connect(server.url), sink=f"{tmp_path}/out/", **EMPLOYEES)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert outcome.state == "failed"
    assert [type(error) for error in outcome.errors] == [Cancelled]
    assert visible(tmp_path) == []
    check_no_thread_is_left()


def test_a_run_that_is_cleared_replaces_its_dataset(run_operator: Run, connect: Connect, tmp_path: Path) -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    sink = f"{tmp_path}/out/"
    with FaultServer(PagedApi(rows=300, page_size=10)) as server:
        first = run_operator(when=when, http_conn_id=connect(server.url), sink=sink, **EMPLOYEES)
    files = visible(tmp_path)
    changed = PagedApi(rows=250, page_size=10, seed=7)
    with FaultServer(changed) as server:
        second = run_operator(when=when, http_conn_id=connect(server.url), sink=sink, **EMPLOYEES)
    assert (first.state, second.state) == ("success", "success")
    assert data_of(tmp_path / "out") == changed.reference()
    assert len(visible(tmp_path)) == 1
    assert visible(tmp_path) != files


def test_rows_go_to_xcom_and_too_many_are_refused_with_advice(run_operator: Run, connect: Connect) -> None:
    api, larger = PagedApi(rows=100, page_size=10), PagedApi(rows=10_000, page_size=10)
    with FaultServer(api) as server:
        small = run_operator(http_conn_id=connect(server.url), **EMPLOYEES)
    with FaultServer(larger) as server:
        limits = Limits(xcom_bytes=10_000)
        large = run_operator(http_conn_id=connect(server.url), limits=limits, retries=2, **EMPLOYEES)
        requests = server.log.summary().requests
    assert small.result == [json.loads(line) for line in api.reference().splitlines()]
    assert (large.state, large.try_number) == ("failed", 1)
    assert "xcom_bytes" in str(large.errors[0])
    assert "FileSink" in str(large.errors[0])
    assert requests < 100


def test_all_that_is_templated_is_rendered(run_operator: Run, connect: Connect, tmp_path: Path) -> None:
    api = PagedApi(rows={"north": 30, "south": 45}, page_size=10)
    with FaultServer(api) as server:
        outcome = run_operator(
            http_conn_id=connect(server.url),
            endpoint="/{{ task.task_id | replace('collect', 'employees') }}",
            query={"dag": "{{ dag.dag_id }}"},
            headers={"X-Run": "{{ run_id }}"},
            body={"task": "{{ task.task_id }}"},
            method="post",
            retry={"allowed_methods": ["POST"]},
            partitions=[{"store": "{{ 'north' }}"}, {"store": "south"}],
            pagination={"type": "offset", "page_size": 10, "total_path": "meta.total"},
            data_selector="data",
            sink=FileSink(f"{tmp_path}/{{{{ task.task_id }}}}/rows.jsonl"),
        )
        sent = [seen.request for seen in server.log.requests]
    assert outcome.state == "success"
    assert (tmp_path / "collect" / "rows.jsonl").read_bytes() == api.reference(["north", "south"])
    # The partitions are collected side by side: their requests come in any order.
    stores = sorted(json.loads(request.body)["store"] for request in sent)
    # North ends with a full page, and nobody believes a total alone then.
    assert stores == ["north"] * (3 + 1) + ["south"] * 5
    for request in sent:
        assert {**json.loads(request.body), "store": "any"} == {"task": "collect", "store": "any"}
        assert request.parameters()["dag"] == "test_all_that_is_templated_is_rendered"
        assert request.headers["x-run"].startswith("manual__")


def test_connection_selector_and_incremental_are_rendered(run_operator: Run, connect: Connect, tmp_path: Path) -> None:
    api = PagedApi(rows=30, page_size=10)
    with FaultServer(api) as server:
        connect(server.url)
        outcome = run_operator(
            http_conn_id="{{ 'test' }}_api",
            endpoint="/employees",
            pagination=PageNumber(total_path="meta.total"),
            data_selector="{{ 'data' }}",
            incremental=Incremental(field="{{ 'i' }}d", state_path=f"{tmp_path}/state/{{{{ task.task_id }}}}"),
            sink=f"{tmp_path}/out/",
        )
    assert outcome.state == "success", outcome.errors
    assert outcome.result["watermark"] == 29
    assert (tmp_path / "state" / "collect").is_dir()
    assert data_of(tmp_path / "out") == api.reference()


def test_connection_and_selector_can_be_outputs_of_tasks(run_dag: Any, connect: Connect, tmp_path: Path) -> None:
    api = PagedApi(rows=30, page_size=10)
    with FaultServer(api) as server:
        conn_id = connect(server.url)
        with DAG("outputs", schedule=None) as dag:

            @task
            def connection() -> str:
                return conn_id

            @task
            def selector() -> str:
                return "data"

            collect = PaginatedApiOperator(
                task_id="collect",
                http_conn_id=connection(),
                endpoint="/employees",
                pagination=PageNumber(total_path="meta.total"),
                data_selector=selector(),
                sink=f"{tmp_path}/out/",
            )
        assert collect.upstream_task_ids == {"connection", "selector"}
        run_dag(dag)
    assert data_of(tmp_path / "out") == api.reference()


def test_mapped_tasks_have_connections_of_their_own(run_dag: Any, connect: Connect, tmp_path: Path) -> None:
    api = PagedApi(rows=30, page_size=10)
    with FaultServer(api) as server:
        conn_id = connect(server.url)
        with DAG("mapped-connections", schedule=None) as dag:
            PaginatedApiOperator.partial(
                task_id="collect",
                sink=f"{tmp_path}/{{{{ ti.map_index }}}}/",
                incremental=Incremental(field="id", state_path=f"{tmp_path}/state/"),
                **EMPLOYEES,
            ).expand(http_conn_id=[conn_id])
        run_dag(dag)
    assert data_of(tmp_path / "0") == api.reference()


def test_a_long_quota_wait_gives_the_slot_back_and_goes_on(run_operator: Run, connect: Connect, tmp_path: Path) -> None:
    api = PagedApi(rows=500, page_size=10)
    with FaultServer(api, on_page(40, RetryLater("2"), times=1)) as server:
        outcome = run_operator(
            http_conn_id=connect(server.url),
            sink=f"{tmp_path}/out/",
            retry=RequestRetry(retry_after_max=1),
            **EMPLOYEES,
        )
    assert (outcome.state, outcome.try_number, outcome.errors) == ("success", 1, [])
    assert outcome.result["resumed_pages"] > 0
    assert data_of(tmp_path / "out") == api.reference()


def test_no_rows_skip_the_task_where_it_asks_for_that(run_operator: Run, connect: Connect, tmp_path: Path) -> None:
    with FaultServer(PagedApi(rows=0)) as server:
        conn_id = connect(server.url, extra=json.dumps({"completeness": {"on_empty": "skip"}}))
        outcome = run_operator(http_conn_id=conn_id, sink=f"{tmp_path}/out/", **EMPLOYEES)
    assert outcome.state == "skipped"
    assert visible(tmp_path) == []


def test_a_complete_dataset_may_be_kept(run_operator: Run, connect: Connect, tmp_path: Path) -> None:
    sink = FileSink(f"{tmp_path}/out/", if_exists="skip")
    with FaultServer(PagedApi(rows=30, page_size=10)) as server:
        first, second = (run_operator(http_conn_id=connect(server.url), sink=sink, **EMPLOYEES) for _ in range(2))
        requests = len(server.log.requests)
    assert (first.state, second.state) == ("success", "success")
    assert (second.result["rows"], requests) == (30, first.result["requests"])


def test_a_plain_http_connection_works(run_operator: Run, connect: Connect) -> None:
    with FaultServer(PagedApi(rows=30, page_size=10)) as server:
        conn_id = connect(
            "127.0.0.1",
            conn_type="http",
            port=server.port,
            login="ann",
            password="pw",
            extra=json.dumps({"X-Api-Key": "k1", "timeout": 5, "verify": True}),
        )
        outcome = run_operator(
            http_conn_id=conn_id, endpoint="bare", pagination=Offset(page_size=10, total_header="X-Total-Count")
        )
        seen = server.log.requests[0].request
    assert len(outcome.result) == 30
    assert seen.headers.get("authorization") == "Basic YW5uOnB3"
    assert seen.headers.get("x-api-key") == "k1"
    assert seen.headers.get("timeout") is None


def test_mapped_tasks_publish_side_by_side(run_dag: Any, connect: Connect, tmp_path: Path) -> None:
    api = PagedApi(rows={"a": 30, "b": 20}, page_size=10)
    with FaultServer(api) as server:
        with DAG("mapped", schedule=None) as dag:
            PaginatedApiOperator.partial(
                task_id="collect",
                http_conn_id=connect(server.url),
                sink=FileSink(f"{tmp_path}/{{{{ ti.map_index }}}}/"),
                **EMPLOYEES,
            ).expand(query=[{"store": "a"}, {"store": "b"}])
        run = run_dag(dag)
    assert str(run.state) == "success"
    assert [data_of(tmp_path / str(index)) for index in (0, 1)] == [api.reference(["a"]), api.reference(["b"])]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"pagination": {"type": "page_numbr"}}, "pagination: type: 'page_numbr' is not one of"),
        ({"pagination": {"type": "offset", "totl_path": "x"}}, "unknown key 'totl_path' (did you mean 'total_path'?)"),
        ({"pagination": {"type": "page_number"}}, "no stop condition"),
        ({"pagination": None}, "pagination: expected a strategy"),
        ({"max_workers": 0}, "max_workers: expected an integer of at least 1, got 0"),
        ({"retry": {"attempts": 3}}, "retry: unknown key 'attempts'"),
        ({"rate_limit": {"requests": 0}}, "rate_limit: requests"),
        ({"timeouts": {"read": "1"}}, "timeouts: read"),
        ({"limits": {"read_timeout": 5}}, "limits: unknown key 'read_timeout' (did you mean 'timeouts.read'?)"),
        ({"limits": {"page_bytes": "1"}}, "limits: page_bytes"),
        ({"completeness": {"on_empty": "panic"}}, "completeness: on_empty: 'panic' is not one of"),
        ({"data_selector": "a..b"}, "path 'a..b'"),
        ({"incremental": {"field": "a..b"}, "sink": "/data/"}, "path 'a..b'"),
        ({"sink": 3}, "sink: expected"),
        ({"sink": FileSink}, "sink: expected"),
    ],
)
def test_wrong_arguments_are_told_when_the_dag_is_parsed(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        PaginatedApiOperator(
            task_id="collect", **{"endpoint": "/x", "pagination": SinglePage(), "sink": "xcom", **arguments}
        )
    assert told in str(caught.value)


def test_a_sink_is_required() -> None:
    with pytest.raises(TypeError, match="'sink'"):
        PaginatedApiOperator(task_id="collect", endpoint="/x", pagination=SinglePage())  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"data_selector": "date"}, "'date'"),
        ({"data_selector": "{{ 'a..b' }}"}, "path 'a..b'"),
        ({"http_conn_id": "{{ 'another' }}"}, "another"),
        ({"incremental": {"field": "{{ 'a..b' }}"}, "sink": "/data/"}, "path 'a..b'"),
        ({"incremental": {"field": "id", "knd": "{{ 'text' }}"}, "sink": "/data/"}, "did you mean 'kind'?"),
        ({"incremental": {"field": "{{ 'id' }}"}, "sink": "xcom"}, "Airflow stores an XCom after the task has ended"),
        ({"incremental": {"field": "{{ 'id' }}"}, "sink": "/data/"}, "the watermark needs a place"),
        (
            {"incremental": {"field": "id", "state_path": "/state/{{ '../../etc' }}/"}, "sink": "/data/"},
            "incremental: state_path '/state/../../etc/' leaves its base '/state/'",
        ),
        ({"data_selector": "meta"}, "leads to an object with the keys"),
        ({"data_selector": None}, "name the list in it with data_selector"),
        ({"partitions": [{"store": 1}, {"store": 1}]}, "partitions[1]"),
        ({"query": {"a": {"b": 1}}}, "query: 'a'"),
        ({"sink": FileSink("/data/{{ '../../etc' }}/")}, "sink: "),
        ({"pagination": PageNumber(total_path="meta.count")}, "total_path 'meta.count' matches nothing"),
        ({"limits": {"max_pages": 3}}, "limits.max_pages is 3"),
        ({"http_conn_id": "no_such_connection"}, "no_such_connection"),
    ],
)
def test_wrong_arguments_are_told_when_the_task_starts(
    run_operator: Run, connect: Connect, arguments: dict[str, Any], told: str
) -> None:
    with FaultServer(PagedApi(rows=100, page_size=10)) as server:
        outcome = run_operator(**{"http_conn_id": connect(server.url), **EMPLOYEES, **arguments})
    assert outcome.state == "failed"
    assert told in str(outcome.errors[0])
