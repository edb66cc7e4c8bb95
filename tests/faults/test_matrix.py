"""The matrix itself: as many faults as it promises."""

from __future__ import annotations

from tests.faults.matrix import FAULTS


def test_the_matrix_has_its_faults() -> None:
    assert len(FAULTS) == 60
