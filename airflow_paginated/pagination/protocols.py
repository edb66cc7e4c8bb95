"""The protocols of strategies; implementing them requires no base class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, runtime_checkable

from airflow_paginated.core.errors import ConfigurationError, IncompleteError, ResponseError
from airflow_paginated.core.values import Page, PageRecord, PageRequest, Successor, Total


class Pagination(Protocol):
    """A strategy: for each page, the request that follows, or the reason to stop."""

    def first(self, request: PageRequest) -> PageRequest:
        """Return the request for the first page of a partition."""

    def follow(self, page: Page) -> Successor:
        """Return what follows ``page``: a request, a reason to stop, or a split."""


@runtime_checkable
class SupportsPrefetch(Protocol):
    """Optional: a strategy that can predict further requests, so that pages are fetched concurrently."""

    def ahead(self, page: Page, sent: PageRequest) -> PageRequest | None:
        """Return the request after ``sent`` as far as ``page``, the newest one, tells, or ``None``."""


@runtime_checkable
class SupportsTotal(Protocol):
    """Optional: a strategy that reads the total that the API declares."""

    def total(self, page: Page) -> Total | None:
        """Return the total that ``page`` declares, or ``None``."""


@runtime_checkable
class SupportsTrim(Protocol):
    """Optional: a strategy whose pages repeat rows of the previous page."""

    def trim(self, page: Page) -> Page:
        """Return the page without the repeated rows."""


@runtime_checkable
class SupportsProbe(Protocol):
    """Optional: a strategy that stops at a total, and can request the page after it, which must not exist."""

    def beyond(self, last: PageRecord) -> PageRequest | None:
        """Return the request for the page after ``last``, if a total ended the partition with a full page."""


@runtime_checkable
class SupportsOverlap(Protocol):
    """Optional: a strategy whose pages can overlap, so that rows that move between pages are detected."""

    def overlapping(self, rows: int) -> Pagination:
        """Return the strategy with pages that overlap by ``rows``."""


def trimmed_by(pagination: Pagination) -> Callable[[Page], Page]:
    """Return the function that removes from a page the rows repeated from the previous page."""
    return pagination.trim if isinstance(pagination, SupportsTrim) else lambda page: page


def fitting(trim: Callable[[Page], Page]) -> Callable[[Page], Page]:
    """Wrap ``trim`` for a page fetched again: one that no longer fits counts as changed."""

    def admit(page: Page) -> Page:
        try:
            return trim(page)
        except (IncompleteError, ResponseError):
            return replace(page, sha256="")

    return admit


def totals_of(pagination: Pagination) -> Callable[[Page], Total | None]:
    """Return the function that reads the total of a page; ``None`` for a strategy without totals."""
    return pagination.total if isinstance(pagination, SupportsTotal) else lambda page: None


def overlapped(pagination: Pagination, rows: int) -> Pagination:
    """Return the strategy with pages that overlap by ``rows``.

    Raises ``ConfigurationError`` if its pages cannot overlap.
    """
    if not rows:
        return pagination
    if not isinstance(pagination, SupportsOverlap):
        raise ConfigurationError(
            f"completeness: overlap requires pages that can begin at any row, as with Offset; got {pagination!r}"
        )
    return pagination.overlapping(rows)
