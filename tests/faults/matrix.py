"""The faults of ``docs/faults.md`` as ids of tests, and the table of how they went.

A test function carries ``@pytest.mark.fault("T9")`` and gets ``T9`` into its id. One that injects a fault more than
once says so: ``record_property("runs", 30)``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "faults.md"
_ROW: Final = re.compile(r"^\| ([TLBPKOS]\d+) \| (.+?) \| .+ \|$", re.MULTILINE)
FAULTS: Final[dict[str, str]] = dict(_ROW.findall(DOCUMENT.read_text(encoding="utf-8")))


@dataclass
class _Line:
    """One line of the table, as far as its tests have ended."""

    runs: int = 0
    seconds: float = 0.0
    failed: int = 0
    skipped: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        if self.failed:
            return "FAILED"
        skips = f"; skipped: {', '.join(sorted(set(self.skipped)))}" if self.skipped else ""
        return ("passed" if self.runs else "not run") + skips


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(id): injects this fault of docs/faults.md")


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marks = [name for mark in metafunc.definition.iter_markers("fault") for name in mark.args]
    if not marks:
        return
    unknown = set(marks) - FAULTS.keys()
    if unknown:
        raise pytest.UsageError(f"{metafunc.definition.nodeid}: {sorted(unknown)} is not in {DOCUMENT.name}")
    if "matrix_id" not in metafunc.fixturenames:
        metafunc.fixturenames.append("matrix_id")
    metafunc.parametrize("matrix_id", marks)


def pytest_itemcollected(item: pytest.Item) -> None:
    callspec = getattr(item, "callspec", None)
    if callspec is not None and "matrix_id" in callspec.params:
        # Also a test that is skipped before it begins shall say which fault it was about.
        item.user_properties.append(("matrix_id", callspec.params["matrix_id"]))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    table: dict[str, _Line] = {}
    for name, outcome, report in _reports(terminalreporter):
        line = table.setdefault(name, _Line())
        line.seconds += report.duration
        line.failed += outcome in {"failed", "error"}
        if outcome == "passed" and report.when == "call":
            line.runs += dict(report.user_properties).get("runs", 1)
        elif outcome == "skipped":
            line.skipped.append(report.longrepr[2].removeprefix("Skipped: "))
    if table:
        terminalreporter.section("faults and attacks (docs/faults.md)")
    for name in (name for name in FAULTS if name in table):
        line = table[name]
        terminalreporter.line(f"{name:4}{line.runs:5} runs {line.seconds:8.2f} s  {line.verdict:7} {FAULTS[name]}")


def _reports(terminalreporter: Any) -> Iterator[tuple[str, str, Any]]:
    for outcome in ("passed", "failed", "error", "skipped", ""):
        for report in terminalreporter.stats.get(outcome, ()):
            name = dict(getattr(report, "user_properties", ())).get("matrix_id")
            if name is not None:
                yield name, outcome, report
