from __future__ import annotations

import json
import threading
import tracemalloc
import zlib
from dataclasses import replace
from hashlib import sha256

import pytest

from airflow_paginated.core.errors import Cancelled
from airflow_paginated.core.values import CollectionReport
from airflow_paginated.sinks.files import compose, segments
from tests.sinks.conftest import Lake
from tests.sinks.pages import Api, collect, record_of, run_of
from tests.sinks.reading import parts, published

ROWS = Api(rows=2)
MANY = Api(pages=60)


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
        dataset.store_page(replace(record, request=request, successor=successor), landing.page.lines)
    dataset.close()
    again = lake.open(f"{pages}/", run_of(str(pages)), file_format=file_format, part_bytes=20_000)
    report = CollectionReport(10, pages, pages * record.rows, pages * record.bytes, "total reached", ())
    result = again.publish(report)
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


@pytest.mark.parametrize("file_format", ["jsonl", "jsonl.gz"])
@pytest.mark.parametrize("part_bytes", [15_000, 100_000])
def test_the_manifest_knows_the_digest_of_what_lies_there(
    near: Lake, monkeypatch: pytest.MonkeyPatch, file_format: str, part_bytes: int
) -> None:
    monkeypatch.setattr(compose, "COMPOSE_BLOCK_BYTES", 2_000)
    collect(near.open(file_format=file_format, part_bytes=part_bytes), MANY)
    listed = json.loads(near.files()["_manifest.json"])["files"]
    found = parts(near)
    assert len(listed) == (1 if part_bytes > len(MANY.lines()) else 3)
    assert {file["path"]: (file["bytes"], file["sha256"]) for file in listed} == {
        name: (len(data), sha256(data).hexdigest()) for name, data in found.items()
    }
    unzipped = (zlib.decompress(found[file["path"]], 31) for file in listed)
    assert (b"".join(unzipped) if file_format == "jsonl.gz" else published(near)) == MANY.lines()


@pytest.mark.parametrize("steps", [4, 30, 55])
def test_a_stop_between_two_pages_leaves_no_thread_and_no_file(
    near: Lake, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    monkeypatch.setattr(compose, "COMPOSE_BLOCK_BYTES", 2_000)
    asked = 0

    def check_cancelled() -> None:
        nonlocal asked
        asked += 1
        if asked > steps:
            raise Cancelled("the run was told to stop")

    before = threading.active_count()
    with pytest.raises(Cancelled):
        collect(near.open(run=run_of(check_cancelled=check_cancelled)), MANY)
    assert threading.active_count() == before
    assert parts(near) == {}
    assert not [name for name in near.files() if name.endswith(".tmp")]
    collect(near.open(), MANY)
    assert published(near) == MANY.lines()
