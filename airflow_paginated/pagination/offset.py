"""``?offset=200&limit=100``: pages that start at a row number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Literal

from airflow_paginated.core.errors import ConfigurationError, IncompleteError, ResponseError
from airflow_paginated.core.injection import inject
from airflow_paginated.core.validation import check_choice, check_number
from airflow_paginated.core.values import Json, Page, PageRecord, PageRequest, Stop
from airflow_paginated.pagination.numbered import Numbered


@dataclass(frozen=True, kw_only=True)
class Offset(Numbered):
    """Start each page at the row number in ``offset_param``, counted from ``base_offset``.

    ``page_size`` is sent in ``limit_param``, unless that is ``None``. A server may return fewer rows than requested:
    the offsets follow the length of page 1, or, with ``step="received"``, the rows of each page, one page after the
    other. With an ``overlap``, each page starts with that many rows from the end of the previous page, and the run
    fails unless they are the same: this detects any row that moves from one page to another between two requests.

    Example::

        Offset(page_size=500, total_path="total")
    """

    page_size: int | None = 100
    offset_param: str = "offset"
    limit_param: str | None = "limit"
    base_offset: int = 0
    step: Literal["served", "received"] = "served"
    overlap: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.page_size, "pagination: page_size", least=1, whole=True)
        check_number(self.base_offset, "pagination: base_offset", whole=True)
        check_choice(self.step, ("served", "received"), "pagination: step")
        if self.step == "received" and self.on_short_page is not None:
            raise ConfigurationError(
                "pagination: on_short_page has no effect with step='received', where no page is short"
            )
        check_number(self.overlap, "pagination: overlap", whole=True)
        if self.overlap and (self.step == "received" or self.total_kind == "pages"):
            raise ConfigurationError("pagination: overlap requires step='served' and total_kind='items'")
        if self.page_size is not None and 2 * self.overlap > self.page_size:
            raise ConfigurationError("pagination: overlap must be at most half of page_size")

    def overlapping(self, rows: int) -> Offset:
        """Return this strategy with pages that overlap by ``rows``."""
        return replace(self, overlap=rows)

    def page_parameters(self, index: int, step: int) -> Mapping[str, Json]:
        """Return the offset, and the limit if it has a parameter."""
        return self._offset_parameters(index * step)

    def follow(self, page: Page) -> PageRequest | Stop:
        """Return the request for the next page, or why this page is the last."""
        if self.step == "served":
            successor = super().follow(page)
            return self._with_tail(successor, page) if self.overlap else successor
        state: Mapping[str, Any] = page.request.state or {}
        own = page.total or self.declared(page)
        total = own.count if own else state.get("total")
        if total is None and (self.total_path or self.total_header) and self.total_is == "exact":
            raise self._missing_total_error(page)
        rows = state.get("rows", 0) + page.count
        stop = self._stop_when_received(page, rows, total)
        if stop is not None:
            return stop
        request = replace(page.request, index=page.request.index + 1, state={"rows": rows, "total": total})
        return inject(request, self.inject_into, self._offset_parameters(rows))

    def ahead(self, page: Page, sent: PageRequest) -> PageRequest | None:
        """Return the request after ``sent``, unless the offset depends on the rows received."""
        return super().ahead(page, sent) if self.step == "served" else None

    def beyond(self, last: PageRecord) -> PageRequest | None:
        """Return the request for the page after ``last``, if a total of items ended the partition with a full page."""
        if self.step == "served":
            behind = super().beyond(last)
            if behind is None or last.total is None or not self.overlap:
                return behind
            return inject(behind, self.inject_into, self._offset_parameters(last.total.count))
        state: Mapping[str, Any] = last.request.state or {}
        by_total = last.total is not None and last.total.kind == "items" and self.has_more_path is None
        if not by_total or last.rows < (self.page_size or 0):
            return None
        request = replace(last.request, index=last.request.index + 1)
        return inject(request, self.inject_into, self._offset_parameters(state.get("rows", 0) + last.rows))

    def trim(self, page: Page) -> Page:
        """Remove the overlap with the previous page.

        Raises ``IncompleteError`` if the rows there differ.
        """
        state: Mapping[str, Any] = page.request.state or {}
        again = state.get("again", 0)
        if not again or page.ignored or page.end is not None:
            return page
        rows = page.rows
        if _digest(rows[:again]) != state["tail"]:
            raise IncompleteError(
                f"{page.request.name} does not begin with the last rows of the previous page: rows were inserted or"
                " deleted while the table was read (check pages_overlap)"
            )
        return page.with_rows(rows[again:])

    def _with_tail(self, successor: PageRequest | Stop, page: Page) -> PageRequest | Stop:
        """Tell the next page which rows it must start with: fewer than the overlap after a short page."""
        if isinstance(successor, Stop):
            return successor
        state: Mapping[str, Any] = page.request.state or {}
        step = successor.state["step"]
        # So short a first page may be the whole table: only rows after it show that pages are too short.
        if page.count and state.get("alone"):
            raise ResponseError(f"the API serves pages of {step} rows, too few for an overlap of {self.overlap}")
        alone = "step" not in state and page.count < 2 * self.overlap
        again = 0 if alone else min(self.overlap, max(0, page.count + self.overlap - step))
        known = {"again": again, "tail": _digest(page.rows[-again:]), **({"alone": True} if alone else {})}
        return replace(successor, state={**successor.state, **known})

    def _rows_per_step(self, page: Page) -> int:
        served = super()._rows_per_step(page)
        return served if served < 2 * self.overlap else served - self.overlap

    def _pages(self, total: int, step: int) -> int:
        return super()._pages(max(total - self.overlap, min(total, 1)), step)

    def _offset_parameters(self, row: int) -> Mapping[str, Json]:
        limit = {self.limit_param: self.page_size} if self.limit_param else {}
        return {self.offset_param: self.base_offset + row, **limit}

    def _stop_when_received(self, page: Page, rows: int, total: int | None) -> Stop | None:
        index = page.request.index + 1
        if self.has_more_path:
            if not self._has_more(page):
                return Stop("no more pages")
        elif total is not None and self.total_is == "exact":
            if (rows if self.total_kind == "items" else index) >= total:
                return Stop("total reached")
        elif not page.count and not page.ignored:
            return Stop("empty page")
        if not page.count:
            raise ResponseError(
                f"page {index} has no rows, but the API reports more: with step='received' the offset cannot advance"
            )
        return None

    def _accepts_any_length(self) -> bool:
        if self.on_short_page is not None:
            return self.on_short_page == "accept"
        # The offsets count rows: only an exact total shows that none was skipped between two pages.
        return self.counts_rows

    def _uneven_page_error(self, page: Page, number: int, which: str) -> ResponseError:
        return ResponseError(f"{super()._uneven_page_error(page, number, which)}, otherwise step='received'")


def _digest(rows: Iterable[bytes]) -> str:
    return sha256(b"\n".join(rows)).hexdigest()
