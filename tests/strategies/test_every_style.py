"""Every style of paging, good and bad servers, one worker and many: exactly the rows of the API, in its order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pytest

from airflow_paginated.hooks.paginated_api import PAGES_PER_WORKER
from tests.servers import RetryLater, Schedule, mixed, no_faults
from tests.servers.schedules import SEVEN
from tests.strategies import linked, numbered, sequential
from tests.strategies.cases import Case
from tests.strategies.collecting import Collect

CASES: Final[Mapping[str, Case]] = {
    **numbered.PAGES,
    **numbered.OFFSETS,
    **numbered.RANGES,
    **sequential.CURSORS,
    **sequential.HEADERS,
    **sequential.KEYS,
    **linked.IN_BODY,
    **linked.IN_HEADER,
}
FAULTS: Final[Mapping[str, Schedule]] = {
    "good": no_faults,
    "faulty": mixed((*SEVEN, RetryLater("0")), 0.1, seed=11),
}


@pytest.mark.parametrize("workers", [1, 16])
@pytest.mark.parametrize("faults", FAULTS)
@pytest.mark.parametrize("name", CASES)
def test_exactly_the_rows_in_their_order(collect: Collect, name: str, faults: str, workers: int) -> None:
    case = CASES[name]
    found = collect(case.api, case.pagination, faults=FAULTS[faults], max_workers=workers, **case.request)
    assert found.lines == case.api.reference()
    if faults == "good":
        # Guesses go as far as the window.
        assert case.pages <= len(found.seen) <= case.pages + case.guesses * PAGES_PER_WORKER * workers
