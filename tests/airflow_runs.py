"""Airflow for real: its own database, its own task runner, in this process."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow.sdk import DAG


@dataclass
class Outcome:
    """How a task of a finished run ended."""

    state: str
    result: Any
    try_number: int
    errors: list[BaseException] = field(default_factory=list)
    """The exception of each try that failed, oldest first."""


@pytest.fixture(scope="session")
def database() -> None:
    """Make the metadata database."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.utils.db import initdb

    initdb()
    DagBundlesManager().sync_bundles_to_db()


@pytest.fixture
def run_dag(database: None) -> Callable[..., Any]:
    """Return a function that runs a DAG through Airflow and returns the finished run."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    def run(dag: DAG, **options: Any) -> Any:
        bag = DagBag(dag_folder=os.devnull)
        bag.bag_dag(dag)
        sync_bag_to_db(bag, "dags-folder", None)
        return dag.test(**options)

    return run


@pytest.fixture
def run_operator(run_dag: Callable[..., Any], request: pytest.FixtureRequest) -> Callable[..., Outcome]:
    """Return a function that runs one operator in its own DAG; rows go to XCom by default; ``when`` repeats a run."""

    from airflow.sdk import DAG

    from airflow_paginated.operators.paginated_api import PaginatedApiOperator

    def run(*, when: datetime | None = None, retries: int = 0, sink: Any = "xcom", **arguments: Any) -> Outcome:
        errors: list[BaseException] = []

        def keep(context: Any) -> None:
            errors.append(context["exception"])

        with DAG(re.sub(r"\W+", ".", request.node.name), schedule=None) as dag:
            PaginatedApiOperator(
                task_id="collect",
                retries=retries,
                retry_delay=timedelta(0),
                sink=sink,
                on_failure_callback=keep,
                on_retry_callback=keep,
                **arguments,
            )
        ended = run_dag(dag, **({"run_after": when, "logical_date": when} if when else {}))
        task = ended.get_task_instance("collect")
        result = task.xcom_pull(task_ids="collect", run_id=ended.run_id)
        return Outcome(str(task.state), result, task.try_number, errors)

    return run


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that makes a connection to a URL and returns its id."""

    def connection(url: str, conn_type: str = "paginated_api", **fields: Any) -> str:
        monkeypatch.setenv("AIRFLOW_CONN_TEST_API", json.dumps({"conn_type": conn_type, "host": url, **fields}))
        return "test_api"

    return connection
