"""Which check notices rows that come or go while a table is read: the table in docs/guarantees.md."""

from __future__ import annotations

from typing import Any

import pytest

from tests.collect.shifts import CHANGES, CHECKS, Tally, simulate

SURE = {
    "newest first, +1": {"total, key", "key", "overlap", "overlap, key", "total"},
    "newest first, -1": {"total, key", "overlap", "overlap, key", "total"},
    "newest first, +3 -3": {"total, key", "key", "overlap", "overlap, key"},
    "oldest first, -1": {"total, key", "overlap", "overlap, key", "total"},
    "oldest first, +3 -3": {"overlap", "overlap, key"},
}
"""What notices every reading that lost a row or has one twice. Nothing of it is noticed without any check."""


@pytest.mark.parametrize("changes", CHANGES)
@pytest.mark.parametrize("runs", [40, pytest.param(2_000, marks=pytest.mark.slow)])
def test_a_table_that_changes_while_it_is_read(changes: str, runs: int, record_property: Any) -> None:
    tallies = simulate(changes, runs)
    for name, tally in tallies.items():
        print(f"{changes}: {name}: {tally}")
    assert all(tally.harmed > runs // 10 for tally in tallies.values())
    assert {name for name, tally in tallies.items() if tally.caught == tally.harmed} == SURE[changes]
    assert tallies["none"].caught == tallies["none"].refused == 0


def test_a_tally_counts_four_ways() -> None:
    tally = Tally()
    for harm, caught in ((True, True), (True, False), (False, True), (False, False)):
        tally = tally.counted(harm, caught)
    assert tally == Tally(harmed=2, caught=1, harmless=2, refused=1)
    assert set(CHECKS) >= set().union(*SURE.values())
