"""Probes past the end of partitions that a total ended with a full page.

A total that is capped, or counts only the rows of its own page, ends a run early; only a probe reveals it.
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

MAX_PROBES: Final = 100
"""A wrong total is wrong in the first partitions, too."""

ABSENT_STATUSES: Final = (404, 410, 416)

UNCLEAR_STATUSES: Final = (400, 422)
"""Some APIs respond with these past the end, others at any offset that is too deep for them."""

REFUSED: Final = "refused"

TOTAL_ADVICE: Final = (
    "set total_is='hint' and another stop rule, or completeness.probe_past_end=False (nothing_beyond_total)"
)


@dataclass(slots=True)
class PastEndProbe:
    """The full last pages to probe past, and the results; changed by the caller's thread only."""

    strategy: object
    policy: Completeness
    candidates: int = 0
    """Partitions that a total ended with a full page."""
    probed: int = 0
    inconclusive: int = 0
    """Probes that met a refusal or a total that has grown."""
    waived: str | None = None
    _last: dict[tuple[int, ...], tuple[PageRequest, PageRecord]] = field(default_factory=dict)

    def note_last_page(self, record: PageRecord) -> None:
        """Remember the last page of a partition if it has to be probed past."""
        if not self.policy.probe_past_end or not isinstance(self.strategy, SupportsProbe):
            return
        request = self.strategy.beyond(record)
        if request is None:
            return
        self.candidates += 1
        if len(self._last) < MAX_PROBES:
            self._last[request.partition] = (replace(request, behind=True), record)

    def requests(self) -> Iterator[PageRequest]:
        """Yield the request for each page past the end."""
        return (request for request, _ in self._last.values())

    def check(self, page: Page, total: Total | None) -> None:
        """Accept a page that is empty, refused, or a repeat of the last one; ``total`` is the total it declares.

        Raises ``ResponseError`` for rows beyond a wrong total, ``IncompleteError`` for rows beyond one that has grown.
        """
        last = self._last[page.request.partition][1]
        self.probed += 1
        if page.end == REFUSED:
            self.inconclusive += 1
        elif page.count and page.sha256 != last.sha256:
            self._handle_rows(page, grown=_count(total) > _count(last.total))

    def _handle_rows(self, page: Page, grown: bool) -> None:
        if not grown:
            raise ResponseError(
                f"{page.request.name} has rows beyond the API's total: the total is capped, or counts the rows of one"
                f" page; {TOTAL_ADVICE}"
            )
        if self.policy.on_total_change == "fail":
            raise IncompleteError(
                f"{page.request.name} has rows beyond the total of earlier pages: the table grows while it is read"
                f" (completeness.on_total_change), or the total counts only the pages so far: {TOTAL_ADVICE}"
            )
        if self.policy.on_total_change == "warn":
            self.waived = self.waived or f"{page.request.name} has rows that were added while the others were read"
        self.inconclusive += 1


def _count(total: Total | None) -> int:
    return total.count if total else 0


def tolerate_absence(fetch: Fetch) -> Fetch:
    """Wrap ``fetch`` so that a refusal becomes an empty page, which ends with ``REFUSED`` if its cause is unclear."""

    def fetch_or_empty(request: PageRequest) -> Page:
        try:
            return fetch(request)
        except RequestRefused as exc:
            if exc.status not in (*ABSENT_STATUSES, *UNCLEAR_STATUSES):
                raise
            return Page.of(request, (), end=None if exc.status in ABSENT_STATUSES else REFUSED)
        except ResponseError:
            return Page.of(request, (), end=REFUSED)

    return fetch_or_empty
