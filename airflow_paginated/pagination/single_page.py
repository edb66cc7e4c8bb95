"""One request, one page."""

from __future__ import annotations

from dataclasses import dataclass, replace

from airflow_paginated.core.values import Page, PageRequest, Split, Stop, Successor, Total
from airflow_paginated.pagination.protocols import Pagination, SupportsPrefetch, totals_of, trimmed_by


@dataclass(frozen=True, kw_only=True)
class SinglePage:
    """An endpoint that returns everything in one response."""

    def first(self, request: PageRequest) -> PageRequest:
        """Return the request unchanged."""
        return replace(request, index=0)

    def follow(self, page: Page) -> PageRequest | Stop:
        """Stop."""
        return Stop("single page")


@dataclass(frozen=True, slots=True)
class Sample:
    """The first ``pages`` pages of another strategy."""

    whole: Pagination
    pages: int

    def first(self, request: PageRequest) -> PageRequest:
        """Delegate to the whole strategy."""
        return self.whole.first(request)

    def follow(self, page: Page) -> Successor:
        """Delegate to the whole strategy until the sample is full."""
        successor = self.whole.follow(page)
        if isinstance(successor, PageRequest) and successor.index >= self.pages:
            return Stop("sample")
        # One part of a partition that is split is as good a sample as all parts.
        return Split(successor.requests[:1]) if isinstance(successor, Split) else successor

    def ahead(self, page: Page, sent: PageRequest) -> PageRequest | None:
        """Delegate to the whole strategy within the sample."""
        if not isinstance(self.whole, SupportsPrefetch) or sent.index + 1 >= self.pages:
            return None
        return self.whole.ahead(page, sent)

    def total(self, page: Page) -> Total | None:
        """Delegate to the whole strategy."""
        return totals_of(self.whole)(page)

    def trim(self, page: Page) -> Page:
        """Delegate to the whole strategy."""
        return trimmed_by(self.whole)(page)
