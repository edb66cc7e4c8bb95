from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from importlib.resources import files
from itertools import islice

import pytest
from jsonschema import Draft202012Validator

from airflow_paginated.core.errors import ClaimLost, StoreError, TargetError
from airflow_paginated.core.values import Check, CollectionReport
from airflow_paginated.sinks.files import cleanup
from airflow_paginated.sinks.files.dataset import FileDataset
from airflow_paginated.sinks.files.publish import Publication, PublishStep
from airflow_paginated.sinks.protocol import Dataset
from tests.sinks.conftest import Lake
from tests.sinks.pages import Api, collect, report_of, run_of, store_pages
from tests.sinks.s3_server import Fault, S3Server

OLD = Api(pages=4, partitions=2, version=1)
NEW = Api(pages=3, partitions=2, version=2)
PART_BYTES = 2_000


def visible(lake: Lake, path: str) -> bytes | None:
    """Return the rows that a reader gets, having checked that the manifest is right about them."""
    found = lake.files()
    if not path.endswith("/"):
        return found.get("e.jsonl")
    if "_manifest.json" not in found:
        return None
    listed = json.loads(found["_manifest.json"])["files"]
    for file in listed:
        assert sha256(found[file["path"]]).hexdigest() == file["sha256"]
    return b"".join(found[file["path"]] for file in listed)


def leftovers(lake: Lake, path: str) -> set[str]:
    """Return the files that neither the manifest nor the accounting explains."""
    found = lake.files()
    manifest_name = "_manifest.json" if path.endswith("/") else "_e.jsonl.manifest.json"
    manifest = json.loads(found[manifest_name])
    pages = "_pages" if path.endswith("/") else "_e.jsonl.pages"
    expected = {manifest_name, f"{pages}/{manifest['digest']}.ndjson.gz", *(file["path"] for file in manifest["files"])}
    return set(found) ^ expected


def begin(lake: Lake, path: str, run: str, api: Api) -> tuple[FileDataset, Publication]:
    dataset = lake.open(path, run_of(run), part_bytes=PART_BYTES)
    assert isinstance(dataset, FileDataset)
    store_pages(dataset, api.landings())
    return dataset, dataset.publication(report_of(dataset))


def steps_of(publication: Publication) -> list[PublishStep]:
    return [*publication.commit_steps(), *publication.cleaning_steps()]


@pytest.mark.parametrize("path", ["out/", "out/e.jsonl"])
@pytest.mark.parametrize("before", [None, OLD], ids=["fresh", "replacing"])
@pytest.mark.parametrize("kind", ["local", "memory"])
def test_a_stop_between_any_two_steps(kind: str, before: Api | None, path: str, request: pytest.FixtureRequest) -> None:
    lake: Lake = request.getfixturevalue(kind)
    names = stop_everywhere(lake, path, before)
    assert names[-1] == "remove the staging"
    assert len(names) >= (12 if path == "out/" else 10)


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_stop_between_any_two_steps_in_s3(store: Lake, every: int) -> None:
    stop_everywhere(store, "out/", OLD, every)


def stop_everywhere(lake: Lake, path: str, before: Api | None, every: int = 1) -> list[str]:
    """Stop a publication after each number of steps, look at the target, try again, and look again."""
    names = ["?"]
    stop = 0
    while stop <= len(names):
        lake.storage().drop()
        if before:
            collect(lake.open(path, run_of("run-1"), part_bytes=PART_BYTES), before)
        dataset, publication = begin(lake, path, "run-2", NEW)
        steps = steps_of(publication)
        names = [step.name for step in steps]
        for step in steps[:stop]:
            step.run()
        publication.close()
        dataset.close()
        committed = "replace the file" if path == "out/e.jsonl" else "write the manifest"
        expected = NEW if committed in names[:stop] else before
        assert visible(lake, path) == (expected.lines() if expected else None), names[:stop]
        assert collect(lake.open(path, run_of("run-2"), part_bytes=PART_BYTES), NEW)["rows"] == 60
        assert visible(lake, path) == NEW.lines(), names[:stop]
        assert leftovers(lake, path) == set(), names[:stop]
        stop += every
    return names


@pytest.mark.parametrize("path", ["out/", "out/e.jsonl"])
def test_a_newer_try_stops_an_older_one_between_any_two_steps(local: Lake, path: str) -> None:
    number = 0
    while True:
        local.storage().drop()
        dataset, publication = begin(local, path, "run-2", NEW)
        newer: list[Dataset] = []
        if not take_over_before(publication, number, partial(take_over, local, path, newer)):
            break
        with pytest.raises(ClaimLost):
            publication.publish()
        dataset.close()
        collect(newer[0], NEW)
        assert visible(local, path) == NEW.lines()
        assert leftovers(local, path) == set()
        number += 1
    assert number > 8


