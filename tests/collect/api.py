"""A paginated API as a plain function: it stands for the server, behind no network."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from airflow_paginated import Page, PageRequest, Stop
from airflow_paginated.core.errors import PageFailed
from airflow_paginated.core.values import OrderedPage, Successor, Total
from airflow_paginated.pagination.protocols import Pagination, totals_of

Style = Literal["items", "header", "pages", "once", "now and then", "has_more", "bare", "cursor"]

Place = tuple[int, int]
"""A table and the index of a page in it: what faults and delays go by."""


def no_delay(place: Place) -> float:
    return 0.0


@dataclass(frozen=True, kw_only=True)
class Api:
    """Answers page ``(table, index)`` of tables with so many rows each.

    ``style`` says how the end is told: a total of items in the body, in a header, of pages; a total on page 1 only, or
    on every third page; a flag; nothing; or a cursor. ``holes`` are pages that come empty, ``broken`` ones fail.
    ``growth`` rows appear in a table with each page that is read.
    """

    tables: Sequence[int]
    style: Style = "items"
    page_size: int = 10
    holes: Collection[Place] = ()
    broken: Collection[Place] = ()
    growth: int = 0
    row_bytes: int = 0
    delay: Callable[[Place], float] = no_delay

    def __call__(self, request: PageRequest) -> Page:
        place = request.query["table"], request.index
        if seconds := self.delay(place):
            time.sleep(seconds)
        if place in self.broken:
            raise PageFailed(f"table {place[0]}, page {place[1]}")
        start = self._start(request)
        rows = [] if place in self.holes else self.rows(place[0], start)
        envelope, headers = self._told(*place, more=start + self.page_size < self.tables[place[0]])
        return Page.of(request, rows, envelope=envelope, headers=headers, bytes=sum(len(row) + 1 for row in rows))

    @property
    def count(self) -> int:
        """The number of tables."""
        return len(self.tables)

    @property
    def everything(self) -> Sequence[bytes]:
        """All rows of each table, as JSON Lines."""
        return [b"".join(self._lines(table)) for table in range(len(self.tables))]

    def _lines(self, table: int) -> Iterator[bytes]:
        for index, start in enumerate(range(0, self.tables[table], self.page_size)):
            if (table, index) not in self.holes:
                yield from (row + b"\n" for row in self.rows(table, start))

    def _start(self, request: PageRequest) -> int:
        query = request.query
        page: int = query.get("cursor", query.get("page", 1) - 1)
        start: int = query.get("offset", page * self.page_size)
        return start

    def rows(self, table: int, start: int) -> list[bytes]:
        numbers = range(self.tables[table])[start : start + self.page_size]
        return [b'{"table": %d, "row": %d, "more": "%s"}' % (table, row, b"x" * self.row_bytes) for row in numbers]

    def _told(self, table: int, index: int, more: bool) -> tuple[dict[str, Any], dict[str, str]]:
        count = self.tables[table]
        known = min(count, self.growth * (index + 1)) if self.growth else count
        every = {"once": 1_000_000, "now and then": 3}.get(self.style, 1)
        total = known if index % every == 0 else None
        told: dict[Style, dict[str, Any]] = {
            "items": {"meta": {"total": total}},
            "once": {"meta": {"total": total}} if total is not None else {},
            "now and then": {"meta": {"total": total}},
            "pages": {"meta": {"total": -(-known // self.page_size)}},
            "has_more": {"more": more},
            "cursor": {"next": index + 1 if more else None},
        }
        return told.get(self.style, {}), {"x-total": f" {known} "} if self.style == "header" else {}


class Cursor:
    """A strategy of somebody else's: it has what is required and nothing more."""

    def first(self, request: PageRequest) -> PageRequest:
        return replace(request, index=0, query={**request.query, "cursor": 0})

    def follow(self, page: Page) -> PageRequest | Stop:
        cursor = page.envelope["next"]
        if cursor is None:
            return Stop("no cursor")
        return replace(page.request, index=page.request.index + 1, query={**page.request.query, "cursor": cursor})


class InTurn:
    """A strategy that does not tell what may be sent ahead."""

    def __init__(self, whole: Pagination) -> None:
        self.whole = whole

    def first(self, request: PageRequest) -> PageRequest:
        return self.whole.first(request)

    def total(self, page: Page) -> Total | None:
        return totals_of(self.whole)(page)

    def follow(self, page: Page) -> Successor:
        return self.whole.follow(page)


def seeds_of(pagination: Pagination, tables: int) -> list[PageRequest]:
    """Return the first request of each table."""
    return [pagination.first(PageRequest("/rows", query={"table": n}, partition=(n,))) for n in range(tables)]


def plain_loop(seed: PageRequest, fetch: Callable[[PageRequest], Page], pagination: Pagination) -> list[OrderedPage]:
    """Read one partition page by page: what a walk must come to."""
    landings = []
    request: Successor = seed
    while isinstance(request, PageRequest):
        page = fetch(request)
        page = replace(page, total=totals_of(pagination)(page))
        request = pagination.follow(page)
        landings.append(OrderedPage(page, request))
    return landings


def by_partition(landings: Sequence[OrderedPage]) -> dict[tuple[int, ...], list[OrderedPage]]:
    """Sort landings by partition, in the order in which they came."""
    found: dict[tuple[int, ...], list[OrderedPage]] = {}
    for landing in landings:
        found.setdefault(landing.page.request.partition, []).append(landing)
    return found


class Gate:
    """A server that keeps some requests waiting until it is opened; a context manager that opens it at the end."""

    def __init__(self, fetch: Callable[[PageRequest], Page], held: Callable[[PageRequest], bool]) -> None:
        self._fetch = fetch
        self._held = held
        self._open = threading.Event()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._asked: list[PageRequest] = []
        self._threads: set[threading.Thread] = set()

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.open()

    def __call__(self, request: PageRequest) -> Page:
        with self._changed:
            self._asked.append(request)
            self._threads.add(threading.current_thread())
            self._changed.notify_all()
        if self._held(request) and not self._open.wait(30):
            raise TimeoutError("the gate was never opened")
        return self._fetch(request)

    @property
    def asked(self) -> list[int]:
        """The index of each request that reached the server, in that order."""
        with self._lock:
            return [request.index for request in self._asked]

    def open(self) -> None:
        self._open.set()

    def wait_for(self, *indexes: int) -> bool:
        """Wait until each of these pages was asked for."""
        with self._changed:
            return self._changed.wait_for(lambda: {*indexes} <= {request.index for request in self._asked}, timeout=10)

    def settle(self) -> None:
        """Open, and wait until every thread that asked has ended."""
        self.open()
        for thread in list(self._threads):
            thread.join(10)
            assert not thread.is_alive()


def paths(landings: Sequence[OrderedPage]) -> Mapping[tuple[int, ...], list[int]]:
    """Return the indexes of the pages of each partition, in the order in which they came."""
    return {key: [one.page.request.index for one in some] for key, some in by_partition(landings).items()}
