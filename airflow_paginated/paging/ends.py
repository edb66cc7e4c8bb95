"""The first and the last page of a partition, fetched again at the end: rows that came or went may show there.

The first page was read before all others. In a table sorted by age, the newest first, whatever came since is on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from airflow_paginated.paging.beyond import MOST_LOOKS, REFUSED
from airflow_paginated.paging.errors import IncompleteError
from airflow_paginated.paging.policies import Completeness
from airflow_paginated.paging.values import Page, PageRequest


@dataclass(slots=True)
class Ends:
    """Which pages to fetch again, and what they were; changed by the caller's thread only."""

    policy: Completeness
    compared: int = 0
    unsure: int = 0
    """How often it is open whether the page has changed: it may not be asked for any more, or the table may grow."""
    waived: str | None = None
    _first: dict[tuple[int, ...], tuple[PageRequest, str]] = field(default_factory=dict)
    _last: dict[tuple[int, ...], tuple[PageRequest, str]] = field(default_factory=dict)

    def note(self, request: PageRequest, sha256: str) -> None:
        """Take note of a page, as it was fetched, in the order of its partition."""
        if not self.policy.refetch_ends:
            return
        known = self._last if request.index else self._first
        if request.partition in self._first or len(self._first) < MOST_LOOKS:
            known[request.partition] = request, sha256

    def forget(self, partition: tuple[int, ...]) -> None:
        """Let go of a partition that gave way to others."""
        self._first.pop(partition, None)
        self._last.pop(partition, None)

    def requests(self) -> Iterator[PageRequest]:
        """Yield the request for the first page of each partition, then for the last."""
        for known in (self._first, self._last):
            yield from (request for request, _ in known.values())

    def judge(self, page: Page) -> None:
        """Compare a page that was fetched again.

        Raises ``IncompleteError`` where it reads otherwise, unless ``on_total_change`` allows for that.
        """
        known = self._last if page.request.index else self._first
        self.compared += 1
        if page.end == REFUSED:
            self.unsure += 1
        elif page.sha256 != known[page.request.partition][1]:
            self._differs(page)

    def _differs(self, page: Page) -> None:
        evidence = f"{page.request.name} reads otherwise at the end than it did when it was collected"
        if self.policy.on_total_change == "warn":
            self.waived = self.waived or evidence
        elif self.policy.on_total_change == "extend":
            self.unsure += 1
        else:
            raise IncompleteError(
                f"{evidence}: the table changes while it is read; for one that only grows at its end, set"
                " completeness.on_total_change='extend' (check ends_unchanged)"
            )
