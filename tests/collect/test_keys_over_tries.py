"""Rows that an API serves twice, through whole runs and over a resume."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from airflow_paginated import Completeness, PageNumber
from airflow_paginated.core.errors import IncompleteError, PaginatedApiError
from tests.collect.disk import published
from tests.collect.running import Job, collect
from tests.servers import FaultServer, PagedApi, Reply, Request, ServerError, on_page

UNTIL_EMPTY = PageNumber(stop_after_empty_page=True)

DROP = Completeness(key="id", on_duplicate="drop")


@dataclass(frozen=True)
class ResolvedParameterSets:
    """Pages of ten rows with these ids."""

    ids: Sequence[int]

    def __call__(self, request: Request) -> Reply:
        start = 10 * (int(request.query["page"]) - 1)
        rows = [{"id": number, "more": "x"} for number in self.ids[start : start + 10]]
        return Reply(json.dumps({"data": rows}).encode())

    page_of = PagedApi().page_of


SHIFTED = ResolvedParameterSets([*range(20), 19, *range(20, 44)])
"""A row that came in while page 2 was read has pushed the last row of page 2 to page 3."""


def job(server: FaultServer, tmp_path: Path, completeness: Completeness) -> Job:
    return Job(url=server.url, path=f"{tmp_path}/out/", pagination=UNTIL_EMPTY, completeness=completeness, workers=4)


def ids(tmp_path: Path) -> list[int]:
    return [json.loads(line)["id"] for line in (published(f"{tmp_path}/out/") or b"").splitlines()]


def test_a_row_that_is_there_twice_fails_the_run_and_shows_nothing(tmp_path: Path) -> None:
    with (
        FaultServer(SHIFTED) as server,
        pytest.raises(IncompleteError, match="page 3 of partition 0 has 1 rows with the same key"),
    ):
        collect(job(server, tmp_path, Completeness(key="id")))
    assert published(f"{tmp_path}/out/") is None


@pytest.mark.parametrize(
    ("completeness", "expected"), [(DROP, list(range(44))), (replace(DROP, on_duplicate="keep"), list(SHIFTED.ids))]
)
def test_it_is_left_out_or_stays_where_that_is_wanted(
    tmp_path: Path, completeness: Completeness, expected: list[int]
) -> None:
    with FaultServer(SHIFTED) as server:
        result = collect(job(server, tmp_path, completeness))
    assert ids(tmp_path) == expected
    manifest: Any = json.loads((tmp_path / "out" / "_manifest.json").read_text())
    (check,) = [each for each in manifest["checks"] if each["name"] == "unique_key"]
    dropped = completeness.on_duplicate == "drop"
    assert (result["rows"], result["complete"], check["verdict"]) == (
        len(expected),
        dropped,
        "passed" if dropped else "waived",
    )


@pytest.mark.parametrize("completeness", [Completeness(key="id"), DROP])
def test_keys_of_stored_pages_are_known_to_the_next_try(tmp_path: Path, completeness: Completeness) -> None:
    with FaultServer(SHIFTED, on_page(3, ServerError())) as server:
        # Pages 1 and 2 are stored when page 3 fails.
        one = replace(job(server, tmp_path, completeness), workers=1)
        with pytest.raises(PaginatedApiError, match="page 3"):
            collect(one)
        server.faults = lambda request, nth: None
        if completeness == DROP:
            assert collect(one)["resumed_pages"] == 2
            assert ids(tmp_path) == list(range(44))
        else:
            with pytest.raises(IncompleteError, match="page 3 of partition 0 has 1 rows with the same key"):
                collect(one)
