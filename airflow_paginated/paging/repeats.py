"""Pages and requests that come a second time: an API that goes in circles, or that ignores the paging parameters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from airflow_paginated.paging.errors import IncompleteError, ResponseError
from airflow_paginated.paging.policies import Completeness
from airflow_paginated.paging.seen_set import SeenSet
from airflow_paginated.paging.values import Page, PageRecord, PageRequest

EMPTY_PAGE_DIGEST: Final = Page.of(PageRequest(""), ()).sha256
PAGES_CACHE_KIB: Final = 4096
MANY: Final = 3
"""Two parameter sets may have the same rows; if three have, and no other has other ones, they make no difference."""


@dataclass(slots=True)
class RepeatedPageCheck:
    """Tells a page that repeats an earlier one; changed by the caller's thread only.

    By its rows, or by its request, which may be that of another partition; empty pages may be alike.
    """

    policy: Completeness
    waived: str | None = None
    """The first repeat that the policy let pass."""
    _marks: SeenSet = field(default_factory=lambda: SeenSet("INTEGER", PAGES_CACHE_KIB))
    _newest: dict[tuple[int, ...], str] = field(default_factory=dict)
    """Of each open partition, the digest of its newest page."""
    _first: str | None = None
    """The digest that all first pages have, as far as they have rows."""
    _alike: int = 0
    _differ: bool = False

    def admit(self, page: Page) -> Page:
        """Return the page; where it is the page before it again and that is the end, without its rows.

        Raises ``IncompleteError`` for another repeat, unless the policy lets it pass.
        """
        newest = self._newest.get(page.request.partition, EMPTY_PAGE_DIGEST)
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

    def check_partitions(self) -> None:
        """Raise ``ResponseError`` where many partitions all begin with the same rows, unless the policy allows it."""
        if self._differ or self._alike < MANY:
            return
        evidence = f"the first pages of all {self._alike} partitions that have rows are the same"
        if self.policy.on_repeat != "allow":
            raise ResponseError(
                f"{evidence}: does the API ignore their parameters, or lacks the endpoint a {{placeholder}}? If such"
                " pages are right, set completeness.on_repeat='allow' (check no_page_repeats)"
            )
        self.waived = self.waived or evidence

    def forget(self, partition: tuple[int, ...]) -> None:
        """Let go of what only an open partition needs."""
        self._newest.pop(partition, None)

    def close(self) -> None:
        """Forget everything."""
        self._marks.close()

    def _note(self, request: PageRequest, sha256: str) -> str | None:
        """Remember a page and say what of it was there before."""
        self._newest[request.partition] = sha256
        if not request.index and sha256 != EMPTY_PAGE_DIGEST:
            self._first = self._first or sha256
            self._alike += sha256 == self._first
            self._differ |= sha256 != self._first
        new_request = self._marks.add(_asked(request))
        new_rows = sha256 == EMPTY_PAGE_DIGEST or self._marks.add(hash((request.partition, sha256)))
        return None if new_request and new_rows else "rows" if new_request else "request"


def _asked(request: PageRequest) -> int:
    """Digest what is put on the wire; the order of the parameters does not matter."""
    asked = (sorted(request.query.items()), sorted(request.headers.items()), request.body)
    # Without the partition: one request for two of them, as of links that forget the parameters of theirs, brings the
    # same rows twice.
    return hash((request.path, request.method, repr(asked)))
