"""How a publication goes through its steps: who may end it between two of them, and what it lets go of."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_paginated.core.errors import Cancelled, ClaimLost, ConfigurationError, StoreError
from airflow_paginated.sinks.files.dataset import FileDataset
from airflow_paginated.sinks.files.publish import Publication, PublishStep
from airflow_paginated.sinks.protocol import Run
from airflow_paginated.sinks.rows import RowFunctions
from tests.sinks.conftest import Lake
from tests.sinks.pages import Api, report_of, run_of, store_pages

API = Api(pages=4, partitions=2)


def landed(lake: Lake, run: Run, path: str) -> FileDataset:
    dataset = lake.open(path, run, part_bytes=2_000)
    assert isinstance(dataset, FileDataset)
    store_pages(dataset, API.landings())
    return dataset


def begin(lake: Lake, run: Run, path: str = "out/") -> tuple[FileDataset, Publication]:
    dataset = landed(lake, run, path)
    return dataset, dataset.publication(report_of(dataset))


def noted(publication: Publication, order: list[str], at: str, action: Callable[[], None]) -> None:
    """Let each step note its name instead of its work, and one of them do something else besides."""

    def step(name: str) -> PublishStep:
        def run() -> None:
            order.append(name)
            if name == at:
                action()

        return PublishStep(name, run)

    publication.commit_steps = lambda: iter([step("write"), step("commit")])  # type: ignore[method-assign]
    publication.cleaning_steps = lambda: iter([step("clean up"), step("prune")])  # type: ignore[method-assign]


def test_a_run_may_end_before_each_step_up_to_the_commit(local: Lake) -> None:
    order: list[str] = []
    dataset, publication = begin(local, run_of(check_cancelled=lambda: order.append("may go on")))
    order.clear()
    noted(publication, order, "", lambda: None)
    publication.publish()
    assert order == ["may go on", "write", "may go on", "commit", "clean up", "prune"]
    dataset.close()


@pytest.mark.parametrize(("at", "last"), [("write", "write"), ("commit", "commit"), ("clean up", "clean up")])
def test_a_newer_try_ends_it_before_the_next_step(local: Lake, at: str, last: str) -> None:
    order: list[str] = []
    dataset, publication = begin(local, run_of())
    noted(publication, order, at, lambda: local.open("out/", run_of()).close())
    with pytest.raises(ClaimLost):
        publication.publish()
    assert order[-1] == last
    dataset.close()


@pytest.mark.parametrize(("taken", "kind"), [(True, ClaimLost), (False, StoreError)])
def test_a_store_that_fails_may_be_a_newer_trys_doing(local: Lake, taken: bool, kind: type[Exception]) -> None:
    def fail() -> None:
        if taken:
            local.open("out/", run_of()).close()
        raise StoreError("it is gone")

    dataset, publication = begin(local, run_of())
    noted(publication, [], "write", fail)
    with pytest.raises(kind):
        publication.publish()
    dataset.close()


@pytest.mark.parametrize("path", ["out/", "out/e.jsonl"])
def test_what_is_written_when_a_newer_try_takes_over_never_appears(local: Lake, path: str) -> None:
    """``check_cancelled`` is called between any two pages that are composed, too."""
    number = 0
    while True:
        local.storage().drop()
        calls = 0
        seen: set[str] = set()

        def check_cancelled(number: int = number, seen: set[str] = seen) -> None:
            nonlocal calls
            calls += 1
            if calls == number:
                local.open(path, run_of()).close()
                seen.update(shown(local))

        dataset, publication = begin(local, run_of(check_cancelled=check_cancelled), path)
        calls = 0
        if number == 0:
            publication.publish()
            most = calls
        else:
            with pytest.raises(ClaimLost):
                publication.publish()
            assert shown(local) == seen
        dataset.close()
        number += 1
        if number > most:
            break
    assert number > 10


def shown(lake: Lake) -> set[str]:
    return {name for name in lake.files() if not name.startswith("_") and "_staging" not in name}


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("path", ["out/", "out/e.jsonl"])
@pytest.mark.parametrize(
    "rows", [RowFunctions(), RowFunctions(keep=lambda row: row["row"] > 3)], ids=["plain", "mapped"]
)
@pytest.mark.parametrize("stop", [None, 1, 6, 9, 13, 14])
def test_it_lets_go_of_all_files(local: Lake, path: str, rows: RowFunctions, stop: int | None) -> None:
    calls = 0

    def check_cancelled() -> None:
        nonlocal calls
        calls += 1
        if calls == stop:
            raise Cancelled("told to")

    dataset = landed(local, run_of(check_cancelled=check_cancelled, rows=rows), path)
    kept: list[Any] = []
    try:
        kept.append(dataset.publication(report_of(dataset)))
        kept[0].publish()
    except Cancelled as exc:
        kept.append(exc)
    assert bool(shown(local)) == (stop is None) or path == "out/"
    assert not [name for name in local.files() if ".tmp" in name]
    dataset.close()
    assert_held_no_files(kept)


def assert_held_no_files(kept: list[Any]) -> None:
    """Assert that a publication, or an error with its frames, that somebody still holds has no file open."""
    held = open_files()
    kept.clear()
    assert open_files() == held


def test_a_row_function_that_fails_leaves_no_file_open(local: Lake) -> None:
    def fails(row: Any) -> bool:
        if row["page"] == 2:
            raise ValueError("no")
        return True

    dataset = landed(local, run_of(rows=RowFunctions(keep=fails)), "out/")
    kept: list[Any] = []
    try:
        dataset.publication(report_of(dataset))
    except ConfigurationError as exc:
        kept.append(exc)
    assert kept
    dataset.close()
    assert_held_no_files(kept)


def test_the_folder_for_stagings_goes_when_it_is_empty(local: Lake) -> None:
    dataset = landed(local, run_of(), "out/")
    dataset.publish(report_of(dataset))
    assert not (Path(local.root) / "out" / "_staging").exists()