def take_over(lake: Lake, path: str, newer: list[Dataset]) -> None:
    newer.append(lake.open(path, run_of("run-2")))


def take_over_before(publication: Publication, number: int, action: Callable[[], None]) -> bool:
    """Put a step before the given one in which another try claims the staging; say whether there is such a step."""
    steps = steps_of(publication)
    if number >= len(steps):
        return False
    changed = [*steps[:number], PublishStep("another try", action), *steps[number:]]
    publication.commit_steps = lambda: iter(changed)  # type: ignore[method-assign]
    publication.cleaning_steps = lambda: iter(())  # type: ignore[method-assign]
    return True


def test_the_manifest_is_written_after_everything_it_lists(local: Lake) -> None:
    _, publication = begin(local, "out/", "run-1", NEW)
    names = [step.name for step in steps_of(publication)]
    assert names.index("write the manifest") > max(names.index(name) for name in names if name.startswith("write part"))
    assert names.index("write the manifest") > names.index("write the accounting")
    assert names.index("remove old files") > names.index("write the manifest")


def test_a_part_that_went_missing_is_noticed(near: Lake) -> None:
    dataset, publication = begin(near, "out/", "run-1", NEW)
    for step in steps_of(publication):
        if step.name == "verify":
            name = next(name for name in near.files() if name.startswith("part-00001"))
            near.storage().delete([name])
            with pytest.raises(StoreError, match="is missing or has the wrong size"):
                step.run()
            break
        step.run()
    publication.close()
    dataset.close()
    assert visible(near, "out/") is None


def test_a_try_that_comes_while_the_staging_is_removed_keeps_its_claim(near: Lake) -> None:
    dataset, publication = begin(near, "out/", "run-1", OLD)
    *steps, removal = steps_of(publication)
    for step in steps:
        step.run()
    newer = near.open("out/", run_of("run-1"), part_bytes=PART_BYTES)
    removal.run()
    publication.close()
    dataset.close()
    newer.discard()
    collect(newer, NEW)
    assert visible(near, "out/") == NEW.lines()


def test_another_run_that_commits_in_between(near: Lake) -> None:
    dataset, publication = begin(near, "out/", "run-1", OLD)
    for step in publication.commit_steps():
        step.run()
    collect(near.open("out/", run_of("run-2"), part_bytes=PART_BYTES), NEW)
    with pytest.raises(TargetError, match="another run published"):
        next(publication.cleaning_steps()).run()
    publication.close()
    dataset.close()
    assert visible(near, "out/") == NEW.lines()


def test_another_try_that_commits_in_between(near: Lake) -> None:
    dataset, publication = begin(near, "out/", "run-1", OLD)
    for step in publication.commit_steps():
        step.run()
    newer = near.open("out/", run_of("run-1"), part_bytes=PART_BYTES)
    newer.discard()
    collect(newer, NEW)
    with pytest.raises(ClaimLost, match="at the same time"):
        next(publication.cleaning_steps()).run()
    near.storage().delete(["_manifest.json"])
    with pytest.raises(TargetError, match="was removed while"):
        next(publication.cleaning_steps()).run()
    publication.close()
    dataset.close()


