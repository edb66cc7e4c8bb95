"""Airflow's own REST API: a token from the server, offsets, and a limit that the server caps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_paginated import Offset
from tests.airflow_runs import Outcome
from tests.real_servers.airflow_app import CREDENTIALS, variables
from tests.real_servers.rows import Rows, published
from tests.servers import ChildServer

Collect = Callable[..., Rows]
VARIABLES: dict[str, Any] = {
    "endpoint": "/api/v2/variables",
    "query": {"order_by": "id"},
    # It asks for more than the API serves at once, 100.
    "pagination": Offset(page_size=1_000, total_path="total_entries"),
    "data_selector": "variables",
}


@pytest.fixture(scope="module")
def server() -> Iterator[ChildServer]:
    with ChildServer(sys.executable, "-m", "tests.real_servers.airflow_app") as process:
        yield process


@pytest.fixture
def api(server: ChildServer, connect: Callable[..., str]) -> str:
    """Return the id of a connection with a token that the server gave."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(f"{server.url}/auth/token", json=CREDENTIALS, timeout=30)
    return connect(server.url, password=answer.json()["access_token"])


def test_variables(collect: Collect, api: str) -> None:
    assert collect(api, **VARIABLES) == variables()


def test_variables_become_a_dataset(api: str, run_operator: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = run_operator(http_conn_id=api, sink=f"{tmp_path}/out/", max_workers=16, **VARIABLES)
    assert outcome.state == "success"
    assert outcome.result["pages"] == 21
    assert published(tmp_path / "out") == variables()
