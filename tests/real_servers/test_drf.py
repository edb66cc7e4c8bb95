"""Django REST framework: its paginations, its token, its throttle."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_paginated import JsonLink, Offset, PageNumber
from airflow_paginated.core.errors import RequestRefused
from airflow_paginated.hooks.paginated_api import PaginatedApiHook
from tests.airflow_runs import Outcome
from tests.real_servers.drf_app import TOKEN
from tests.real_servers.rows import Rows, by_hiring, employees, published
from tests.servers import ChildServer

Collect = Callable[..., Rows]


@pytest.fixture(scope="module")
def server() -> Iterator[ChildServer]:
    with ChildServer(sys.executable, "-m", "tests.real_servers.drf_app") as process:
        yield process


@pytest.fixture
def api(server: ChildServer, connect: Callable[..., str]) -> str:
    """Return the id of a connection that sends the token as this framework wants it."""
    return connect(server.url, extra=json.dumps({"headers": {"Authorization": f"Token {TOKEN}"}}))


def test_page_numbers(collect: Collect, api: str) -> None:
    pages = PageNumber(total_path="count", page_size=100, page_size_param="page_size")
    assert collect(api, "/pages/", pagination=pages, data_selector="results") == employees()


def test_page_numbers_until_one_is_not_found(collect: Collect, api: str) -> None:
    pages = PageNumber(stop_after_empty_page=True, page_size=100, page_size_param="page_size")
    end = {"response_actions": [{"status": 404, "path": "detail", "equals": "Invalid page.", "action": "END"}]}
    assert collect(api, "/pages/", pagination=pages, data_selector="results", response=end) == employees()


def test_offsets_where_the_server_caps_the_limit(collect: Collect, api: str) -> None:
    offsets = Offset(total_path="count", page_size=500)
    assert collect(api, "/offsets/", pagination=offsets, data_selector="results") == employees()


@pytest.mark.parametrize("endpoint", ["/pages/?page_size=100", "/offsets/?limit=50"])
def test_links_of_numbered_pages(collect: Collect, api: str, endpoint: str) -> None:
    links = JsonLink(next_url_path="next", total_path="count")
    assert collect(api, endpoint, pagination=links, data_selector="results") == employees()


@pytest.mark.parametrize("collect", [16], indirect=True)
def test_links_with_cursors_in_an_order_that_rows_share_a_place_in(collect: Collect, api: str) -> None:
    # Smaller than the number of rows that share a place: cursors with offsets, and pages without a place of their own.
    links = JsonLink(page_size=5, page_size_param="page_size")
    assert collect(api, "/cursors/", pagination=links, data_selector="results") == by_hiring()


def test_a_throttle_that_refuses_is_waited_for(
    server: ChildServer, api: str, run_operator: Callable[..., Outcome], tmp_path: Path
) -> None:
    outcome = run_operator(
        http_conn_id=api,
        endpoint="/throttled/",
        pagination=PageNumber(total_path="count"),
        data_selector="results",
        sink=f"{tmp_path}/out/",
        max_workers=16,
    )
    with PaginatedApiHook(api).get_conn() as session:
        refused = session.get(f"{server.url}/refused/", timeout=30).json()
    assert outcome.state == "success"
    assert published(tmp_path / "out") == employees()
    assert outcome.result["retries"] == refused >= 1
    assert outcome.result["throttled_seconds"] >= 1


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Token 0"}, {"Authorization": f"Bearer {TOKEN}"}])
def test_a_wrong_token_is_refused(server: ChildServer, connect: Callable[..., str], headers: dict[str, Any]) -> None:
    hook = PaginatedApiHook(connect(server.url, extra=json.dumps({"headers": headers})))
    with pytest.raises(RequestRefused, match="401 Unauthorized: check the credentials"):
        list(hook.rows("/pages/", pagination=PageNumber(total_path="count"), data_selector="results"))
