"""A published dataset read back, by its manifest."""

from __future__ import annotations

import json

import pytest
from fsspec.implementations.local import LocalFileSystem

from airflow_paginated.core.errors import ConfigurationError, StoreError, TargetError
from airflow_paginated.sinks.files.published import Published, published
from tests.sinks.conftest import Lake
from tests.sinks.pages import Api, collect

API = Api(pages=5, partitions=3)

TARGETS = [
    pytest.param("out/", "out/_manifest.json", {"part_bytes": 2_000}, id="parts"),
    pytest.param("out/", "out/_manifest.json", {"file_format": "jsonl.gz"}, id="zipped parts"),
    pytest.param("out/rows.jsonl", "out/_rows.jsonl.manifest.json", {}, id="one file"),
    pytest.param("out/rows.ndjson.gz", "out/_rows.ndjson.gz.manifest.json", {}, id="one zipped file"),
]


def opened(lake: Lake, manifest: str = "out/_manifest.json") -> Published:
    return published(f"{lake.root}/{manifest}", lambda path: (lake.fs, path))


def rows(dataset: Published) -> bytes:
    blocks = list(dataset.blocks())
    assert all(block.endswith(b"\n") for block in blocks)
    return b"".join(blocks)


@pytest.mark.parametrize(("path", "manifest", "options"), TARGETS)
@pytest.mark.parametrize("block", [7, 1000, 2**21])
def test_all_rows_come_back_in_order(
    near: Lake, monkeypatch: pytest.MonkeyPatch, path: str, manifest: str, options: dict[str, object], block: int
) -> None:
    monkeypatch.setattr("airflow_paginated.sinks.files.published.READ_BLOCK_BYTES", block)
    result = collect(near.open(path, **options), API)
    assert result["manifest"] == f"{near.root}/{manifest}"
    found = opened(near, manifest)
    assert rows(found) == API.lines() == rows(found)
    assert (found.count, found.complete, found.name) == (150, True, result["manifest"])


def test_a_store_is_read_in_blocks(store: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_paginated.sinks.files.published.READ_BLOCK_BYTES", 1000)
    collect(store.open(), API)
    assert rows(opened(store)) == API.lines()


def test_no_rows_are_no_blocks(near: Lake) -> None:
    collect(near.open(), Api(pages=1, rows=0))
    assert rows(opened(near)) == b""


def test_other_rows_have_another_digest(near: Lake) -> None:
    collect(near.open("a/"), API)
    collect(near.open("b/"), API)
    collect(near.open("c/"), Api(pages=5, partitions=3, version=2))
    a, b, c = (opened(near, f"{name}/_manifest.json").digest for name in "abc")
    assert a == b != c


@pytest.mark.parametrize("name", ["out/", "out/rows.jsonl", "out/manifest.json", "out/_.manifest.json", ""])
def test_what_is_no_path_of_a_manifest_is_refused(near: Lake, name: str) -> None:
    with pytest.raises(ConfigurationError, match="is not the path of a manifest, as a task with a FileSink returns it"):
        opened(near, name)


def test_a_manifest_that_is_not_there_is_refused(near: Lake) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no manifest at .*: has the task that writes it run\?"):
        opened(near)
    near.write("out/_manifest.json", b'{"version": 7}')
    with pytest.raises(TargetError, match="is not a manifest of a paginated dataset"):
        opened(near)


@pytest.mark.parametrize("change", ["gone", "longer"])
def test_a_file_that_is_gone_or_has_another_size_is_noticed_at_once(near: Lake, change: str) -> None:
    collect(near.open(), API)
    (part,) = [name for name in near.files() if name.startswith("part-")]
    if change == "gone":
        near.fs.rm_file(f"{near.root}/out/{part}")
    else:
        near.write(f"out/{part}", near.files()[part] + b"{}\n")
    with pytest.raises(StoreError, match=rf"{part} is not what .*_manifest.json lists"):
        opened(near)


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_a_file_that_has_changed_is_noticed_when_it_is_read(near: Lake, suffix: str) -> None:
    collect(near.open(f"out/rows.{suffix}"), API)
    found = opened(near, f"out/_rows.{suffix}.manifest.json")
    data = bytearray(near.files()[f"rows.{suffix}"])
    data[-20] ^= 1
    near.write(f"out/rows.{suffix}", bytes(data))
    with pytest.raises(StoreError, match="is not what"):
        rows(found)


def test_a_file_that_goes_while_it_is_read_is_noticed(near: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_paginated.sinks.files.published.READ_BLOCK_BYTES", 500)
    collect(near.open(part_bytes=2_000), API)
    blocks = opened(near).blocks()
    next(blocks)
    for name in near.files():
        if name.startswith("part-"):
            near.fs.rm_file(f"{near.root}/out/{name}")
    with pytest.raises(StoreError):
        list(blocks)


def test_a_format_that_cannot_be_read_back_is_refused(local: Lake) -> None:
    collect(local.open(), API)
    manifest = json.loads(local.files()["_manifest.json"])
    manifest["files"][0]["path"] = "part-00000.parquet"
    local.write("out/_manifest.json", json.dumps(manifest).encode())
    with pytest.raises(ConfigurationError, match=r"part-00000.parquet cannot be read back; .*: jsonl, jsonl.gz"):
        opened(local)


def test_a_path_without_a_folder_is_one(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(folder)
    collect(Lake(LocalFileSystem(), str(folder), "local").open("out/"), API)
    monkeypatch.chdir(folder / "out")
    assert rows(published("_manifest.json", lambda path: (LocalFileSystem(), path))) == API.lines()
