"""TODO"""

from __future__ import annotations

import json

import pytest

from airflow_paginated.core.errors import TargetError
from tests.sinks.conftest import Lake
from tests.sinks.pages import Api, collect, report_of, run_of, store_pages
from tests.sinks.reading import parts, published

API = Api(pages=5, partitions=3)


def test_a_rerun_replaces_what_was_there(lake: Lake) -> None:
    newer = Api(pages=4, partitions=3, version=2)
    collect(lake.open(part_bytes=1_000), API)
    collect(lake.open(run=run_of("run-2"), part_bytes=1_000), newer)
    assert published(lake) == newer.lines()
    listed = {file["path"] for file in json.loads(lake.files()["_manifest.json"])["files"]}
    assert set(parts(lake)) == listed
    assert len([name for name in lake.files() if name.startswith("_pages/")]) == 1


def test_a_rerun_with_the_same_rows_keeps_the_files(near: Lake) -> None:
    collect(near.open(), API)
    before = parts(near)
    collect(near.open(run=run_of("run-2")), API)
    assert parts(near) == before
    assert json.loads(near.files()["_manifest.json"])["owner"]["run"] == "run-2"


def test_a_rerun_of_one_file(near: Lake) -> None:
    newer = Api(pages=4, version=2)
    collect(near.open("near/e.jsonl"), API)
    collect(near.open("near/e.jsonl", run_of("run-2")), newer)
    files = near.files("near")
    assert files["e.jsonl"] == newer.lines()
    assert len(files) == 3


@pytest.mark.parametrize("path", ["out/", "out/e.jsonl"])
def test_if_exists_fail(near: Lake, path: str) -> None:
    collect(near.open(path, if_exists="fail"), API)
    with pytest.raises(TargetError, match=r"published by run 'run-1' of dag\.collect, and if_exists is 'fail'"):
        near.open(path, run_of("run-2"), if_exists="fail")
    # The same task instance, cleared or retried, may.
    collect(near.open(path, if_exists="fail"), API)
    assert not any("_staging" in name for name in near.files())


@pytest.mark.parametrize("path", ["out/", "out/e.jsonl", "out/e.jsonl.gz"])
def test_if_exists_skip(lake: Lake, path: str) -> None:
    result = collect(lake.open(path, if_exists="skip"), API)
    assert lake.existing(path, run_of("run-2")) == result
    assert not any("_staging" in name for name in lake.files())


@pytest.mark.parametrize("path", ["out/", "out/e.jsonl"])
def test_skip_does_not_trust_files_that_are_gone_or_changed(near: Lake, path: str) -> None:
    collect(near.open(path), API)
    name = next(name for name in near.files() if name.endswith(".jsonl"))
    near.write(f"out/{name}", API.lines()[:-5] + (b"" if path == "out/" else b"12345"))
    collect(near.open(path, run_of("run-2"), if_exists="skip"), API)
    assert near.files()[name] == API.lines()


def test_skip_does_not_trust_a_sample(near: Lake) -> None:
    collect(near.open(), API)
    manifest = json.loads(near.files()["_manifest.json"])
    near.write("out/_manifest.json", json.dumps({**manifest, "complete": False}).encode())
    near.open(run=run_of("run-2"), if_exists="skip").close()


@pytest.mark.parametrize("path", ["out/", "out/e.jsonl"])
def test_another_map_index_of_the_same_run_is_refused(near: Lake, path: str) -> None:
    early = near.open(path, run_of(map_index=2))
    store_pages(early, API.landings())
    collect(near.open(path, run_of(map_index=0)), API)
    with pytest.raises(TargetError, match=r"map index 0 of this same run; put {{ ti\.map_index }} into the path"):
        near.open(path, run_of(map_index=1))
    with pytest.raises(TargetError, match="map index 0"):
        early.publish(report_of(early))
    early.close()
    assert json.loads(near.files()[manifest_name(path)])["owner"]["map_index"] == 0
    collect(near.open(path, run_of("run-2", map_index=1)), API)


def manifest_name(path: str) -> str:
    return "_manifest.json" if path.endswith("/") else "_e.jsonl.manifest.json"


@pytest.mark.parametrize("name", ["a.csv", "part-1.jsonl", "sub/file", "part-00000-xyz.jsonl", "_manifest.json.bak"])
def test_a_folder_with_something_else_in_it_is_refused(lake: Lake, name: str) -> None:
    lake.write(f"out/{name}", b"precious")
    with pytest.raises(TargetError, match="holds what this package did not write"):
        lake.open()
    assert lake.files() == {name: b"precious"}


def test_many_foreign_files_are_not_all_named(near: Lake) -> None:
    for number in range(5):
        near.write(f"out/{number}.csv", b"precious")
    with pytest.raises(TargetError, match=r"\(0.csv, 1.csv, 2.csv, ...\)"):
        near.open()


def test_what_a_killed_run_left_is_no_reason_to_refuse(near: Lake) -> None:
    near.write("out/part-00000-0123456789abcdef.jsonl", b"left behind")
    near.write("out/_part-00000-0123456789abcdef.jsonl.0123456789abcdef-01234567.tmp", b"left behind")
    collect(near.open(), API)
    assert published(near) == API.lines()


def test_a_file_that_another_tool_wrote_is_refused(near: Lake) -> None:
    near.write("out/e.jsonl", b"precious")
    with pytest.raises(TargetError, match="was not written by this package"):
        near.open("out/e.jsonl")
    assert near.files() == {"e.jsonl": b"precious"}


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b"\xff", b'{"version": 1}', b"[" * 100_000])
@pytest.mark.parametrize("path", ["out/", "out/e.jsonl"])
def test_a_foreign_manifest_is_refused(local: Lake, path: str, text: bytes) -> None:
    local.write(f"out/{manifest_name(path)}", text)
    with pytest.raises(TargetError, match="is not a manifest"):
        local.open(path)


def test_a_newer_manifest_is_refused(local: Lake) -> None:
    collect(local.open(), API)
    manifest = json.loads(local.files()["_manifest.json"])
    local.write("out/_manifest.json", json.dumps({**manifest, "version": 2}).encode())
    with pytest.raises(TargetError, match="has version 2, this release writes version 1"):
        local.open()


def test_only_names_of_our_own_pattern_are_ever_deleted(near: Lake) -> None:
    near.write("precious", b"precious")
    collect(near.open(), API)
    manifest = json.loads(near.files()["_manifest.json"])
    for path in ("../precious", "_manifest.json"):
        manifest["files"].append({"path": path, "rows": 1, "bytes": 8, "sha256": "0" * 64})
    near.write("out/_manifest.json", json.dumps({**manifest, "digest": "f" * 16}).encode())
    collect(near.open(run=run_of("run-2")), API)
    assert near.files("")["precious"] == b"precious"
    assert published(near) == API.lines()
