"""One request, one page."""

from __future__ import annotations

from dataclasses import dataclass, replace

from airflow_paginated.paging.values import Page, PageRequest, Stop


@dataclass(frozen=True, kw_only=True)
class SinglePage:
    """An endpoint that answers everything at once."""

    def first(self, request: PageRequest) -> PageRequest:
        """Return the request as it is."""
        return replace(request, index=0)

    def follow(self, page: Page) -> PageRequest | Stop:
        """Stop."""
        return Stop("single page")
