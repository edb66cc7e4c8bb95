"""json-server 0.17: numbered pages and offsets, the total in a header; rows as it prints them, compressed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_paginated.paging import Offset, PageNumber
from tests.airflow_runs import Outcome
from tests.real_servers.rows import Rows, employees, published
from tests.servers import ChildServer
from tests.servers.process import ROOT

Collect = Callable[..., Rows]
NODE = shutil.which("node") or ""
pytestmark = pytest.mark.skipif(
    not (NODE and (ROOT / ".node/node_modules/json-server").is_dir()),
    reason="json-server is not there: .ci/install-node-packages installs it where npm is",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChildServer]:
    tables = tmp_path_factory.mktemp("json-server") / "db.json"
    tables.write_text(json.dumps({"employees": employees()}))
    with ChildServer(NODE, "tests/real_servers/json_server.js", str(tables)) as process:
        yield process


@pytest.fixture
def api(server: ChildServer, connect: Callable[..., str]) -> str:
    return connect(server.url)


def test_page_numbers(collect: Collect, api: str) -> None:
    pages = PageNumber(page_param="_page", page_size=100, page_size_param="_limit", total_header="X-Total-Count")
    assert collect(api, "/employees", pagination=pages) == employees()


def test_offsets(collect: Collect, api: str) -> None:
    offsets = Offset(offset_param="_start", limit_param="_limit", total_header="X-Total-Count")
    assert collect(api, "/employees", pagination=offsets) == employees()


def test_pages_become_a_dataset(api: str, run_operator: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = run_operator(
        http_conn_id=api,
        endpoint="/employees",
        pagination={"type": "page_number", "page_param": "_page", "total_header": "X-Total-Count"},
        sink=f"{tmp_path}/out/",
        max_workers=16,
    )
    assert outcome.state == "success"
    assert outcome.result["pages"] == 202
    assert published(tmp_path / "out") == employees()
