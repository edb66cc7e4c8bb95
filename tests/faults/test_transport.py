"""Faults between the API's program and ours: connections, framing, codings, time."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_paginated.paging.errors import PaginatedApiError
from tests.faults.endings import exact, refused
from tests.pipeline.collect import Job
from tests.servers import (
    CloseBeforeHeaders,
    Fault,
    FaultServer,
    PagedApi,
    ResetBeforeHeaders,
    mixed,
    on_page,
)

API = PagedApi(rows=1_000)


@pytest.mark.fault("T1")
@pytest.mark.parametrize("fault", [ResetBeforeHeaders(), CloseBeforeHeaders()], ids=repr)
def test_nothing_comes_back(fault: Fault, tmp_path: Path) -> None:
    with FaultServer(API, mixed([fault], 0.3)) as server:
        result = exact(Job(url=server.url, path=f"{tmp_path}/out/"), API)
    assert result["retries"] > 0
    with FaultServer(API, on_page(5, fault)) as server:
        refused(Job(url=server.url, path=f"{tmp_path}/never/"), PaginatedApiError)
