"""Memory does not grow with the number of pages."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest

from airflow_paginated import Page, PageNumber, PageRequest, RowsOf
from airflow_paginated.collect.collection import Collection
from airflow_paginated.collect.collector import Collector
from airflow_paginated.collect.scheduler import Window
from airflow_paginated.sinks import AddColumns, FileSink
from airflow_paginated.sinks.files.file_sink import local_or_fsspec
from airflow_paginated.sinks.protocol import Dataset, Owner, Run
from airflow_paginated.sinks.rows import Columns, RowFunctions
from airflow_paginated.transport import PageClient
from tests.collect.api import Api
from tests.collect.core import Case, Fate, Wire, task
from tests.collect.running import Job, collect
from tests.collect.tries import Try
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


@dataclass(frozen=True)
class Parents:
    """Orders without end, made while they are read."""

    count: int
    name: str = "orders/_manifest.json"
    digest: str = "0123456789abcdef"
    complete: bool = True

    def blocks(self) -> Iterator[bytes]:
        for start in range(0, self.count, 100):
            numbers = range(start, min(start + 100, self.count))
            yield b"".join(b'{"id":%d,"note":"%b"}\n' % (number, b"x" * 100) for number in numbers)


def items(request: PageRequest) -> Page:
    number = int(request.path.split("/")[2])
    rows = [b'{"item":%d}' % (1000 * number + each) for each in range(number * 7 % 4)]
    return Page.of(request, rows, envelope={"total": len(rows)})


def test_the_heap_is_flat_however_many_partitions(tmp_path: Path) -> None:
    peaks = []
    for count in (500, 4_000):
        partitions = RowsOf("orders/_manifest.json", ["id"]).resolved(lambda path, count=count: Parents(count))  # type: ignore[misc]  # a lambda with a default
        collection = Collection(
            request=PageRequest("/orders/{id}/items"), pagination=PageNumber(total_path="total"), partitions=partitions
        )
        rows = RowFunctions(add=Columns(AddColumns({"order": "partition.id"}), collection.parameter_sets))
        run = Run(Owner("dag", "items", "run"), collection.plan("https://api", "api"), collection.request, rows=rows)
        sink = FileSink(f"{tmp_path}/{count}/rows.jsonl").resolved(local_or_fsspec)
        tracemalloc.start()
        try:
            with closing(cast(Dataset, sink.open(run))) as dataset:
                client = cast(PageClient, Wire(items))
                Collector(collection=collection, client=client, dataset=dataset, workers=4, window=Window(16)).run()
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert (tmp_path / str(count) / "rows.jsonl").read_bytes().count(b"\n") == count * 3 // 2
    print(f"peak heap: {peaks[0] / MIB:.2f} MiB with 500 partitions, {peaks[1] / MIB:.2f} MiB with 4,000")
    assert peaks[1] - peaks[0] < MIB


def peak_of_children(tmp_path: Path, orders: int) -> int:
    """Return the peak memory, in bytes, of a process that collects the items of so many orders."""
    family = {"orders": orders, "page_size": 1000, "items_page_size": 100}
    with ServerProcess({"family": family}) as server:
        parents = Job(url=server.url, path=f"{tmp_path}/{orders}-orders/", request=PageRequest("/orders"))
        job = Job(
            url=server.url,
            path=f"{tmp_path}/{orders}-items/",
            request=PageRequest("/orders/{id}/items"),
            partitions=RowsOf(collect(parents)["manifest"], ["id"]),
            add_columns=AddColumns({"order": "partition.id"}),
        )
        with Try(job) as running:
            outcome = running.wait(patience=3600)
    assert outcome.result is not None, outcome.text
    assert (outcome.result["pages"], outcome.result["rows"]) == (orders, orders * 3 // 2)
    return outcome.peak_kib * 1024


@pytest.mark.slow
def test_a_process_needs_the_same_for_100000_parents_as_for_1000(tmp_path: Path) -> None:
    few, many = peak_of_children(tmp_path, 1_000), peak_of_children(tmp_path, 100_000)
    print(f"peak: {few / MIB:.1f} MiB with 1,000 parents, {many / MIB:.1f} MiB with 100,000")
    assert few < 150 * MIB
    assert many - few < 30 * MIB
