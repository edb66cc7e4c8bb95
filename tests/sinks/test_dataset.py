from __future__ import annotations

import gzip
import json
import logging
import os
import time
from itertools import islice
from pathlib import Path

import pytest

from airflow_paginated.paging.errors import ClaimLost, IncompleteError, StoreError, TargetError
from airflow_paginated.sinks.files import segments
from tests.sinks.conftest import Lake
from tests.sinks.pages import SECRET, Api, account_of, collect, land, missing, record_of, run_of
from tests.sinks.s3_server import Fault, S3Server

API = Api(pages=5, partitions=3)


def parts(lake: Lake, folder: str = "out") -> dict[str, bytes]:
    return {name: data for name, data in lake.files(folder).items() if name.startswith("part-")}


def published(lake: Lake, folder: str = "out") -> bytes:
    """Return the rows as a reader gets them: by the manifest."""
    files = lake.files(folder)
    return b"".join(files[file["path"]] for file in json.loads(files["_manifest.json"])["files"])


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
    land(dataset, [full.landing((0,), 0), empty.landing((0,), 1), full.landing((0,), 2)])
    land(dataset, [empty.landing((1,), page) for page in range(3)])
    dataset.publish(account_of(dataset))
    assert len(parts(near)) == 2
    assert published(near) == full.landing((0,), 0).page.lines + full.landing((0,), 2).page.lines


def test_the_same_rows_make_the_same_files_however_they_came(near: Lake) -> None:
    collect(near.open("a/"), API)
    dataset = near.open("b/", run_of("run-2"))
    land(dataset, sorted(API.landings(), key=lambda each: each.page.request.partition, reverse=True))
    dataset.publish(account_of(dataset))
    assert parts(near, "a") == parts(near, "b")


def test_going_on_after_a_try_that_closed(lake: Lake) -> None:
    dataset = lake.open()
    land(dataset, islice(API.landings(), 7))
    dataset.close()
    dataset.close()
    again = lake.open()
    assert list(again.records()) == [record_of(API.landing((part,), page)) for part, page in stored(7)]
    assert list(again.unfinished()) == [
        record_of(API.landing((part,), page)) for part, page in ((0, 2), (1, 1), (2, 1))
    ]
    assert again.last((7,)) is None
    assert len(list(missing(again, API))) == 15 - 7 + 3
    collect(again, API)
    assert published(lake) == API.lines()
    assert not any("_staging" in name for name in lake.files())


