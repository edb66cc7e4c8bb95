"""What a strategy has to answer; nobody has to inherit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, runtime_checkable

from airflow_paginated.core.errors import ConfigurationError, IncompleteError, ResponseError
from airflow_paginated.core.values import Page, PageRecord, PageRequest, Successor, Total


class Pagination(Protocol):
    """All that a strategy needs: each page has exactly one successor, or a reason to stop."""

    def first(self, request: PageRequest) -> PageRequest:
        """Return the request for the first page of a partition."""

    def follow(self, page: Page) -> Successor:
        """Return the request for the page after ``page``, or why there is none."""


@runtime_checkable
class SupportsPrefetch(Protocol):
    """Optional: a strategy that knows more than one request in advance."""

    def ahead(self, page: Page, sent: PageRequest) -> PageRequest | None:
        """Return what may be sent after ``sent`` before its turn, by what ``page`` (the newest) tells, or ``None``."""


@runtime_checkable
class SupportsTotal(Protocol):
    """Optional: a strategy that knows what the API says there is in all."""

    def total(self, page: Page) -> Total | None:
        """Return the total that ``page`` itself declares, or ``None``."""


@runtime_checkable
class SupportsTrim(Protocol):
    """Optional: a strategy whose pages repeat rows of the page before."""

    def trim(self, page: Page) -> Page:
        """Return the page without those rows."""


@runtime_checkable
class SupportsProbe(Protocol):
    """Optional: a strategy that a total ends, and that can ask for what must not be there then."""

    def beyond(self, last: PageRecord) -> PageRequest | None:
        """Return the request for the page after ``last``, where a total ended the partition there with a full page."""


@runtime_checkable
class SupportsOverlap(Protocol):
    """Optional: a strategy that can let each page begin with the last rows of the page before, and compare them."""

    def overlapping(self, rows: int) -> Pagination:
        """Return the strategy whose pages have so many rows in common."""


def trimmed_by(pagination: Pagination) -> Callable[[Page], Page]:
    """Return what takes off a page the rows that this strategy knows from the page before."""
    return pagination.trim if isinstance(pagination, SupportsTrim) else lambda page: page


def fitting(trim: Callable[[Page], Page]) -> Callable[[Page], Page]:
    """Return what trims a page that was fetched again; one that does not fit any more is another page."""

    def admit(page: Page) -> Page:
        try:
            return trim(page)
        except (IncompleteError, ResponseError):
            return replace(page, sha256="")

    return admit


def totals_of(pagination: Pagination) -> Callable[[Page], Total | None]:
    """Return what reads the total that a page declares to this strategy; of one that knows none, always ``None``."""
    return pagination.total if isinstance(pagination, SupportsTotal) else lambda page: None


def overlapped(pagination: Pagination, rows: int) -> Pagination:
    """Return the strategy with pages that have ``rows`` in common.

    Raises ``ConfigurationError`` for one whose pages cannot.
    """
    if not rows:
        return pagination
    if not isinstance(pagination, SupportsOverlap):
        raise ConfigurationError(
            f"completeness: overlap requires pages that can begin at any row, as with Offset; got {pagination!r}"
        )
    return pagination.overlapping(rows)
