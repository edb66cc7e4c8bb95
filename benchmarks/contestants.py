"""The contestants, each run as a child process: ``python -m benchmarks.contestants JOB``.

Every one collects ``/employees`` page by page into a JSON Lines file. Imports happen before the clocks start.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measure import Figures, Job, Result, measured
from tests.servers import FaultServer, PagedApi


def recipe(job: Job) -> Figures:
    """The plain recipe: W sessions with urllib3's Retry, page i on session i % W, as_completed, ``.json()``."""
    from concurrent.futures import ThreadPoolExecutor, as_completed

    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    def new_session() -> requests.Session:
        session = requests.Session()
        retry = Retry(total=5, backoff_factor=0.5, status_forcelist=[429, 500, 502, 503, 504])
        session.mount("http://", HTTPAdapter(max_retries=retry))
        return session

    def work() -> int:
        lost = 0
        sessions = [new_session() for _ in range(job.workers)]

        def fetch(page: int) -> Any:
            response = sessions[page % job.workers].get(f"{job.url}/employees", params={"page": page}, timeout=60)
            response.raise_for_status()
            return response.json()

        first = fetch(1)
        with (Path(job.folder) / "rows.jsonl").open("w") as file, ThreadPoolExecutor(job.workers) as pool:
            file.writelines(json.dumps(row) + "\n" for row in first["data"])
            futures = [pool.submit(fetch, page) for page in range(2, first["meta"]["total_pages"] + 1)]
            for future in as_completed(futures):
                try:
                    rows = future.result()["data"]
                except (requests.RequestException, ValueError) as exc:
                    print(exc, file=sys.stderr)  # what makes the recipe lose pages: it goes on
                    lost += 1
                    continue
                file.writelines(json.dumps(row) + "\n" for row in rows)
        return lost

    return measured(work, lambda lost: _checked(job, lost))


def http_operator(job: Job) -> Figures:
    """Airflow's HttpOperator with a pagination function, its rows written by the next statement."""
    from airflow.providers.http.operators.http import HttpOperator

    def following(response: Any) -> dict[str, Any] | None:
        meta = response.json()["meta"]
        return {"data": {"page": meta["page"] + 1}} if meta["page"] < meta["total_pages"] else None

    operator = HttpOperator(
        task_id="collect",
        http_conn_id=job.conn,
        endpoint="/employees",
        method="GET",
        data={"page": 1},
        pagination_function=following,
        response_filter=lambda responses: [row for response in responses for row in response.json()["data"]],
    )

    def work() -> int:
        rows = operator.execute({})
        with (Path(job.folder) / "rows.jsonl").open("w") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        return 0

    return measured(work, lambda lost: _checked(job, lost))


def ours(job: Job) -> Figures:
    """PaginatedApiOperator into a folder: staged, composed, accounted and committed."""
    from benchmarks.ours import make_work

    return measured(make_work(job), lambda lost: _checked(job, lost))


def _checked(job: Job, lost: int) -> Result:
    """Compare every data file of the folder, in the order of their names, with the reference."""
    found, rows = hashlib.sha256(), 0
    for path in sorted(Path(job.folder).rglob("*.jsonl")):
        with path.open("rb") as file:
            for line in file:
                found.update(line)
                rows += 1
    wanted = hashlib.sha256()
    for line in PagedApi(rows=job.stores or job.pages * 100).reference_lines():
        wanted.update(line)
    return Result(rows, found.digest() == wanted.digest(), lost)


CONTESTANTS: dict[str, Callable[[Job], Figures]] = {"recipe": recipe, "http_operator": http_operator, "ours": ours}


def main(job: Job) -> Figures:
    """Do a job of two pages, so that late imports are done and connections resolved, and then the real one."""
    with FaultServer(PagedApi(rows=200)) as server, TemporaryDirectory(prefix="bench-first-") as folder:
        os.environ["AIRFLOW_CONN_FIRST"] = server.url
        first = CONTESTANTS[job.contestant](
            replace(job, url=server.url, pages=2, chains=0, folder=folder, conn="first")
        )
    return replace(CONTESTANTS[job.contestant](job), first=first.wall)


if __name__ == "__main__":
    figures = main(Job(**json.loads(sys.argv[1])))
    print("\n" + json.dumps(asdict(figures)))
