"""What a strategy has to answer; nobody has to inherit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from airflow_paginated.paging.values import Page, PageRecord, PageRequest, Successor, Total


class Pagination(Protocol):
    """All that a strategy needs: each page has exactly one successor, or a reason to stop."""

    def first(self, request: PageRequest) -> PageRequest:
        """Return the request for the first page of a partition."""

    def follow(self, page: Page) -> Successor:
        """Return the request for the page after ``page``, or why there is none."""


@runtime_checkable
class Ahead(Protocol):
    """Optional: a strategy that knows more than one request in advance."""

    def ahead(self, page: Page, sent: PageRequest) -> PageRequest | None:
        """Return what may be sent after ``sent`` before its turn, by what ``page`` (the newest) tells, or ``None``."""


@runtime_checkable
class Counted(Protocol):
    """Optional: a strategy that knows what the API says there is in all."""

    def total(self, page: Page) -> Total | None:
        """Return the total that ``page`` itself declares, or ``None``."""


@runtime_checkable
class Trimming(Protocol):
    """Optional: a strategy whose pages repeat rows of the page before."""

    def trim(self, page: Page) -> Page:
        """Return the page without those rows."""


@runtime_checkable
class Looking(Protocol):
    """Optional: a strategy that a total ends, and that can ask for what must not be there then."""

    def beyond(self, last: PageRecord) -> PageRequest | None:
        """Return the request for the page after ``last``, where a total ended the partition there with a full page."""


def trimmed_by(pagination: Pagination) -> Callable[[Page], Page]:
    """Return what takes off a page the rows that this strategy knows from the page before."""
    return pagination.trim if isinstance(pagination, Trimming) else lambda page: page


def totals_of(pagination: Pagination) -> Callable[[Page], Total | None]:
    """Return what reads the total that a page declares to this strategy; of one that knows none, always ``None``."""
    return pagination.total if isinstance(pagination, Counted) else lambda page: None
