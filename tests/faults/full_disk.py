"""A run on a disk that is too small, then the next try on one that is larger: ``full_disk.py URL DISK STORE``.

It is run where the disk is mounted, and prints what it found as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from airflow_paginated.core.errors import PaginatedApiError
from tests.collect.disk import landed, leftovers, proved, published
from tests.collect.running import Job, collect


def found(url: str, disk: str, store: str) -> dict[str, Any]:
    job = Job(url=url, path=f"{disk}/out/", partitions=[{"store": store}])
    error = None
    try:
        collect(job)
    except PaginatedApiError as exc:
        error = exc
    before = {
        "error": type(error).__name__,
        "text": str(error),
        "visible": published(job.path) is not None,
        "temporary": [str(path) for path in Path(disk).rglob("*.tmp")],
        "landed": sum(stored.pages for stored in landed(job.staging).values()),
    }
    subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
    resumed = collect(job)["resumed_pages"]
    return {**before, "resumed": resumed, "rows": proved(job.path).decode(), "leftovers": sorted(leftovers(job.path))}


if __name__ == "__main__":
    print(json.dumps(found(*sys.argv[1:])))
