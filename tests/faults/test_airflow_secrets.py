"""A secret in Airflow: not in its logs, its database, its rendered fields, its XCom, nor in what a task leaves."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_paginated import JsonLink, PageNumber
from airflow_paginated.sinks import FileSink
from tests.airflow_runs import Outcome
from tests.faults.canary import CANARY, CORE, LOGIN, hits, left_in, listening, told_by
from tests.faults.test_canary import API, asks_for, echo, repeating
from tests.servers import FaultServer, Given, Reply

Run = Callable[..., Outcome]
Connect = Callable[..., str]
BY_PAGES = PageNumber(total_path="meta.total")
"""Credentials of a connection, and what a task has besides."""
AUTH_TYPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "basic": ({"login": LOGIN, "password": CANARY}, {}),
    "bearer": ({"password": CANARY}, {}),
    "headers": ({"extra": {"headers": {"X-Api-Key": CANARY}}}, {}),
    "the query, from the connection": (
        {"login": LOGIN, "password": CANARY},
        {"query": {"api_key": "{{ conn.test_api.password }}", "q": "x {{ conn.test_api.password }}"}},
    ),
    "a header, from the connection": (
        {"password": CANARY},
        {"headers": {"X-Api-Key": "{{ conn.test_api.password }}"}},
    ),
}


@pytest.fixture
def heard(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[str]]]:
    """Yield what returns the lines of all logs and outputs that show the canary."""
    with listening() as witness:

        def told() -> list[str]:
            printed = capfd.readouterr()
            assert "collect" in printed.out + printed.err + "".join(witness.records)
            return [*witness.hits(), *(line for line in (printed.out + printed.err).splitlines() if hits(line))]

        yield told


def stored() -> list[str]:
    """Return the files of Airflow's own that hold the canary: the database, logs of tasks, anything."""
    return left_in(Path(os.environ["AIRFLOW_HOME"]))


@pytest.mark.fault("S8")
@pytest.mark.parametrize("kind", AUTH_TYPES)
def test_a_task_that_succeeds(
    kind: str,
    run_operator: Run,
    connect: Connect,
    heard: Callable[[], list[str]],
    tmp_path: Path,
) -> None:
    fields, task = AUTH_TYPES[kind]
    with FaultServer(repeating) as server:
        outcome = run_operator(
            http_conn_id=connect(server.url, **_written(fields)),
            endpoint="/employees",
            pagination=JsonLink(),
            data_selector="data",
            sink=FileSink(f"{tmp_path}/out/"),
            **task,
        )
        sent = [seen.request for seen in server.log.requests]
    assert outcome.state == "success"
    assert all(hits(f"{each.target} {each.headers}") for each in sent)
    assert CORE not in repr(outcome.result)
    assert heard() == []
    assert left_in(tmp_path) == []
    assert stored() == []


@pytest.mark.fault("S8")
@pytest.mark.parametrize("kind", AUTH_TYPES)
def test_a_task_that_fails(
    kind: str, run_operator: Run, connect: Connect, heard: Callable[[], list[str]], tmp_path: Path
) -> None:
    fields, task = AUTH_TYPES[kind]
    with FaultServer(API) as server:
        server.faults = lambda request, nth: Given(500, echo(request).encode()) if nth == 1 else None
        server.app = lambda request: Reply(echo(request).encode(), 403) if asks_for(3)(request) else API(request)
        outcome = run_operator(
            http_conn_id=connect(server.url, **_written(fields)),
            endpoint="/employees",
            pagination=BY_PAGES,
            data_selector="data",
            sink=FileSink(f"{tmp_path}/out/"),
            retries=1,
            **task,
        )
    assert outcome.state == "failed"
    assert len(outcome.errors) == 1
    assert told_by(outcome.errors[0]) == []
    assert heard() == []
    assert left_in(tmp_path) == []
    assert stored() == []


@pytest.mark.fault("S9")
@pytest.mark.parametrize("name", ["{{ ['..', '..', 'etc'] | join('/') }}", "{{ '/etc' }}", "{{ 'a\\\\b' }}"])
def test_a_name_that_leads_astray(name: str, run_operator: Run, connect: Connect, tmp_path: Path) -> None:
    with FaultServer(API) as server:
        outcome = run_operator(
            http_conn_id=connect(server.url),
            endpoint="/employees",
            pagination=BY_PAGES,
            data_selector="data",
            sink=f"{tmp_path}/lake/{name}/",
            retries=2,
        )
        assert server.log.requests == ()
    assert (outcome.state, outcome.try_number) == ("failed", 1)
    assert "leaves its base" in str(outcome.errors[0])
    assert list(tmp_path.iterdir()) == []


def _written(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: json.dumps(each) if name == "extra" else each for name, each in fields.items()}
