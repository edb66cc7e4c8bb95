"""Page numbers, and the base class of page numbers and offsets, where the index gives the request."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from airflow_paginated.core.errors import ConfigurationError, ResponseError
from airflow_paginated.core.injection import inject
from airflow_paginated.core.validation import check_choice, check_flag, check_number
from airflow_paginated.core.values import Json, Page, PageRecord, PageRequest, Stop
from airflow_paginated.pagination.common import Strategy


@dataclass(frozen=True, kw_only=True)
class Numbered(Strategy, ABC):
    """Pages whose request follows from their index.

    The run ends with the total, the has-more flag, or, with ``stop_after_empty_page``, at an empty page. The step
    between pages is the number of rows that page 1 really has. ``on_short_page`` decides about a later page that has
    fewer rows and is not the last: ``"fail"``, ``"accept"``, or ``None`` to accept it only if no rows can be lost, or
    an exact total would show it.
    """

    stop_after_empty_page: bool = False
    on_short_page: Literal["fail", "accept"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag(self.stop_after_empty_page, "pagination: stop_after_empty_page")
        if self.on_short_page is not None:
            check_choice(self.on_short_page, ("fail", "accept"), "pagination: on_short_page")
        proof = (self.total_path or self.total_header) and self.total_is == "exact"
        if not (proof or self.has_more_path or self.stop_after_empty_page):
            raise ConfigurationError(
                "pagination: no stop condition; set total_path, total_header, has_more_path or"
                " stop_after_empty_page=True"
                + (" (a total that is only a hint does not end a run)" if self.total_is == "hint" else "")
            )

    @abstractmethod
    def page_parameters(self, index: int, step: int) -> Mapping[str, Json]:
        """Return the parameters for page ``index`` if each page has ``step`` rows."""

    def first(self, request: PageRequest) -> PageRequest:
        """Return the request for page 1."""
        return inject(replace(request, index=0), self.inject_into, self.page_parameters(0, self.page_size or 0))

    def follow(self, page: Page) -> PageRequest | Stop:
        """Return the request for the next page, or why this page is the last."""
        known = self._known(page)
        stop = self._stop_reason(page, known, page.request.index + 1)
        self._check_step(page, known, last=stop is not None)
        short = page.count < known.step and not page.ignored
        return stop or self._request(page.request, page.request.index + 1, known, short)

    def ahead(self, page: Page, sent: PageRequest) -> PageRequest | None:
        """Return the request after ``sent``: known to exist within an exact total, speculative without one."""
        known = self._known(page)
        index = sent.index + 1
        if known.pages is not None and index >= known.pages:
            return None
        return self._request(sent, index, known)

    def beyond(self, last: PageRecord) -> PageRequest | None:
        """Return the request for the page after ``last``, if a total of items ended the partition with a full page."""
        state: Mapping[str, Any] = last.request.state or {}
        step = state.get("step") or last.rows
        by_total = last.total is not None and last.total.kind == "items" and self.has_more_path is None
        if not by_total or not last.rows or last.rows < step:
            return None
        return self._request(last.request, last.request.index + 1, _Known(step, state.get("total"), None))

    def _stop_reason(self, page: Page, known: _Known, done: int) -> Stop | None:
        if self.has_more_path:
            if not self._has_more(page):
                return Stop("no more pages")
        elif known.pages is not None and self.total_is == "exact":
            return Stop("total reached") if done >= known.pages else None
        elif not page.count and not page.ignored and self.stop_after_empty_page:
            return Stop("empty page")
        return None

    def _known(self, page: Page) -> _Known:
        state: Mapping[str, Any] = page.request.state or {}
        own = page.total or self.declared(page)
        total = own.count if own else state.get("total")
        if total is None and (self.total_path or self.total_header) and self.total_is == "exact":
            raise self._missing_total_error(page)
        step = state.get("step") or self._rows_per_step(page)
        if total is None or self.total_kind == "pages":
            return _Known(step, total, total)
        if total and not step:
            raise ResponseError(f"the API declares {total} items, but its first page has no rows")
        return _Known(step, total, self._pages(total, step))

    def _rows_per_step(self, page: Page) -> int:
        """Return how many rows apart pages start, judging by page 1."""
        return page.count or self.page_size or 0

    def _pages(self, total: int, step: int) -> int:
        return -(-total // step) if total else 0

    def _check_step(self, page: Page, known: _Known, last: bool) -> None:
        """Raise if a page is shorter or longer than the first one, and rows may be missing or duplicated."""
        state: Mapping[str, Any] = page.request.state or {}
        if page.ignored or not state.get("step") or self._accepts_any_length():
            return
        if state.get("short") and page.count:
            raise self._uneven_page_error(page, page.request.index, "fewer")
        # Without total and flag, a short page is the last one unless rows follow.
        told = self.has_more_path or (known.pages is not None and self.total_is == "exact")
        if page.count < known.step and not last and told:
            raise self._uneven_page_error(page, page.request.index + 1, "fewer")
        if page.count > known.step:
            raise self._uneven_page_error(page, page.request.index + 1, "more")

    def _accepts_any_length(self) -> bool:
        """Return whether pages may differ in length from the first one."""
        return self.on_short_page != "fail"

    def _uneven_page_error(self, page: Page, number: int, which: str) -> ResponseError:
        return ResponseError(
            f"page {number} has {which} rows than the first page and is not the last: rows may be missing or"
            " duplicated; if the API filters rows after paginating, set on_short_page='accept'"
        )

    def _request(self, base: PageRequest, index: int, known: _Known, short: bool = False) -> PageRequest:
        state = {"step": known.step, "total": known.total} | ({"short": True} if short else {})
        sure = known.pages is not None and self.total_is == "exact"
        request = replace(base, index=index, state=state, sure=sure)
        return inject(request, self.inject_into, self.page_parameters(index, known.step))


@dataclass(frozen=True, slots=True)
class _Known:
    """What a page tells: the step, the newest total, and the number of pages that makes."""

    step: int
    total: int | None
    pages: int | None


@dataclass(frozen=True, kw_only=True)
class PageNumber(Numbered):
    """Number the pages from ``base_page`` on, in the parameter ``page_param``.

    ``page_size`` is sent only if ``page_size_param`` names its parameter.

    Example::

        PageNumber(total_path="meta.total_pages", total_kind="pages", page_size=100, page_size_param="per_page")
    """

    page_param: str = "page"
    base_page: int = 1
    page_size_param: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.base_page, "pagination: base_page", whole=True)
        if self.page_size_param and self.page_size is None:
            raise ConfigurationError("pagination: page_size_param requires page_size")

    def page_parameters(self, index: int, step: int) -> Mapping[str, Json]:
        """Return the page number, and the page size if it has a parameter."""
        size = {self.page_size_param: self.page_size} if self.page_size_param else {}
        return {self.page_param: self.base_page + index, **size}