def stored(count: int) -> list[tuple[int, int]]:
    """Return partition and index of the first pages to land, in the order of the dataset."""
    return sorted((number % 3, number // 3) for number in range(count))


def test_nothing_is_visible_before_it_is_published(near: Lake) -> None:
    dataset = near.open()
    land(dataset, API.landings())
    dataset.close()
    assert {name.partition("/")[0] for name in near.files()} == {"_staging"}


def test_a_local_try_that_was_killed_loses_nothing_it_landed(local: Lake) -> None:
    dataset = local.open()
    land(dataset, islice(API.landings(), 7))
    again = local.open()
    assert len(list(again.records())) == 7
    collect(again, API)
    assert published(local) == API.lines()


@pytest.mark.parametrize("kind", ["memory", "store"])
def test_a_store_loses_at_most_the_open_segment(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake: Lake = request.getfixturevalue(kind)
    monkeypatch.setattr(segments, "MAX_PAGES", 3)
    dataset = lake.open()
    land(dataset, islice(API.landings(), 8))
    again = lake.open()
    assert len(list(again.records())) == 6
    collect(again, API)
    assert published(lake) == API.lines()


@pytest.mark.parametrize(("limit", "value"), [("MAX_BYTES", 1_000), ("MAX_PAGES", 2), ("MAX_SECONDS", 0.0)])
def test_segments_are_bounded(near: Lake, monkeypatch: pytest.MonkeyPatch, limit: str, value: float) -> None:
    monkeypatch.setattr(segments, limit, value)
    dataset = near.open()
    land(dataset, API.landings())
    assert sum("segment-" in name for name in near.files()) >= 5
    collect(dataset, API)
    assert published(near) == API.lines()


def test_more_segments_than_can_be_open(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "MAX_PAGES", 1)
    monkeypatch.setattr(segments, "OPEN_READERS", 2)
    collect(lake.open(), API)
    assert published(lake) == API.lines()


@pytest.mark.parametrize("cut", [1, 40, 300, 1200])
def test_a_torn_tail_is_collected_again(local: Lake, cut: int) -> None:
    dataset = local.open()
    land(dataset, islice(API.landings(), 7))
    segment = next(Path(local.root).rglob("segment-*"))
    os.truncate(segment, segment.stat().st_size - cut)
    again = local.open()
    assert 4 <= len(list(again.records())) <= 6
    collect(again, API)
    assert published(local) == API.lines()


def test_a_hole_in_the_log_starts_its_partitions_over(
    local: Lake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(segments, "MAX_PAGES", 3)
    dataset = local.open()
    land(dataset, islice(API.landings(), 9))
    dataset.close()
    os.truncate(min(Path(local.root).rglob("segment-*")), 600)
    dataset = local.open()
    land(dataset, missing(dataset, API))
    dataset.close()
    again = local.open()
    assert len(list(again.records())) == 15
    collect(again, API)
    assert published(local) == API.lines()
    assert "is damaged" in caplog.text


def test_a_gap_is_closed_by_starting_over(local: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "MAX_PAGES", 3)
    dataset = local.open()
    land(dataset, islice(API.landings(), 9))
    dataset.close()
    min(Path(local.root).rglob("segment-*")).unlink()
    again = local.open()
    assert list(again.records()) == []
    collect(again, API)
    assert published(local) == API.lines()


def test_damaged_rows_are_never_published(local: Lake) -> None:
    dataset = local.open()
    land(dataset, API.landings())
    segment = next(Path(local.root).rglob("segment-*"))
    data = bytearray(segment.read_bytes())
    data[-10:-5] = b"XXXXX"
    segment.write_bytes(data)
    with pytest.raises(StoreError, match="not what was stored"):
        dataset.publish(account_of(dataset))
    dataset.close()
    assert not [name for name in local.files() if not name.startswith("_staging/")]
    again = local.open()
    assert list(again.records()) == []
    collect(again, API)
    assert published(local) == API.lines()


def test_a_partition_that_starts_over(lake: Lake) -> None:
    dataset = lake.open()
    land(dataset, islice(API.landings(), 9))
    dataset.restart((1,))
    assert dataset.last((1,)) is None
    dataset.close()
    again = lake.open()
    assert again.last((1,)) is None
    newer = Api(pages=5, partitions=3, version=2)
    land(again, [newer.landing((1,), page) for page in range(5)])
    collect(again, API)
    assert newer.landing((1,), 0).page.lines in published(lake)
    assert API.landing((1,), 0).page.lines not in published(lake)


def test_discarding(lake: Lake) -> None:
    dataset = lake.open()
    land(dataset, islice(API.landings(), 9))
    dataset.discard()
    assert list(dataset.records()) == []
    dataset.close()
    again = lake.open()
    assert list(again.records()) == []
    collect(again, API)
    assert published(lake) == API.lines()


def test_pages_that_are_too_old_are_collected_again(near: Lake, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="airflow_paginated")
    dataset = near.open()
    land(dataset, islice(API.landings(), 9))
    dataset.close()
    time.sleep(0.05)
    again = near.open(run=run_of(resume_max_age=0.01))
    assert list(again.records()) == []
    assert "too old" in caplog.text
    collect(again, API)
    assert published(near) == API.lines()


def test_another_plan_is_another_collection(near: Lake) -> None:
    dataset = near.open()
    land(dataset, islice(API.landings(), 9))
    dataset.close()
    again = near.open(run=run_of(plan={"query": "changed"}))
    assert list(again.records()) == []
    collect(again, API)


def test_a_staging_folder_elsewhere(lake: Lake) -> None:
    dataset = lake.open(staging="tmp/")
    land(dataset, islice(API.landings(), 9))
    dataset.close()
    assert (lake.files(), {name.split("/")[0] for name in lake.files("tmp")}) == ({}, {run_of().key})
    collect(lake.open(staging="tmp/"), API)
    assert (published(lake), lake.files("tmp")) == (API.lines(), {})


def test_nothing_secret_lands(lake: Lake) -> None:
    dataset = lake.open()
    land(dataset, islice(API.landings(), 9))
    dataset.close()
    staged = lake.files()
    collect(lake.open(), API)
    texts = [gzip.decompress(data) if name.endswith(".gz") else data for name, data in lake.files().items()]
    assert not any(SECRET.encode() in text for text in [*staged.values(), *texts])


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
    first = lake.open(path, if_exists="skip")
    assert first.existing is None
    result = collect(first, API)
    second = lake.open(path, run_of("run-2"), if_exists="skip")
    assert second.existing == result
    assert (list(second.unfinished()), list(second.records()), second.last((0,))) == ([], [], None)
    second.restart((0,))
    second.discard()
    assert second.publish(None) == result  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="skipped"):
        land(second, API.landings())
    second.close()
    assert not any("_staging" in name for name in lake.files())


@pytest.mark.parametrize("path", ["out/", "out/e.jsonl"])
def test_skip_does_not_trust_files_that_are_gone_or_changed(near: Lake, path: str) -> None:
    collect(near.open(path), API)
    name = next(name for name in near.files() if name.endswith(".jsonl"))
    near.write(f"out/{name}", API.lines()[:-5] + (b"" if path == "out/" else b"12345"))
    dataset = near.open(path, run_of("run-2"), if_exists="skip")
    assert dataset.existing is None
    collect(dataset, API)
    assert near.files()[name] == API.lines()


def test_skip_does_not_trust_a_sample(near: Lake) -> None:
    collect(near.open(), API)
    manifest = json.loads(near.files()["_manifest.json"])
    near.write("out/_manifest.json", json.dumps({**manifest, "complete": False}).encode())
    assert near.open(run=run_of("run-2"), if_exists="skip").existing is None


@pytest.mark.parametrize("path", ["out/", "out/e.jsonl"])
def test_another_map_index_of_the_same_run_is_refused(near: Lake, path: str) -> None:
    early = near.open(path, run_of(map_index=2))
    land(early, API.landings())
    collect(near.open(path, run_of(map_index=0)), API)
    with pytest.raises(TargetError, match=r"map index 0 of this same run; put {{ ti\.map_index }} into the path"):
        near.open(path, run_of(map_index=1))
    with pytest.raises(TargetError, match="map index 0"):
        early.publish(account_of(early))
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


def test_an_account_that_does_not_match_is_refused(near: Lake) -> None:
    dataset = near.open()
    land(dataset, API.landings())
    account = account_of(dataset)
    dataset.restart((2,))
    with pytest.raises(IncompleteError, match="the audit counted"):
        dataset.publish(account)
    dataset.close()
    assert not [name for name in near.files() if not name.startswith("_staging/")]


def test_a_page_whose_size_is_wrong_is_a_defect(local: Lake) -> None:
    with pytest.raises(ValueError, match="came with 3 bytes"):
        local.open().land(record_of(API.landing((0,), 0)), b"abc")


def test_the_newer_of_two_tries_wins(lake: Lake) -> None:
    zombie = lake.open()
    land(zombie, islice(API.landings(), 9))
    newer = lake.open()
    land(zombie, islice(API.landings(), 9, None))
    for action in (lambda: zombie.publish(account_of(zombie)), zombie.discard):
        with pytest.raises(ClaimLost, match="another try of this task"):
            action()
    zombie.close()
    collect(newer, API)
    assert published(lake) == API.lines()


def test_a_try_that_lost_notices_at_its_next_segment(near: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "MAX_PAGES", 4)
    zombie = near.open()
    near.open()
    with pytest.raises(ClaimLost):
        land(zombie, API.landings())
    zombie.close()


def test_a_staging_that_was_removed_and_claimed_anew_is_lost_too(near: Lake) -> None:
    zombie = near.open()
    land(zombie, API.landings())
    near.storage("out/_staging").sub(run_of().key).drop()
    with pytest.raises((ClaimLost, StoreError)):
        zombie.publish(account_of(zombie))
    newer = near.open()
    land(newer, API.landings())
    with pytest.raises((ClaimLost, StoreError)):
        zombie.publish(account_of(zombie))
    zombie.close()
    collect(newer, API)
    assert published(near) == API.lines()


def test_pages_that_a_zombie_landed_do_not_mix_with_newer_ones(local: Lake) -> None:
    newer = Api(pages=5, version=2)
    zombie = local.open()
    land(zombie, islice(Api(pages=5).landings(), 2))
    second = local.open()
    land(zombie, islice(Api(pages=5).landings(), 2, 5))
    land(second, islice(newer.landings(), 1, 3))
    third = local.open()
    assert [record.request.index for record in third.records()] == [0, 1, 2]
    land(third, islice(newer.landings(), 2, None))
    third.publish(account_of(third))
    expected = [Api(pages=5).landing((0,), 0), *(newer.landing((0,), page) for page in range(1, 5))]
    assert published(local) == b"".join(each.page.lines for each in expected)


def test_errors_of_a_store_leave_nothing_visible(s3: S3Server, store: Lake) -> None:
    dataset = store.open()
    land(dataset, API.landings())
    account = account_of(dataset)
    s3.faults.append(Fault("POST", "uploadId", 100))
    with pytest.raises(StoreError, match="cannot write s3"):
        dataset.publish(account)
    s3.faults.clear()
    assert not [name for name in store.files() if not name.startswith("_staging/")]
    assert dataset.publish(account)["rows"] == 150
    assert published(store) == API.lines()
