"""The matrix itself: as many faults as it promises, and a test of each."""

from __future__ import annotations

import importlib
import pkgutil

from tests import faults
from tests.faults.matrix import FAULTS


def test_the_matrix_has_its_faults() -> None:
    assert len(FAULTS) == 60


def test_every_fault_has_a_test() -> None:
    modules = [importlib.import_module(f"tests.faults.{found.name}") for found in pkgutil.iter_modules(faults.__path__)]
    tests = [value for module in modules for name, value in vars(module).items() if name.startswith("test_")]
    marks = [mark for test in tests for mark in getattr(test, "pytestmark", ()) if mark.name == "fault"]
    assert {name for mark in marks for name in mark.args} == FAULTS.keys()
