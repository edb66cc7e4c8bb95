"""What page numbers and offsets have in common: a page's place follows from its index."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from airflow_paginated.paging.dicts import check_choice, check_flag, check_number, check_text
from airflow_paginated.paging.errors import ConfigurationError, LimitExceeded, ResponseError
from airflow_paginated.paging.selectors import ABSENT, check_path, seen, select
from airflow_paginated.paging.values import Json, Page, PageRequest, Stop, Total, TotalKind

MOST_DIGITS: Final = 18
"""No table has more rows; Python refuses to read or print an integer of thousands of digits."""


@dataclass(frozen=True, kw_only=True)
class Numbered(ABC):
    """Pages whose request follows from their index, with four ways to know the end.

    ``total_path`` (in the body) or ``total_header`` with ``total_kind`` plan the run; where ``has_more_path`` is given,
    it has the last word. ``stop_after_empty_page`` ends the run where the API says neither. ``max_pages`` fails when it
    is passed: it never truncates. The step between pages is the number of rows that page 1 really served.
    """

    page_size: int | None = None
    total_path: str | None = None
    total_header: str | None = None
    total_kind: TotalKind = "items"
    has_more_path: str | None = None
    stop_after_empty_page: bool = False
    max_pages: int | None = None

    def __post_init__(self) -> None:
        check_number(self.page_size, "pagination: page_size", least=1, whole=True, optional=True)
        check_number(self.max_pages, "pagination: max_pages", least=1, whole=True, optional=True)
        check_choice(self.total_kind, ("items", "pages"), "pagination: total_kind")
        for name in ("total_path", "has_more_path"):
            check_path(getattr(self, name), f"pagination: {name}", optional=True)
        for field in fields(self):
            if field.name.endswith(("_param", "_header")):
                check_text(getattr(self, field.name), f"pagination: {field.name}", optional="None" in str(field.type))
        check_flag(self.stop_after_empty_page, "pagination: stop_after_empty_page")
        if self.total_path and self.total_header:
            raise ConfigurationError("pagination: give total_path or total_header, not both")
        if not (self.total_path or self.total_header or self.has_more_path or self.stop_after_empty_page):
            raise ConfigurationError(
                "pagination: no stop rule; give total_path, total_header, has_more_path or stop_after_empty_page=True"
            )

    @abstractmethod
    def place(self, index: int, step: int) -> Mapping[str, Json]:
        """Return the query parameters that name page ``index`` when each page has ``step`` rows."""

    def first(self, request: PageRequest) -> PageRequest:
        """Return the request for page 1."""
        return replace(request, index=0, query={**request.query, **self.place(0, self.page_size or 0)})

    def follow(self, page: Page) -> PageRequest | Stop:
        """Return the next page's request, or why this page was the last."""
        known = _Known.by(self, page)
        index = page.request.index + 1
        if self.has_more_path:
            if not self._has_more(page):
                return Stop("no more pages")
            self._check_max(max(index + 1, known.pages or 0))
        elif known.pages is not None:
            self._check_max(known.pages)
            if index >= known.pages:
                return Stop("total reached")
        elif not page.count:
            return Stop("empty page")
        else:
            # The page to come may be the empty one that ends the run: only this one is known to count.
            self._check_max(index)
        return self._request(page.request, index, known)

    def ahead(self, page: Page, sent: PageRequest) -> PageRequest | None:
        """Return the request after ``sent``: sure within the known total, speculative without one."""
        known = _Known.by(self, page)
        index = sent.index + 1
        limit = min(filter(None, (known.pages, self.max_pages)), default=None)
        if known.pages == 0 or (limit is not None and index >= limit):
            return None
        return self._request(sent, index, known)

    def total(self, page: Page) -> Total | None:
        """Return the total that this very page declares."""
        if self.total_header:
            name = self.total_header
            found = page.headers.get(name.lower())
            return None if found is None else Total(_count(found, f"header {name!r}"), self.total_kind)
        if self.total_path:
            found = select(page.envelope, self.total_path)
            return None if found in (ABSENT, None) else Total(_count(found, repr(self.total_path)), self.total_kind)
        return None

    def _has_more(self, page: Page) -> bool:
        path = self.has_more_path or ""
        found = select(page.envelope, path)
        if not isinstance(found, bool):
            raise ResponseError(
                f"has_more_path {path!r} must be true or false, the answer has {seen(found)} there; "
                f"the body is {seen(page.envelope)}"
            )
        return found

    def _check_max(self, pages: int) -> None:
        if self.max_pages is not None and pages > self.max_pages:
            raise LimitExceeded(
                f"the API has at least {pages} pages, more than max_pages={self.max_pages};"
                " raise max_pages or narrow the query"
            )

    def _request(self, base: PageRequest, index: int, known: _Known) -> PageRequest:
        return replace(
            base,
            index=index,
            query={**base.query, **self.place(index, known.step)},
            state={"step": known.step, "total": known.total},
            sure=known.pages is not None,
        )


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known once a page has come: the step, and the newest total."""

    step: int
    total: int | None
    pages: int | None

    @classmethod
    def by(cls, strategy: Numbered, page: Page) -> _Known:
        state: Mapping[str, Any] = page.request.state or {}
        step = state.get("step") or page.count or strategy.page_size or 0
        own = strategy.total(page)
        total = own.count if own else state.get("total")
        if total is None and (strategy.total_path or strategy.total_header):
            raise _no_total(strategy, page)
        if total is None or strategy.total_kind == "pages":
            return cls(step, total, total)
        if total and not step:
            raise ResponseError(f"the API declares {total} items, but its first page has no rows")
        return cls(step, total, -(-total // step) if total else 0)


def _no_total(strategy: Numbered, page: Page) -> ResponseError:
    if strategy.total_header:
        names = ", ".join(sorted(page.headers))
        return ResponseError(f"total_header {strategy.total_header!r} is not in the answer; its headers are {names}")
    return ResponseError(f"total_path {strategy.total_path!r} matches nothing; the body is {seen(page.envelope)}")


def _count(found: Json, where: str) -> int:
    """Return a count that is an integer or a string of digits."""
    if isinstance(found, str) and len(found) <= MOST_DIGITS and found.strip().isdecimal():
        found = int(found)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 10**MOST_DIGITS:
        raise ResponseError(f"the total at {where} must be a count, the answer has {str(found)[:40]!r} there")
    return found
