from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_paginated.core.values import PageRecord, PageRequest, Split
from airflow_paginated.sinks.files import frames
from airflow_paginated.sinks.files.index import PageIndex
from airflow_paginated.sinks.files.segments import SegmentId
from tests.sinks.pages import BASE, Api, record_of

ROOT = Path(__file__).resolve().parents[2]
API = Api(pages=4)
partitions = st.sampled_from([(0,), (1,), (0, 0), (0, 1), (2**40, 3)])
puts = st.tuples(st.just("put"), partitions, st.integers(0, 3), st.integers(1, 3))
cuts = st.tuples(st.just("cut"), partitions, st.integers(0, 3), st.integers(1, 3))
restarts = st.tuples(st.just("restart"), partitions, st.just(0), st.just(0))
splits = st.tuples(st.just("split"), partitions, st.just(0), st.integers(1, 3))


@pytest.fixture
def index() -> Iterator[PageIndex]:
    index = PageIndex(BASE)
    yield index
    index.close()


FIRST = SegmentId(1, 0)


def put(index: PageIndex, record: PageRecord, segment: SegmentId = FIRST, offset: int = 0) -> None:
    header = frames.header_of(record, BASE, 1.5)
    index.put(header, frames.encode(header), segment, offset)


@settings(deadline=None, max_examples=50)
@given(st.lists(puts | cuts | restarts | splits, max_size=30))
def test_the_index_is_a_sorted_dict(operations: list[tuple[str, tuple[int, ...], int, int]]) -> None:
    index = PageIndex(BASE)
    model: dict[tuple[tuple[int, ...], int], tuple[PageRecord, SegmentId, int]] = {}
    for number, (name, partition, page, claim) in enumerate(operations):
        if name in ("put", "split"):
            record = record_of(API.landing(partition, page))
            if name == "split":
                record = replace(record, successor=Split((replace(BASE, partition=(*partition, 0)),)))
            put(index, record, SegmentId(claim, number), number)
            model[partition, page] = record, SegmentId(claim, number), number
        elif name == "cut":
            index.cut(partition, page, claim)
            gone = [
                key for key, kept in model.items() if key[0] == partition and key[1] > page and kept[1].claim < claim
            ]
            model = {key: kept for key, kept in model.items() if key not in gone}
        else:
            index.restart(partition)
            model = {key: kept for key, kept in model.items() if key[0] != partition}
    ordered = [model[key] for key in sorted(model)]
    newest = {record.request.partition: record for record, _, _ in ordered}
    assert list(index.records()) == [record for record, _, _ in ordered]
    assert [(each.segment, each.offset) for each in index.places()] == [kept[1:] for kept in ordered]
    assert list(index.unfinished()) == [each for each in newest.values() if isinstance(each.successor, PageRequest)]
    assert [index.last(partition) for partition in newest] == list(newest.values())
    counts = {part: sum(key[0] == part for key in model) for part in newest}
    split = {key[0] for key, kept in model.items() if isinstance(kept[0].successor, Split)}
    assert index.gapped() == [
        part
        for part, each in newest.items()
        if counts[part] != each.request.index + 1 or (len(part) > 1 and part[:-1] not in split)
    ]
    assert index.sums() == (len(ordered), sum(r.rows for r, _, _ in ordered), sum(r.bytes for r, _, _ in ordered))
    index.close()


def test_pages_that_land_while_others_are_listed(index: PageIndex) -> None:
    api = Api(pages=2, partitions=1200)
    for partition in api.partition_ids():
        put(index, record_of(api.landing(partition, 0)))
    seen = []
    for record in index.unfinished():
        seen.append(record.request.partition)
        put(index, record_of(api.landing(record.request.partition, 1)))
        put(index, record_of(api.landing((5000 + len(seen),), 0)))
    assert seen == api.partition_ids()
    assert index.sums()[0] == 3 * 1200


def test_a_partition_that_starts_over_is_not_listed_any_more(index: PageIndex) -> None:
    api = Api(pages=2, partitions=1200)
    for partition in api.partition_ids():
        put(index, record_of(api.landing(partition, 0)))
    seen = []
    for record in index.unfinished():
        seen.append(record.request.partition)
        index.restart((1100,))
    assert (1100,) not in seen
    assert len(seen) == 1199


def test_clearing(index: PageIndex) -> None:
    put(index, record_of(API.landing((0,), 0)))
    index.clear()
    assert (index.sums(), list(index.records()), index.last((0,))) == ((0, 0, 0), [], None)


def test_listing_takes_flat_memory(index: PageIndex) -> None:
    peaks = []
    record = record_of(API.landing((0,), 0))
    for first, count in ((0, 1_000), (1_000, 9_000)):
        tracemalloc.start()
        for number in range(first, first + count):
            put(index, replace(record, request=replace(record.request, index=number)))
        assert sum(1 for _ in index.records()) == first + count
        assert sum(1 for _ in index.places()) == first + count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 100_000


MANY = """
import resource, sys
from dataclasses import replace
from tests.sinks.test_index import API, PageIndex, BASE, put, record_of
index, record = PageIndex(BASE), record_of(API.landing((0,), 0))
rss = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
def fill(first, last):
    for number in range(first, last):
        put(index, replace(record, request=replace(record.request, index=number)))
    assert sum(1 for _ in index.places()) == last
    return rss()
start = fill(0, 30_000)
print(fill(30_000, 150_000) - start)
"""


def test_sqlite_spills_to_disk() -> None:
    done = subprocess.run([sys.executable, "-c", MANY], cwd=ROOT, capture_output=True, text=True, check=True)
    # 120,000 further pages are 60 MB in the index.
    assert int(done.stdout) < 4_000 * (1024 if sys.platform == "darwin" else 1)
