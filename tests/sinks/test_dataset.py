from __future__ import annotations

import gzip
import json
import time
from itertools import islice

import pytest

from airflow_paginated.core.errors import IncompleteError, StoreError
from tests.sinks.conftest import Lake
from tests.sinks.pages import SECRET, Api, collect, record_of, report_of, run_of, store_pages
from tests.sinks.reading import parts, published
from tests.sinks.s3_server import Fault, S3Server

API = Api(pages=5, partitions=3)


def test_a_folder(lake: Lake) -> None:
    result = collect(lake.open(), API)
    files = lake.files()
    digest = json.loads(files["_manifest.json"])["digest"]
    assert set(files) == {f"part-00000-{digest}.jsonl", f"_pages/{digest}.ndjson.gz", "_manifest.json"}
    assert files[f"part-00000-{digest}.jsonl"] == API.lines()
    assert result == {
        "path": f"{lake.root}/out/",
        "manifest": f"{lake.root}/out/_manifest.json",
        "files": 1,
        "rows": 150,
        "pages": 15,
        "bytes": len(API.lines()),
        "stop_reason": "total reached",
        "watermark": None,
        "complete": True,
    }


def test_the_accounting_has_one_record_for_each_page(near: Lake) -> None:
    collect(near.open(), API)
    name = next(name for name in near.files() if name.startswith("_pages/"))
    records = [json.loads(line) for line in gzip.decompress(near.files()[name]).splitlines()]
    places = [(record["partition"][0], record["index"]) for record in records]
    assert places == [(part, page) for part in range(3) for page in range(5)]
    page = API.landing((0,), 0).page
    assert records[0]["sha256"] == page.sha256
    assert (records[0]["rows"], records[0]["bytes"], records[0]["attempts"]) == (10, len(page.lines), 2)


def test_one_file(lake: Lake) -> None:
    lake.write("lake/other.txt", b"not ours")
    result = collect(lake.open("lake/e.jsonl"), API)
    files = lake.files("lake")
    digest = json.loads(files["_e.jsonl.manifest.json"])["digest"]
    assert set(files) == {"other.txt", "e.jsonl", "_e.jsonl.manifest.json", f"_e.jsonl.pages/{digest}.ndjson.gz"}
    assert files["e.jsonl"] == API.lines()
    assert (result["path"], result["files"]) == (f"{lake.root}/lake/e.jsonl", 1)


def test_gzip_is_deterministic(lake: Lake) -> None:
    collect(lake.open("a/", file_format="jsonl.gz", part_bytes=3_000), API)
    time.sleep(1.1)
    collect(lake.open("b/", run_of("run-2"), file_format="jsonl.gz", part_bytes=3_000), API)
    first, second = parts(lake, "a"), parts(lake, "b")
    assert first == second
    assert len(first) > 2
    assert all(name.endswith(".jsonl.gz") for name in first)
    assert b"".join(gzip.decompress(first[name]) for name in sorted(first)) == API.lines()


def test_one_gzip_file(near: Lake) -> None:
    collect(near.open("near/e.jsonl.gz"), API)
    assert gzip.decompress(near.files("near")["e.jsonl.gz"]) == API.lines()


def test_parts_are_cut_between_pages(near: Lake) -> None:
    size = len(API.landing((0,), 0).page.lines)
    collect(near.open(part_bytes=2 * size), API)
    found = parts(near)
    assert [len(found[name]) for name in sorted(found)] == [2 * size] * 7 + [size]
    assert published(near) == API.lines()


def test_a_page_larger_than_a_part_gets_its_own(near: Lake) -> None:
    collect(near.open(part_bytes=1), API)
    assert len(parts(near)) == 15
    assert published(near) == API.lines()


def test_no_rows_make_no_parts_or_one_empty_file(lake: Lake) -> None:
    empty = Api(pages=2, rows=0)
    assert collect(lake.open(), empty)["files"] == 0
    assert [name.partition("/")[0] for name in lake.files()] == ["_manifest.json", "_pages"]
    assert collect(lake.open("one/e.jsonl"), empty)["files"] == 1
    assert lake.files("one")["e.jsonl"] == b""
    collect(lake.open("one/e.jsonl.gz"), empty)
    assert gzip.decompress(lake.files("one")["e.jsonl.gz"]) == b""


def test_empty_pages_between_others(near: Lake) -> None:
    full, empty = Api(pages=3), Api(pages=3, rows=0)
    dataset = near.open(part_bytes=1)
    store_pages(dataset, [full.landing((0,), 0), empty.landing((0,), 1), full.landing((0,), 2)])
    store_pages(dataset, [empty.landing((1,), page) for page in range(3)])
    dataset.publish(report_of(dataset))
    assert len(parts(near)) == 2
    assert published(near) == full.landing((0,), 0).page.lines + full.landing((0,), 2).page.lines


def test_the_same_rows_make_the_same_files_however_they_came(near: Lake) -> None:
    collect(near.open("a/"), API)
    dataset = near.open("b/", run_of("run-2"))
    store_pages(dataset, sorted(API.landings(), key=lambda each: each.page.request.partition, reverse=True))
    dataset.publish(report_of(dataset))
    assert parts(near, "a") == parts(near, "b")


def test_a_staging_folder_elsewhere(lake: Lake) -> None:
    dataset = lake.open(staging="tmp/")
    store_pages(dataset, islice(API.landings(), 9))
    dataset.close()
    assert (lake.files(), {name.split("/")[0] for name in lake.files("tmp")}) == ({}, {run_of().key})
    collect(lake.open(staging="tmp/"), API)
    assert (published(lake), lake.files("tmp")) == (API.lines(), {})


def test_nothing_secret_lands(lake: Lake) -> None:
    dataset = lake.open()
    store_pages(dataset, islice(API.landings(), 9))
    dataset.close()
    staged = lake.files()
    collect(lake.open(), API)
    texts = [gzip.decompress(data) if name.endswith(".gz") else data for name, data in lake.files().items()]
    assert not any(SECRET.encode() in text for text in [*staged.values(), *texts])


def test_an_account_that_does_not_match_is_refused(near: Lake) -> None:
    dataset = near.open()
    store_pages(dataset, API.landings())
    report = report_of(dataset)
    dataset.restart((2,))
    with pytest.raises(IncompleteError, match="the audit counted"):
        dataset.publish(report)
    dataset.close()
    assert not [name for name in near.files() if not name.startswith("_staging/")]


def test_a_page_whose_size_is_wrong_is_a_defect(local: Lake) -> None:
    with pytest.raises(ValueError, match="came with 3 bytes"):
        local.open().store_page(record_of(API.landing((0,), 0)), b"abc")


def test_errors_of_a_store_leave_nothing_visible(s3: S3Server, store: Lake) -> None:
    dataset = store.open()
    store_pages(dataset, API.landings())
    report = report_of(dataset)
    s3.faults.append(Fault("POST", "uploadId", 100))
    with pytest.raises(StoreError, match="cannot write s3"):
        dataset.publish(report)
    s3.faults.clear()
    assert not [name for name in store.files() if not name.startswith("_staging/")]
    assert dataset.publish(report)["rows"] == 150
    assert published(store) == API.lines()
