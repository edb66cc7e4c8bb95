"""fastapi-pagination: its pages, offsets, cursors and links."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_paginated import Cursor, HeaderLink, JsonLink, Offset, PageNumber
from tests.airflow_runs import Outcome
from tests.real_servers.rows import Rows, by_hiring, employees, published
from tests.servers import ChildServer

Collect = Callable[..., Rows]


@pytest.fixture(scope="module")
def server() -> Iterator[ChildServer]:
    with ChildServer(sys.executable, "-m", "tests.real_servers.fastapi_app") as process:
        yield process


@pytest.fixture
def api(server: ChildServer, connect: Callable[..., str]) -> str:
    return connect(server.url)


def test_page_numbers_with_the_number_of_pages(collect: Collect, api: str) -> None:
    pages = PageNumber(total_path="pages", total_kind="pages", page_size=100, page_size_param="size")
    assert collect(api, "/pages", pagination=pages, data_selector="items") == employees()


def test_offsets(collect: Collect, api: str) -> None:
    assert collect(api, "/offsets", pagination=Offset(total_path="total"), data_selector="items") == employees()


def test_cursors(collect: Collect, api: str) -> None:
    cursors = Cursor(cursor_path="next_page", page_size=100, page_size_param="size", total_path="total")
    assert collect(api, "/cursors", pagination=cursors, data_selector="items") == by_hiring()


@pytest.mark.parametrize("endpoint", ["/linked/pages", "/linked/offsets"])
def test_relative_links_in_the_body(collect: Collect, api: str, endpoint: str) -> None:
    links = JsonLink(next_url_path="links.next", total_path="total")
    assert collect(api, endpoint, pagination=links, data_selector="items") == employees()


def test_relative_links_in_the_header(collect: Collect, api: str) -> None:
    links = HeaderLink(page_size=20, page_size_param="size")
    assert collect(api, "/linked/headers", pagination=links, data_selector="items") == employees()


def test_cursors_become_a_dataset(api: str, run_operator: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = run_operator(
        http_conn_id=api,
        endpoint="/cursors",
        pagination={"type": "cursor", "cursor_path": "next_page", "total_path": "total"},
        data_selector="items",
        sink=f"{tmp_path}/out/",
        max_workers=16,
    )
    assert outcome.state == "success"
    assert published(tmp_path / "out") == by_hiring()
