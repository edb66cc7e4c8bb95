"""Our contestant: the operator's own ``execute``, without a scheduler around it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from airflow_paginated import Cursor, PageNumber
from airflow_paginated.operators.paginated_api import PaginatedApiOperator
from airflow_paginated.sinks import FileSink
from benchmarks.measure import Job


def _context() -> Any:
    """Return what ``execute`` reads of a task run."""
    run = SimpleNamespace(run_id="bench")
    ti = SimpleNamespace(dag_id="bench", task_id="collect", run_id="bench", map_index=-1, try_number=1)
    return {"ti": ti, "task_instance": ti, "dag_run": run, "run_id": "bench", "ts": "2024-01-01T00:00:00+00:00"}


def make_work(job: Job) -> Callable[[], int]:
    """Return the work: one execution into the job's folder; no page can be lost, it would fail instead."""
    by_page = PageNumber(page_param="page", page_size=100, total_path="meta.total_pages", total_kind="pages")
    by_cursor = Cursor(cursor_path="meta.next", cursor_param="page")
    operator = PaginatedApiOperator(
        task_id="collect",
        http_conn_id=job.conn,
        endpoint="/employees",
        pagination=by_cursor if job.chains else by_page,
        partitions=[{"store": store} for store in job.stores] or None,
        data_selector="data",
        sink=FileSink(f"{job.folder}/dataset/"),
        max_workers=job.workers,
    )

    def work() -> int:
        operator.execute(_context())
        return 0

    return work
