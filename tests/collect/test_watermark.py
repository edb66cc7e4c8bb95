"""The watermark from run to run: who moves it, who must not, and what is begun again."""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated import Incremental
from airflow_paginated.collect.watermark import AssetStore, FolderStore, Store, Watermark
from airflow_paginated.core.errors import ConfigurationError, TargetError, WatermarkMoved
from airflow_paginated.core.policies import State
from airflow_paginated.core.values import Check, CollectionReport
from airflow_paginated.sinks.files.local_storage import LocalStorage
from airflow_paginated.sinks.files.object_storage import ObjectStorage
from airflow_paginated.sinks.files.storage import Storage
from airflow_paginated.sinks.protocol import Owner
from tests.sinks.s3_server import S3Server

TOKEN: Final = f"{'0' * 16}-{'0' * 8}"

POLICY: Final = Incremental(field="at", param="since", lookback=2)


class Accessor:
    """What Airflow hands a task for the state of an asset, in a dict: through JSON, as Airflow does."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, key: str) -> Any:
        return json.loads(self.values[key]) if key in self.values else None

    def set(self, key: str, value: Any) -> None:
        self.values[key] = json.dumps(value)


@dataclass(frozen=True)
class Shelf:
    """A store, and what somebody can do to it by hand."""

    store: Store
    put: Callable[[Any], object]
    clear: Callable[[], object]


def shelf_in(folder: Storage) -> Shelf:
    name = "watermark-00000001.json"
    return Shelf(FolderStore(folder), lambda value: folder.put(name, json.dumps(value).encode()), folder.drop)


@pytest.fixture(scope="module")
def lake() -> Iterator[AbstractFileSystem]:
    with S3Server() as server:
        server.filesystem().makedirs("lake", exist_ok=True)
        yield server.filesystem()


@pytest.fixture(params=["asset", "local", "memory", "store"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    if request.param == "asset":
        accessor, key = Accessor(), "watermark.dag.collect"
        return Shelf(AssetStore(accessor, key), lambda value: accessor.set(key, value), accessor.values.clear)
    if request.param == "local":
        return shelf_in(LocalStorage(f"{tmp_path}/state", TOKEN))
    fs = request.getfixturevalue("lake") if request.param == "store" else MemoryFileSystem()
    return shelf_in(ObjectStorage(fs, f"lake/state-{uuid4().hex}", TOKEN))


@pytest.fixture
def store(shelf: Shelf) -> Store:
    return shelf.store


def run(store: Store, name: str = "run-1", policy: Incremental = POLICY, task: str = "collect") -> Watermark:
    return Watermark(policy, store, Owner("dag", task, name), f"/{task}")


def account(rows: int, *checks: Check) -> CollectionReport:
    return CollectionReport(1, 1, rows, 0, "the end", checks)


def collected(watermark: Watermark, rows: Iterable[Any]) -> list[Any]:
    texts = [json.dumps(row).encode() for row in rows]
    return [json.loads(row) for row in watermark.changes.admit(b"".join(b"%b\n" % text for text in texts), "page 1")]


def publish(watermark: Watermark, rows: list[Any]) -> list[Any]:
    found = collected(watermark, rows)
    watermark.published(account(len(rows)))
    return found


def numbers(*values: int) -> list[Any]:
    return [{"at": value} for value in values]


def test_one_run_goes_on_from_the_other(store: Store) -> None:
    assert store.read() is None
    first = run(store)
    assert first.plan == {"incremental": {"field": "at", "after": 0, "start": None}}
    assert publish(first, numbers(5, 9)) == numbers(5, 9)
    second = run(store, "run-2")
    assert second.plan == {"incremental": {"field": "at", "after": 1, "start": 7}}
    assert publish(second, numbers(7, 8, 9, 12)) == numbers(7, 8, 12)
    state = store.read()
    assert state is not None
    assert (state.watermark, state.start, state.generation, state.endpoint) == (12, 10, 2, "/collect")
    assert state.by == {"dag": "dag", "task": "collect", "run": "run-2", "map_index": -1}
    assert state.before is not None
    assert (state.before.watermark, state.before.before) == (9, None)


def test_nothing_new_moves_nothing(store: Store) -> None:
    publish(run(store), numbers(5))
    before = store.read()
    assert publish(run(store, "run-2"), numbers(5)) == []
    assert store.read() == before


def test_what_may_not_be_all_moves_nothing(store: Store) -> None:
    watermark = run(store)
    collected(watermark, numbers(5))
    watermark.published(account(1, Check("rows_equal_total", "waived", "")))
    assert store.read() is None


def test_a_late_row_is_remembered(store: Store) -> None:
    publish(run(store), numbers(9))
    assert publish(run(store, "run-2"), numbers(9, 8)) == numbers(8)
    assert publish(run(store, "run-3"), numbers(9, 8)) == []


def test_the_same_run_begins_where_it_began(store: Store) -> None:
    publish(run(store), numbers(5))
    one = run(store, "run-2")
    publish(one, numbers(5, 6))
    again = run(store, "run-2")
    assert again.plan == one.plan
    assert (again.changes.counted, one.changes.counted) == (True, False)
    assert publish(again, numbers(5, 6, 7)) == numbers(6, 7)
    assert publish(run(store, "run-3"), numbers(5, 6, 7, 8)) == numbers(8)


def test_the_first_run_begins_where_it_began(store: Store) -> None:
    publish(run(store), numbers(5))
    assert publish(run(store), numbers(5, 6)) == numbers(5, 6)
    assert publish(run(store, "run-2"), numbers(5, 6)) == []


def test_of_two_runs_at_once_the_later_one_notices(store: Store) -> None:
    publish(run(store), numbers(5))
    one, other = run(store, "run-2"), run(store, "run-3")
    publish(one, numbers(5, 9))
    with pytest.raises(WatermarkMoved, match="since this run began, the watermark was moved to 9 by run 'run-2'"):
        other.changes.begin(0)
    # It has looked a moment too early, and has published.
    collected(other, numbers(5, 6))
    with pytest.raises(TargetError, match="while this run published its rows, so some rows are in both datasets"):
        other.published(account(2))
    state = store.read()
    assert state is not None
    assert (state.watermark, state.by and state.by["run"]) == (9, "run-2")


def test_a_state_that_is_removed_is_noticed(shelf: Shelf) -> None:
    publish(run(shelf.store), numbers(5))
    watermark = run(shelf.store, "run-2")
    shelf.clear()
    with pytest.raises(WatermarkMoved, match="the watermark was removed"):
        watermark.changes.begin(0)


def test_the_state_of_another_collection_is_refused(store: Store) -> None:
    publish(run(store), numbers(5))
    with pytest.raises(ConfigurationError, match=r"belongs to field 'at' of '/collect' in task dag\.collect"):
        run(store, task="others")
    with pytest.raises(ConfigurationError, match="use another state_path"):
        run(store, policy=Incremental(field="changed"))
    # A task may be given another name.
    Watermark(POLICY, store, Owner("dag", "renamed", "run-1"), "/collect")


def test_a_sink_that_passes_the_rows_by_is_refused(store: Store) -> None:
    with pytest.raises(ConfigurationError, match=r"the sink passed 0 of 5 rows through Run\.rows"):
        run(store).published(account(5))


def test_a_state_by_hand(shelf: Shelf) -> None:
    shelf.put({"watermark": 5})
    assert publish(run(shelf.store), numbers(4, 5, 6)) == numbers(5, 6)
    assert publish(run(shelf.store, "run-2"), numbers(5, 6)) == []


@pytest.mark.parametrize("text", [b"", b"[]", b'{"start": 5}', b'{"watermark": 5, "seen": 5}', b"\xff"])
def test_what_is_no_state_is_refused(tmp_path: Path, text: bytes) -> None:
    folder = LocalStorage(str(tmp_path), TOKEN)
    folder.put("watermark-00000007.json", text)
    with pytest.raises(ConfigurationError, match=r"watermark-00000007.json is not"):
        FolderStore(folder).read()


def test_a_value_that_is_no_state_is_refused() -> None:
    accessor = Accessor()
    accessor.set("key", "2024-01-01T00:00:00Z")
    with pytest.raises(ConfigurationError, match="key 'key' of the asset is not a valid state"):
        AssetStore(accessor, "key").read()


def test_a_folder_keeps_the_last_states_only(tmp_path: Path) -> None:
    folder = LocalStorage(str(tmp_path), TOKEN)
    for number in range(12):
        publish(run(FolderStore(folder), f"run-{number}"), numbers(number))
    assert folder.entries() == [f"watermark-{number:08}.json" for number in (10, 11, 12)]


def _write(folder: str, number: int, results: Any, barrier: Any) -> None:
    barrier.wait()
    store = FolderStore(LocalStorage(folder, f"{number:016x}-{'0' * 8}"))
    try:
        store.write(State(watermark=number, generation=1, by={"run": number}))
    except WatermarkMoved:
        number = -1
    results.put(number)


def test_of_many_processes_one_writes(tmp_path: Path) -> None:
    forks = multiprocessing.get_context("forkserver")
    results, barrier = forks.Queue(), forks.Barrier(4)
    writers = [forks.Process(target=_write, args=(str(tmp_path), number, results, barrier)) for number in range(4)]
    for writer in writers:
        writer.start()
    ended = [results.get(timeout=60) for _ in writers]
    for writer in writers:
        writer.join()
    (won,) = (number for number in ended if number >= 0)
    state = FolderStore(LocalStorage(str(tmp_path), TOKEN)).read()
    assert state is not None
    assert state.watermark == won
    assert len(list(tmp_path.iterdir())) == 1


Deed = tuple[str, int]

DEEDS = st.tuples(
    st.sampled_from(["runs", "dies before it publishes", "dies before it moves on", "runs twice", "is a sample"]),
    st.integers(0, 3),
)


@given(st.lists(DEEDS, min_size=1, max_size=8))
def test_every_change_is_in_one_dataset_whoever_dies(deeds: list[Deed]) -> None:
    """Where a run that has published and died is tried again."""
    store = AssetStore(Accessor(), "key")
    table: list[Any] = []
    datasets: dict[str, list[Any]] = {}
    for number, (deed, made) in enumerate(deeds):
        table += [{"id": len(table) + new, "at": number} for new in range(made)]
        watermark = run(store, f"run-{number}")
        found = collected(watermark, table)
        if deed == "dies before it publishes":
            continue
        if deed == "is a sample":
            watermark.published(account(len(table), Check("every_partition_ended", "waived", "")))
            continue
        if deed != "dies before it moves on":
            watermark.published(account(len(table)))
            datasets[f"run-{number}"] = found
        if deed != "runs":
            table.append({"id": len(table), "at": number})
            datasets[f"run-{number}"] = publish(run(store, f"run-{number}"), table)
    publish_last = publish(run(store, "the last"), table)
    delivered = Counter(row["id"] for dataset in [*datasets.values(), publish_last] for row in dataset)
    assert delivered == Counter(range(len(table)))
