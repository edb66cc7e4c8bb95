"""An API that answers what it is asked, in any style of paging, as a plain function: it stands for the server."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from time import sleep
from typing import Any
from urllib.parse import parse_qsl, urlencode

from airflow_paginated import Page, PageRequest, Split
from airflow_paginated.core.errors import PageFailed
from airflow_paginated.core.values import OrderedPage
from airflow_paginated.pagination.protocols import Pagination, totals_of, trimmed_by
from tests.collect.api import Place, no_delay

URL = "https://api.example/v1/rows"


def full_pages(place: Place) -> int | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Answers with the rows of tables that are sorted by a key; ``keys`` has that of each row.

    A request names a table and maybe a range of keys (``low`` to ``high``, which is not included; with ``top``, the
    last one that is), and says by ``page``, ``offset``, ``cursor``, ``after`` or ``since`` where to begin. The answer
    tells how to go on in every style at once. Totals are counted up to ``cap``. ``broken`` are pages that fail,
    ``length`` says how many rows a page has that is not full; both go by table and page.
    """

    keys: Sequence[Sequence[int]]
    page_size: int = 10
    cap: int = 10**9
    broken: Collection[Place] = ()
    length: Callable[[Place], int | None] = full_pages
    delay: Callable[[Place], float] = no_delay
    extra: str = ""

    def __call__(self, request: PageRequest) -> Page:
        asked = {**dict(parse_qsl(request.path.partition("?")[2])), **request.query, **request.headers}
        asked |= request.body or {}
        table = int(asked["table"])
        first, end = self._range(table, asked)
        start = min(self._start(table, first, asked), end)
        place = table, (start - first) // self.page_size
        if seconds := self.delay(place):
            sleep(seconds)
        if (table, self._page(table, first, asked)) in self.broken:
            raise PageFailed(f"table {table}, page {place[1]}")
        stop = min(start + (self.length(place) or self.page_size), end)
        rows = [self.row(table, number) for number in range(start, stop)]
        envelope, headers = self._told(asked, place[1], stop - first, end - first)
        return Page.of(
            request, rows, envelope=envelope, headers=headers, bytes=sum(map(len, rows)) + len(rows), url=URL
        )

    def row(self, table: int, number: int) -> bytes:
        """Return the text of one row."""
        return b'{"table": %d, "id": %d, "key": %d, "extra": "%s"}' % (
            table,
            number,
            self.keys[table][number],
            self.extra.encode(),
        )

    def rows(self, table: int) -> bytes:
        """Return all rows of a table, as JSON Lines."""
        return b"".join(self.row(table, number) + b"\n" for number in range(len(self.keys[table])))

    @property
    def count(self) -> int:
        """The number of tables."""
        return len(self.keys)

    @property
    def everything(self) -> Sequence[bytes]:
        """All rows of each table, as JSON Lines."""
        return [self.rows(table) for table in range(len(self.keys))]

    def _range(self, table: int, asked: Mapping[str, Any]) -> tuple[int, int]:
        keys = self.keys[table]
        low = bisect_left(keys, int(asked["low"])) if "low" in asked else 0
        if "top" in asked:
            return low, bisect_right(keys, int(asked["top"]))
        return low, bisect_left(keys, int(asked["high"])) if "high" in asked else len(keys)

    def _page(self, table: int, first: int, asked: Mapping[str, Any]) -> int:
        return (self._start(table, first, asked) - first) // self.page_size

    def _start(self, table: int, first: int, asked: Mapping[str, Any]) -> int:
        keys = self.keys[table]
        if asked.get("after") is not None:
            return max(first, bisect_right(keys, int(asked["after"])))
        if asked.get("since") is not None:
            return max(first, bisect_left(keys, int(asked["since"])))
        if asked.get("cursor"):
            return first + int(asked["cursor"].strip("+/="))
        return first + int(asked.get("offset", (int(asked.get("page", 1)) - 1) * self.page_size))

    def _told(
        self, asked: Mapping[str, Any], page: int, read: int, count: int
    ) -> tuple[dict[str, Any], dict[str, str]]:
        more, total = read < count, min(count, self.cap)
        token = f"+{read}/=" if more else None
        kept = {name: asked[name] for name in ("table", "low", "high", "top") if name in asked}
        following, last = (
            f"{URL}?{urlencode({**kept, 'page': number})}" for number in (page + 2, -(-count // self.page_size))
        )
        links = [f'<{last}>; rel="last"', *([f'<{following}>; rel="next"'] if more else [])]
        headers = {"x-total": str(total), "x-next": token or "", "link": ", ".join(links)}
        meta = {"total": total, "pages": -(-total // self.page_size), "more": more}
        return {"meta": meta, "next": token, "link": following if more else None}, headers


def plain_pages(
    seed: PageRequest, fetch: Callable[[PageRequest], Page], pagination: Pagination
) -> Iterator[OrderedPage]:
    """Read one partition page by page, and then what it was split into: what a walk must come to."""
    request, trim = seed, trimmed_by(pagination)
    while True:
        page = fetch(request)
        page = trim(replace(page, total=totals_of(pagination)(page)))
        successor = pagination.follow(page)
        yield OrderedPage(page.with_rows(()) if isinstance(successor, Split) else page, successor)
        if not isinstance(successor, PageRequest):
            break
        request = successor
    for part in successor.requests if isinstance(successor, Split) else ():
        yield from plain_pages(part, fetch, pagination)


def text_of(landings: Sequence[OrderedPage]) -> bytes:
    """Return the rows of landings in the order of the dataset: by partition, then by page."""
    in_order = sorted(landings, key=lambda one: (one.page.request.partition, one.page.request.index))
    return b"".join(one.page.lines for one in in_order)


def ranges_of(requests: Sequence[PageRequest]) -> list[tuple[Any, Any]]:
    """Return the range of each request, once it is clear that each begins where the one before ends."""
    found = [(request.query["low"], request.query["high"]) for request in requests]
    assert all(one[1] == other[0] for one, other in pairwise(found))
    return found
