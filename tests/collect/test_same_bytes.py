"""The published files depend on what the API holds: not on the faults on the way, nor on how many fetch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_paginated import Offset, PageNumber
from airflow_paginated.pagination.protocols import Pagination
from tests.collect.disk import folder_of, leftovers, manifest, proved
from tests.collect.running import Job, collect
from tests.servers import PagedApi, ServerProcess

ROWS = 5_000

STORES = {"north": 700, "south": 0, "west": 1_101}

SEVEN = {"type": "seven_faults", "rate": 0.1}

PARTITIONS = [{"store": store} for store in STORES]


@pytest.fixture(scope="module")
def whole() -> Iterator[ServerProcess]:
    """1,000 pages."""
    with ServerProcess({"api": {"rows": ROWS, "page_size": 5}}) as server:
        yield server


@pytest.fixture(scope="module")
def stores() -> Iterator[ServerProcess]:
    """Three partitions, one of them empty."""
    with ServerProcess({"api": {"rows": STORES, "page_size": 10}}) as server:
        yield server


def data_files(job: Job) -> Mapping[str, bytes]:
    """Return the published files of a run that left nothing else."""
    said = manifest(job.path)
    assert said is not None
    assert leftovers(job.path) == set()
    proved(job.path)
    return {file["path"]: (folder_of(job.path) / file["path"]).read_bytes() for file in said["files"]}


def compare(server: ServerProcess, calm: Job, stormy: Sequence[Job]) -> Mapping[str, Any]:
    """Run without faults, then with them; return the last result."""
    server.set_faults(None)
    collect(calm)
    for seed, job in enumerate(stormy):
        server.reset()
        server.set_faults({**SEVEN, "seed": seed})
        result = collect(job)
        assert data_files(job) == data_files(calm)
        said, reference = manifest(job.path), manifest(calm.path)
        volatile = {"created", "owner"}
        assert said is not None
        assert reference is not None
        assert {key: said[key] for key in said if key not in volatile} == {
            key: reference[key] for key in reference if key not in volatile
        }
    return result


@pytest.mark.parametrize(
    ("pagination", "target", "options"),
    [
        pytest.param(PageNumber(total_path="meta.total"), "out/", {"part_bytes": 100_000}, id="numbers, folder"),
        pytest.param(Offset(page_size=5, total_path="meta.total"), "out/rows.jsonl", {}, id="offsets, one file"),
    ],
)
def test_1000_pages_through_seven_kinds_of_faults(
    whole: ServerProcess, tmp_path: Path, pagination: Pagination, target: str, options: Mapping[str, Any]
) -> None:
    calm = Job(url=whole.url, path=f"{tmp_path}/calm/{target}", pagination=pagination, workers=1, sink=options)
    stormy = replace(calm, path=f"{tmp_path}/stormy/{target}", workers=16)
    result = compare(whole, calm, [stormy])
    seen = whole.summary()
    assert result["pages"] == 1000
    assert proved(stormy.path) == PagedApi(rows=ROWS).reference()
    assert len(seen.faults) == 7
    assert 70 <= sum(seen.faults.values()) <= 150
    assert result["retries"] == sum(seen.faults.values())
    assert seen.peak_connections <= 16


@pytest.mark.parametrize(
    ("pagination", "target", "options"),
    [
        pytest.param(PageNumber(total_path="meta.total"), "out/rows.jsonl.gz", {}, id="numbers, one zipped file"),
        pytest.param(PageNumber(stop_after_empty_page=True), "out/", {"part_bytes": 1}, id="no total, a part a page"),
        pytest.param(Offset(page_size=10, has_more_path="has_more"), "out/", {}, id="offsets and a flag, one part"),
    ],
)
def test_partitions_and_any_number_of_workers(
    stores: ServerProcess, tmp_path: Path, pagination: Pagination, target: str, options: Mapping[str, Any]
) -> None:
    calm = Job(
        url=stores.url,
        path=f"{tmp_path}/calm/{target}",
        pagination=pagination,
        partitions=PARTITIONS,
        workers=1,
        sink=options,
    )
    stormy = [replace(calm, path=f"{tmp_path}/{workers}/{target}", workers=workers) for workers in (2, 7, 16)]
    compare(stores, calm, stormy)


def test_partitions_are_published_in_the_order_they_are_given(stores: ServerProcess, tmp_path: Path) -> None:
    stores.set_faults({**SEVEN, "seed": 4})
    order = ["west", "south", "north"]
    partitions = [{"store": store} for store in order]
    job = Job(url=stores.url, path=f"{tmp_path}/out/", partitions=partitions)
    collect(job)
    assert proved(job.path) == PagedApi(rows=STORES).reference(order)
