"""How all of these tests collect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_paginated.hooks.paginated_api import PaginatedApiHook
from tests.real_servers.rows import Rows


@pytest.fixture(params=[1, 16], ids=["1 worker", "16 workers"])
def collect(request: pytest.FixtureRequest) -> Callable[..., Rows]:
    """Return a function that reads all rows of an endpoint through the hook, with one worker and with many."""

    def rows(conn_id: str, endpoint: str, response: Any = None, **options: Any) -> Rows:
        return list(PaginatedApiHook(conn_id, max_workers=request.param, response=response).rows(endpoint, **options))

    return rows
