"""Pages that must not be there: behind a total that ended a partition with a full page.

A total that is capped, or counts the rows of its own page, ends a run early and looks like a true one, but for this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from airflow_paginated.collect.scheduler import Fetch
from airflow_paginated.core.errors import IncompleteError, RequestRefused, ResponseError
from airflow_paginated.core.policies import Completeness
from airflow_paginated.core.values import Page, PageRecord, PageRequest, Total
from airflow_paginated.pagination.protocols import SupportsProbe

MOST_LOOKS: Final = 100
"""A total that is wrong is so in the first partitions, too."""

NOT_THERE: Final = (404, 410, 416)

UNKNOWN: Final = (400, 422)
"""What some APIs answer behind the end, and others wherever it is too deep for them."""

REFUSED: Final = "refused"

TOTAL_ADVICE: Final = (
    "set total_is='hint' and another stop rule, or completeness.probe_past_end=False (nothing_beyond_total)"
)


@dataclass(slots=True)
class PastEndProbe:
    """The last pages behind which to look, and what was seen there; changed by the caller's thread only."""

    strategy: object
    policy: Completeness
    full: int = 0
    """Partitions that a total ended with a full page."""
    looked: int = 0
    unsure: int = 0
    """How often a refusal or a total that has grown leaves it open whether there was more."""
    waived: str | None = None
    _last: dict[tuple[int, ...], tuple[PageRequest, PageRecord]] = field(default_factory=dict)

    def see(self, record: PageRecord) -> None:
        """Take note of a page behind which to look."""
        if not self.policy.probe_past_end or not isinstance(self.strategy, SupportsProbe):
            return
        request = self.strategy.beyond(record)
        if request is None:
            return
        self.full += 1
        if len(self._last) < MOST_LOOKS:
            self._last[request.partition] = (replace(request, behind=True), record)

    def requests(self) -> Iterator[PageRequest]:
        """Yield the request for each page that must not be there."""
        yield from (request for request, _ in self._last.values())

    def judge(self, page: Page, total: Total | None) -> None:
        """Accept a page that is empty, refused, or the last one again; ``total`` is what it declares.

        Raises ``ResponseError`` for rows behind a total that is wrong, ``IncompleteError`` where it has changed.
        """
        last = self._last[page.request.partition][1]
        self.looked += 1
        if page.end == REFUSED:
            self.unsure += 1
        elif page.count and page.sha256 != last.sha256:
            self._found(page, grown=_count(total) > _count(last.total))

    def _found(self, page: Page, grown: bool) -> None:
        if not grown:
            raise ResponseError(
                f"{page.request.name} has rows, but the API's total ends before it: it is capped, or counts the rows of"
                f" one page; {TOTAL_ADVICE}"
            )
        if self.policy.on_total_change == "fail":
            raise IncompleteError(
                f"{page.request.name} has rows that no total told of before: the table grows while it is read"
                f" (completeness.on_total_change), or the total counts the pages so far: {TOTAL_ADVICE}"
            )
        if self.policy.on_total_change == "warn":
            self.waived = self.waived or f"{page.request.name} has rows that came while the others were read"
        self.unsure += 1


def _count(total: Total | None) -> int:
    return total.count if total else 0


def lenient(fetch: Fetch) -> Fetch:
    """Return ``fetch`` for pages that need not be there: a refusal is an empty page, which says how sure that is."""

    def fetch_beyond(request: PageRequest) -> Page:
        try:
            return fetch(request)
        except RequestRefused as exc:
            if exc.status not in (*NOT_THERE, *UNKNOWN):
                raise
            return Page.of(request, (), end=None if exc.status in NOT_THERE else REFUSED)
        except ResponseError:
            return Page.of(request, (), end=REFUSED)

    return fetch_beyond
