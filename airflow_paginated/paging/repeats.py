"""Pages and requests that come a second time: an API that goes in circles, or that ignores the paging parameters."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from airflow_paginated.paging.errors import IncompleteError
from airflow_paginated.paging.policies import Completeness
from airflow_paginated.paging.values import Page, PageRecord, PageRequest

REMEMBERED_PAGES: Final = 100_000
EMPTY: Final = Page.of(PageRequest(""), ()).sha256


@dataclass(slots=True)
class _Trail:
    """One open partition: the digest of its newest page, and a request to meet again (Brent's cycle detection)."""

    newest: str = EMPTY
    anchor: int | None = None
    steps: int = 0
    power: int = 1

    def meets_again(self, request: int) -> bool:
        if request == self.anchor:
            return True
        if self.anchor is None or self.steps == self.power:
            self.anchor, self.steps, self.power = request, 0, 2 * self.power
        self.steps += 1
        return False


@dataclass(slots=True)
class Repeats:
    """Tells a page that repeats an earlier one; changed by the caller's thread only.

    By its rows, or by its request, which may be that of another partition; empty pages may be alike. Exact among the
    newest ``REMEMBERED_PAGES`` of a run; a longer circle of requests is found in a later lap.
    """

    policy: Completeness
    waived: str | None = None
    """The first repeat that the policy let pass."""
    _seen: set[int] = field(default_factory=set)
    _order: deque[tuple[int, ...]] = field(default_factory=deque)
    _trails: dict[tuple[int, ...], _Trail] = field(default_factory=dict)

    def admit(self, page: Page) -> Page:
        """Return the page; where it is the page before it again and that is the end, without its rows.

        Raises ``IncompleteError`` for another repeat, unless the policy lets it pass.
        """
        newest = self._trail(page.request.partition).newest
        repeated = self._note(page.request, page.sha256)
        if repeated is None:
            return page
        if self.policy.on_repeat == "end" and newest == page.sha256:
            return page.with_rows((), end="the last page again")
        evidence = (
            f"{page.request.name} has the same {repeated} as an earlier page; does the API ignore the paging"
            " parameters, or go in circles?"
        )
        if self.policy.on_repeat != "allow":
            raise IncompleteError(
                f"{evidence} If it serves its last page again past the end, set completeness.on_repeat='end'; if such"
                " pages are right, set completeness.on_repeat='allow' (check no_page_repeats)"
            )
        self.waived = self.waived or evidence
        return page

    def remember(self, record: PageRecord) -> None:
        """Take note of a page that an earlier try has stored."""
        self._note(record.request, record.sha256)

    def forget(self, partition: tuple[int, ...]) -> None:
        """Let go of what only an open partition needs."""
        self._trails.pop(partition, None)

    def _trail(self, partition: tuple[int, ...]) -> _Trail:
        return self._trails.setdefault(partition, _Trail())

    def _note(self, request: PageRequest, sha256: str) -> str | None:
        """Remember a page and say what of it was there before."""
        trail = self._trail(request.partition)
        trail.newest = sha256
        asked, rows = _asked(request), hash((request.partition, sha256))
        repeated = None
        if asked in self._seen or trail.meets_again(asked):
            repeated = "request"
        elif sha256 != EMPTY and rows in self._seen:
            repeated = "rows"
        self._remember((asked, rows))
        return repeated

    def _remember(self, marks: tuple[int, ...]) -> None:
        self._seen.update(marks)
        self._order.append(marks)
        if len(self._order) > REMEMBERED_PAGES:
            self._seen.difference_update(self._order.popleft())


def _asked(request: PageRequest) -> int:
    """Digest what is put on the wire; the order of the parameters does not matter."""
    asked = (sorted(request.query.items()), sorted(request.headers.items()), request.body)
    # Without the partition: one request for two of them, as of links that forget the parameters of theirs, brings the
    # same rows twice.
    return hash((request.path, request.method, repr(asked)))
