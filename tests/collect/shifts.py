"""Tables that change while they are read: rows move from page to page, and are lost or read twice."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from airflow_paginated import Completeness, Offset, Page, PageRequest
from airflow_paginated.collect.audit import Audit
from airflow_paginated.collect.rechecks import tolerate_absence
from airflow_paginated.collect.scheduler import Window, fetch_in_order
from airflow_paginated.core.errors import IncompleteError, ResponseError
from airflow_paginated.core.values import OrderedPage, PageRecord
from airflow_paginated.pagination import SinglePage
from airflow_paginated.pagination.protocols import totals_of

ROWS: Final = 100

PAGE_SIZE: Final = 10

WORKERS: Final = 4

Change: TypeAlias = Callable[[list[int], random.Random], list[int]]
"""What a table is after something came or went; new rows have numbers that no other had."""


def _without(rows: list[int], count: int, chance: random.Random) -> list[int]:
    gone = set(chance.sample(rows, count))
    return [row for row in rows if row not in gone]


def _new(rows: list[int], count: int) -> list[int]:
    return list(range(max(rows) + count, max(rows), -1))


CHANGES: Final[Mapping[str, tuple[bool, Change]]] = {
    "newest first, +1": (True, lambda rows, _: _new(rows, 1) + rows),
    "newest first, -1": (True, lambda rows, chance: _without(rows, 1, chance)),
    "newest first, +3 -3": (True, lambda rows, chance: _new(rows, 3) + _without(rows, 3, chance)),
    "oldest first, -1": (False, lambda rows, chance: _without(rows, 1, chance)),
    "oldest first, +3 -3": (False, lambda rows, chance: _without(rows, 3, chance) + _new(rows, 3)[::-1]),
}
"""By name: whether the newest row is the first, and what happens in mid-run, all of it at once."""


NO_TOTAL: Final = Offset(page_size=PAGE_SIZE, stop_after_empty_page=True)

BY_TOTAL: Final = Offset(page_size=PAGE_SIZE, total_path="total")

CHECKS: Final[Mapping[str, tuple[Offset, Completeness]]] = {
    "none": (NO_TOTAL, Completeness()),
    "total": (BY_TOTAL, Completeness()),
    "key": (NO_TOTAL, Completeness(key="id")),
    "total, key": (BY_TOTAL, Completeness(key="id")),
    "overlap": (NO_TOTAL.overlapping(1), Completeness(overlap=1)),
    "overlap, key": (NO_TOTAL.overlapping(1), Completeness(overlap=1, key="id")),
}
"""By name: how pages are asked for, and what is asked of them."""


class MovingTable:
    """Answers requests for pages, and changes before it answers request number ``at``. Used by all threads."""

    def __init__(self, newest_first: bool, change: Change, at: int, chance: random.Random) -> None:
        self.before = list(range(ROWS, 0, -1)) if newest_first else list(range(1, ROWS + 1))
        self.rows = self.before
        self._change, self._at, self._chance = change, at, chance
        self._lock = threading.Lock()
        self._asked = 0

    def __call__(self, request: PageRequest) -> Page:
        with self._lock:
            if self._asked == self._at:
                self.rows = self._change(self.rows, self._chance)
            self._asked += 1
            rows = self.rows
        start, size = int(request.query["offset"]), int(request.query["limit"])
        texts = [b'{"id":%d}' % row for row in rows[start : start + size]]
        return replace(Page.of(request, texts), envelope={"total": len(rows)}, bytes=1)

    def harms(self, landings: list[OrderedPage]) -> bool:
        """Say whether a row that was there all the time is missing, or any is there twice."""
        got = [json.loads(row)["id"] for landing in landings for row in landing.page.rows]
        return not set(got) >= set(self.before) & set(self.rows) or len(got) != len(set(got))


@dataclass(frozen=True)
class Tally:
    """How many readings harmed the rows, how many of them were caught, and the same of those that did no harm."""

    harmed: int = 0
    caught: int = 0
    harmless: int = 0
    refused: int = 0

    def counted(self, harm: bool, caught: bool) -> Tally:
        return Tally(
            self.harmed + harm,
            self.caught + (harm and caught),
            self.harmless + (not harm),
            self.refused + (not harm and caught),
        )


def simulate(changes: str, runs: int) -> dict[str, Tally]:
    """Read so many tables that change at some moment; return what each set of checks makes of it."""
    tallies = dict.fromkeys(CHECKS, Tally())
    for seed in range(runs):
        for strategy in (NO_TOTAL, BY_TOTAL, NO_TOTAL.overlapping(1)):
            chance = random.Random(f"{changes} {seed}")
            newest_first, change = CHANGES[changes]
            table = MovingTable(newest_first, change, chance.randint(1, ROWS // PAGE_SIZE), chance)
            landings, moved = _read(table, strategy)
            harm = table.harms(landings)
            for name, (paged, policy) in CHECKS.items():
                if paged == strategy:
                    tallies[name] = tallies[name].counted(harm, moved or _caught(table, landings, strategy, policy))
    return tallies


def _read(table: MovingTable, strategy: Offset) -> tuple[list[OrderedPage], bool]:
    """Collect whatever comes, with the real walk; say whether an overlap differed."""
    moved = False

    def trim(page: Page) -> Page:
        nonlocal moved
        try:
            return strategy.trim(page)
        except IncompleteError:
            moved = True
            return page.with_rows(page.rows[page.request.state["again"] :])

    seeds = [strategy.first(PageRequest("/rows"))]
    return list(fetch_in_order(seeds, table, strategy, WORKERS, Window(4 * WORKERS), admit=trim)), moved


def _caught(table: MovingTable, landings: list[OrderedPage], strategy: Offset, policy: Completeness) -> bool:
    """Say whether the checks refuse what was collected."""
    total = totals_of(strategy)
    with closing(Audit(policy, strategy=strategy)) as audit:
        try:
            for landing in landings:
                audit.admit(landing.page)
                audit.add_page(PageRecord.of(landing, total(landing.page)))
            for landing in fetch_in_order(
                audit.past_end.requests(), tolerate_absence(table), SinglePage(), 1, Window(1)
            ):
                audit.check_past_end(landing.page)
            audit.report()
        except (IncompleteError, ResponseError):
            return True
    return False
