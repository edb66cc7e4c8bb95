"""The rows that are put into the servers, and what a reader gets of a published folder."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]
COUNT = 2_017
"""A prime: the last page is never full."""


def employees() -> Rows:
    """Return the rows in the order of their ids; up to seven were hired on the same day, the last ids first."""
    return [
        {
            "id": number,
            "name": f'Zoë "{number}" O\'Neil\u2028',
            "hired": (date(2030, 1, 1) - timedelta(days=number // 7)).isoformat(),
            "salary": f"{number * 7919 % 100_000}.{number % 10}0",
            "active": number % 3 > 0,
            "manager": None if number % 50 == 0 else number // 50,
        }
        for number in range(1, COUNT + 1)
    ]


def by_hiring() -> Rows:
    """Return the rows in the order of hiring, then of their ids: an order that many rows share a place in."""
    return sorted(employees(), key=lambda row: (row["hired"], row["id"]))


def published(folder: Path) -> Rows:
    """Return the rows of the files that the manifest lists."""
    manifest = json.loads((folder / "_manifest.json").read_text())
    assert manifest["complete"] is True
    data = b"".join((folder / file["path"]).read_bytes() for file in manifest["files"])
    return [json.loads(line) for line in data.split(b"\n")[:-1]]
