"""Tries that are told to end, or are killed: what is visible is absent or complete, and the next try is exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.pipeline.siege import STORES, Disk, Store, besiege
from tests.servers import ServerProcess
from tests.sinks.s3_client import S3Process

THOUSAND = pytest.param(1_000, marks=pytest.mark.kills)
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    faults = {"type": "seven_faults", "rate": 0.05, "seed": 7}
    with ServerProcess({"api": {"rows": STORES}, "faults": faults, "latency": 0.005}) as server:
        yield server


@pytest.fixture(scope="module")
def store() -> Iterator[S3Process]:
    with S3Process() as process:
        yield process


@pytest.mark.fault("K3")
@pytest.mark.parametrize("kills", [30, pytest.param(200, marks=pytest.mark.slow), THOUSAND])
def test_killed_at_any_moment(kills: int, server: ServerProcess, tmp_path: Path, record_property: Record) -> None:
    tally = besiege(kills, Disk(tmp_path), server)
    record_property("runs", tally.killed.total())
    print(tally)
    assert tally.enough(kills)
    assert (tally.stored_twice, tally.duplicates) == (0, 0)


@pytest.mark.fault("K3")
@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.kills)])
def test_killed_at_any_moment_with_a_store(
    kills: int, server: ServerProcess, store: S3Process, tmp_path: Path, record_property: Record
) -> None:
    tally = besiege(kills, Store(tmp_path, store.url), server)
    record_property("runs", tally.killed.total())
    print(tally)
    assert tally.enough(kills)
    assert (tally.stored_twice, tally.duplicates) == (0, 0)
