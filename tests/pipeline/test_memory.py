"""Memory does not grow with the number of pages."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

from airflow_paginated.paging import PageNumber
from tests.paging.api import Api
from tests.pipeline.collect import Job
from tests.pipeline.core import Case, Fate, task
from tests.pipeline.tries import Try
from tests.servers import ServerProcess

MIB = 1024 * 1024


def peak_of(server: ServerProcess, path: str, pages: int) -> int:
    """Return the peak memory, in bytes, of a process that collects so many pages."""
    by_page = PageNumber(total_path="meta.total", page_size=100, page_size_param="per_page")
    job = Job(url=server.url, path=path, pagination=by_page, partitions=[{"store": str(pages)}])
    with Try(job) as running:
        outcome = running.wait()
    assert outcome.result is not None, outcome.text
    assert outcome.result["pages"] == pages
    return outcome.peak_kib * 1024


def test_a_process_needs_the_same_for_10000_pages_as_for_1000(tmp_path: Path) -> None:
    # 100 rows a page, some 22 kB.
    stores = {"1000": 100_000, "10000": 1_000_000}
    with ServerProcess({"api": {"rows": stores}}) as server:
        few = peak_of(server, f"{tmp_path}/few/", 1_000)
        many = peak_of(server, f"{tmp_path}/many/", 10_000)
    print(f"peak: {few / MIB:.1f} MiB with 1,000 pages, {many / MIB:.1f} MiB with 10,000")
    # A process of its own, not one that inherited the peak of the test's.
    assert few < 150 * MIB
    assert many - few < 20 * MIB


def test_the_heap_of_the_core_is_flat() -> None:
    api = Api(tables=[0], page_size=2, row_bytes=500)
    peaks = []
    for pages in (300, 3_000):
        case = Case(api=replace(api, tables=[2 * pages]), pagination=PageNumber(total_path="meta.total"))
        with task(one_file=True) as made:
            tracemalloc.start()
            try:
                assert made.die(case, Fate("landing", 0)) is not None
                peaks.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()
    print(f"peak heap: {peaks[0] / MIB:.1f} MiB with 300 pages, {peaks[1] / MIB:.1f} MiB with 3,000")
    assert peaks[1] - peaks[0] < 2 * MIB
