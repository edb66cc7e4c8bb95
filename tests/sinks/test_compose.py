from __future__ import annotations

import tracemalloc
from dataclasses import replace

import pytest

from airflow_paginated.paging.completeness import Account
from airflow_paginated.sinks.files import segments
from tests.sinks.conftest import Lake
from tests.sinks.pages import Api, record_of, run_of

ROWS = Api(rows=2)


def peak_of_a_run(lake: Lake, pages: int, file_format: str) -> int:
    """Land and publish so many pages and return the peak of memory that Python allocated."""
    landing = ROWS.landing((0,), 0)
    record = record_of(landing)
    dataset = lake.open(f"{pages}/", run_of(str(pages)), file_format=file_format, part_bytes=20_000)
    tracemalloc.start()
    for index in range(pages):
        partition = (index % 10,)
        request = replace(record.request, partition=partition, index=index // 10)
        successor = replace(request, index=request.index + 1) if index + 10 < pages else ROWS.landing((0,), 5).successor
        dataset.land(replace(record, request=request, successor=successor), landing.page.lines)
    dataset.close()
    again = lake.open(f"{pages}/", run_of(str(pages)), file_format=file_format, part_bytes=20_000)
    account = Account(10, pages, pages * record.rows, pages * record.bytes, "total reached", ())
    result = again.publish(account)
    again.close()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result["pages"] == pages
    return peak


@pytest.mark.parametrize("file_format", ["jsonl", "jsonl.gz"])
def test_ten_times_the_pages_take_the_same_memory(
    local: Lake, monkeypatch: pytest.MonkeyPatch, file_format: str
) -> None:
    monkeypatch.setattr(segments, "OPEN_READERS", 4)
    peak_of_a_run(local, 10, file_format)
    small, large = (peak_of_a_run(local, pages, file_format) for pages in (1_000, 10_000))
    # The names of all parts are known at once.
    assert large < small + 300_000, (small, large)
