"""``?offset=200&limit=100``: pages that begin at a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from airflow_paginated.paging.dicts import check_choice, check_number
from airflow_paginated.paging.errors import ConfigurationError, ResponseError
from airflow_paginated.paging.injection import placed
from airflow_paginated.paging.strategies.numbered import Numbered
from airflow_paginated.paging.values import Json, Page, PageRecord, PageRequest, Stop


@dataclass(frozen=True, kw_only=True)
class Offset(Numbered):
    """Begin each page at a row, counted from ``base_offset``, in the parameter ``offset_param``.

    ``page_size`` is sent in ``limit_param``, unless that is ``None``. A server may serve fewer rows than it is asked
    for: the offsets follow what page 1 really served, or with ``step="received"`` what each page did, one page after
    the other.

    Example::

        Offset(page_size=500, total_path="total")
    """

    page_size: int | None = 100
    offset_param: str = "offset"
    limit_param: str | None = "limit"
    base_offset: int = 0
    step: Literal["served", "received"] = "served"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.page_size, "pagination: page_size", least=1, whole=True)
        check_number(self.base_offset, "pagination: base_offset", whole=True)
        check_choice(self.step, ("served", "received"), "pagination: step")
        if self.step == "received" and self.total_method == "HEAD":
            raise ConfigurationError("pagination: step='received' does not go with total_method='HEAD'")
        if self.step == "received" and self.on_short_page is not None:
            raise ConfigurationError(
                "pagination: on_short_page says nothing with step='received': no page is short then"
            )

    def place(self, index: int, step: int) -> Mapping[str, Json]:
        """Return the page's offset, and the limit where it has a parameter."""
        return self._from(index * step)

    def follow(self, page: Page) -> PageRequest | Stop:
        """Return the next page's request, or why this page was the last."""
        if self.step == "served":
            return super().follow(page)
        state: Mapping[str, Any] = page.request.state or {}
        own = self.declared(page)
        total = own.count if own else state.get("total")
        if total is None and (self.total_path or self.total_header) and self.total_is == "exact":
            raise self._no_total(page)
        rows = state.get("rows", 0) + page.count
        stop = self._received_all(page, rows, total)
        if stop is not None:
            return stop
        request = replace(page.request, index=page.request.index + 1, state={"rows": rows, "total": total})
        return placed(request, self.inject_into, self._from(rows))

    def ahead(self, page: Page, sent: PageRequest) -> PageRequest | None:
        """Return the request after ``sent``, where the offsets do not depend on what comes."""
        return super().ahead(page, sent) if self.step == "served" else None

    def beyond(self, last: PageRecord) -> PageRequest | None:
        """Return the request for the page after ``last``, where a total of items ended the partition there, full."""
        if self.step == "served":
            return super().beyond(last)
        state: Mapping[str, Any] = last.request.state or {}
        by_total = last.total is not None and last.total.kind == "items" and self.has_more_path is None
        if not by_total or last.rows < (self.page_size or 0):
            return None
        request = replace(last.request, index=last.request.index + 1)
        return placed(request, self.inject_into, self._from(state.get("rows", 0) + last.rows))

    def _from(self, row: int) -> Mapping[str, Json]:
        limit = {self.limit_param: self.page_size} if self.limit_param else {}
        return {self.offset_param: self.base_offset + row, **limit}

    def _received_all(self, page: Page, rows: int, total: int | None) -> Stop | None:
        index = page.request.index + 1
        if self.has_more_path:
            if not self._more(page):
                return Stop("no more pages")
        elif total is not None and self.total_is == "exact":
            if (rows if self.total_kind == "items" else index) >= total:
                return Stop("total reached")
        elif not page.count and not page.ignored:
            return Stop("empty page")
        if not page.count:
            raise ResponseError(
                f"page {index} has no rows, but the API says that there are more: with step='received' the offset"
                " cannot go on"
            )
        # Where nothing tells of a next page, it may be the empty one that ends the run.
        told = self.has_more_path or (total is not None and self.total_is == "exact")
        self._check_max(index + bool(told))
        return None

    def _accepts_any_length(self) -> bool:
        if self.on_short_page is not None:
            return self.on_short_page == "accept"
        # The offsets count rows: only a total that must come true shows that none fell between two pages.
        return self.counts_rows

    def _uneven(self, page: Page, number: int, which: str) -> ResponseError:
        return ResponseError(f"{super()._uneven(page, number, which)}, else step='received'")