def test_cleaning_that_fails_does_not_undo_the_success(
    s3: S3Server, store: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    collect(store.open("out/", part_bytes=PART_BYTES), OLD)
    dataset = store.open("out/", run_of("run-2"), part_bytes=PART_BYTES)
    store_pages(dataset, NEW.landings())
    s3.faults.append(Fault("POST", "delete", 1_000))
    assert dataset.publish(report_of(dataset))["rows"] == 60
    s3.faults.clear()
    assert visible(store, "out/") == NEW.lines()
    assert "could not remove old files" in caplog.text
    collect(store.open("out/", run_of("run-2"), part_bytes=PART_BYTES), NEW)
    assert leftovers(store, "out/") == set()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every staging stale at once."""
    monkeypatch.setattr(cleanup, "STALE_STAGING_SECONDS", -5.0)


@pytest.mark.usefixtures("hasty")
def test_a_stale_staging_goes_with_the_files_it_noted(lake: Lake) -> None:
    dataset, publication = begin(lake, "out/", "run-1", OLD)
    for step in islice(publication.commit_steps(), 6):
        step.run()
    publication.close()
    dataset.close()
    assert any(name.startswith("part-00003") for name in lake.files())
    collect(lake.open("out/", run_of("run-2", resume_max_age=-5.0), part_bytes=PART_BYTES), NEW)
    assert visible(lake, "out/") == NEW.lines()
    assert leftovers(lake, "out/") == set()


def test_a_young_staging_is_left_alone(near: Lake) -> None:
    dataset, publication = begin(near, "out/", "run-1", OLD)
    for step in islice(publication.commit_steps(), 6):
        step.run()
    publication.close()
    dataset.close()
    staged = {name for name in near.files() if name.startswith("_staging/")}
    collect(near.open("out/", run_of("run-2"), part_bytes=PART_BYTES), NEW)
    assert staged <= set(near.files())
    collect(near.open("out/", run_of("run-1"), part_bytes=PART_BYTES), OLD)
    assert visible(near, "out/") == OLD.lines()
    assert leftovers(near, "out/") == set()


@pytest.mark.usefixtures("hasty")
def test_a_staging_folder_that_targets_share(near: Lake) -> None:
    dataset = near.open("out/", run_of("run-1"), staging="tmp/", part_bytes=PART_BYTES)
    assert isinstance(dataset, FileDataset)
    store_pages(dataset, OLD.landings())
    publication = dataset.publication(report_of(dataset))
    for step in islice(publication.commit_steps(), 6):
        step.run()
    publication.close()
    dataset.close()
    near.write("tmp/README", b"not ours")
    hurried = run_of("run-2", resume_max_age=-5.0)
    collect(near.open("other/", hurried, staging="tmp/"), NEW)
    note = next(name for name in near.files("tmp") if name != "README")
    assert note.startswith(f"{run_of('run-1').key}/files-")
    assert any(name.startswith("part-00003") for name in near.files())
    collect(near.open("out/", hurried, staging="tmp/", part_bytes=PART_BYTES), NEW)
    assert leftovers(near, "out/") == set()
    assert near.files("tmp") == {"README": b"not ours"}


@pytest.mark.usefixtures("hasty")
def test_a_note_that_cannot_be_read_is_no_obstacle(near: Lake) -> None:
    key = run_of("run-1").key
    near.write(f"out/_staging/{key}/files-{'0' * 16}.json", b"{")
    collect(near.open("out/", run_of("run-2", resume_max_age=-5.0)), NEW)
    assert visible(near, "out/") == NEW.lines()


@pytest.mark.usefixtures("hasty")
def test_temporary_files_of_killed_tries_go(local: Lake) -> None:
    own, stale, other = (run_of(run).key for run in ("run-2", "run-1", "run-3"))
    for key in (own, stale, other):
        local.write(f"out/_part-00000-0123456789abcdef.jsonl.{key}-01234567.tmp", b"x")
        local.write(f"out/_pages/_0123456789abcdef.ndjson.gz.{key}-01234567.tmp", b"x")
    local.write(f"out/_staging/{stale}/claim-1", b"{}")
    collect(local.open("out/", run_of("run-2", resume_max_age=-5.0)), NEW)
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in local.files() if name.endswith(".tmp")} == {
        f"{other}-01234567"
    }


SCHEMA = json.loads(files("airflow_paginated.sinks.files").joinpath("manifest.schema.json").read_text())


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(("path", "api"), [("out/", NEW), ("out/e.jsonl", NEW), ("out/", Api(rows=0))])
def test_manifests_follow_the_schema(local: Lake, path: str, api: Api) -> None:
    dataset = local.open(path, run_of(map_index=3, plan={"query": {"a": [1, None]}}))
    store_pages(dataset, api.landings())
    report = report_of(dataset)
    checks = (Check("rows_equal_total", "passed", "60 rows"), Check("total_is_stable", "waived", "changed"))
    waived = CollectionReport(report.partitions, report.pages, report.rows, report.bytes, "total reached", checks)
    result = dataset.publish(waived)
    name = result["manifest"].rpartition("/")[2]
    manifest = json.loads(local.files()[name])
    Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(manifest)
    assert (manifest["complete"], result["complete"]) == (False, False)
    assert manifest["owner"] == {"dag": "dag", "task": "collect", "run": "run-1", "map_index": 3}
    assert manifest["plan"] == {"endpoint": "/employees", "query": {"a": [1, None]}}
    assert manifest["checks"][1] == {"name": "total_is_stable", "verdict": "waived", "evidence": "changed"}
    assert (manifest["rows"], manifest["bytes"]) == (result["rows"], result["bytes"]) == (report.rows, report.bytes)
    assert (manifest["watermark"], manifest["stop_reason"]) == (None, "total reached")
    assert sum(file["rows"] for file in manifest["files"]) == report.rows


def test_every_field_of_the_schema_is_required_and_there_are_no_others(local: Lake) -> None:
    collect(local.open("out/"), NEW)
    manifest = json.loads(local.files()["_manifest.json"])
    assert set(manifest) == set(SCHEMA["required"]) == set(SCHEMA["properties"])
