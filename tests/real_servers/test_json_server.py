"""json-server 0.17: numbers, offsets, keys and ranges; total and links in headers; compressed, one field a line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_paginated import HeaderLink, Keyset, Offset, PageNumber, Sliced
from tests.airflow_runs import Outcome
from tests.real_servers.rows import Rows, employees, published
from tests.servers import ChildServer
from tests.servers.process import ROOT

Collect = Callable[..., Rows]
OFFSETS = Offset(offset_param="_start", limit_param="_limit", total_header="X-Total-Count")
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
    assert collect(api, "/employees", pagination=OFFSETS) == employees()


def test_page_numbers_until_an_empty_page(collect: Collect, api: str) -> None:
    pages = PageNumber(page_param="_page", page_size=100, page_size_param="_limit", stop_after_empty_page=True)
    assert collect(api, "/employees", pagination=pages) == employees()


def test_links_in_the_header(collect: Collect, api: str) -> None:
    links = HeaderLink(page_size=20, page_size_param="_limit", total_header="X-Total-Count")
    assert collect(api, "/employees?_page=1", pagination=links) == employees()


def test_keys_that_include_the_row_itself(collect: Collect, api: str) -> None:
    keys = Keyset(key_path="id", key_param="id_gte", inclusive=True, page_size=50, page_size_param="_limit")
    assert collect(api, "/employees", query={"_sort": "id"}, pagination=keys) == employees()


def test_ranges_of_a_table_that_is_too_large(api: str, run_operator: Callable[..., Outcome], tmp_path: Path) -> None:
    ranges = Sliced(
        pagination=OFFSETS, from_param="id_gte", to_param="id_lte", to_inclusive=True, start=0, end=9_999, max_rows=200
    )
    outcome = run_operator(
        http_conn_id=api,
        endpoint="/employees",
        query={"_sort": "id"},
        pagination=ranges,
        sink=f"{tmp_path}/out/",
        max_workers=16,
    )
    assert outcome.state == "success"
    assert published(tmp_path / "out") == employees()


def test_links_become_a_dataset(api: str, run_operator: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = run_operator(
        http_conn_id=api,
        endpoint="/employees",
        query={"_page": 1},
        pagination={"type": "header_link", "total_header": "X-Total-Count"},
        sink=f"{tmp_path}/out/",
        max_workers=16,
    )
    assert outcome.state == "success"
    assert outcome.result["pages"] == 202
    assert published(tmp_path / "out") == employees()
