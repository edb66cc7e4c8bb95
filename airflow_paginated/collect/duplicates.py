"""Rows that must not be there twice: a key of each row, remembered for the whole run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import msgspec

from airflow_paginated.core.errors import IncompleteError, ResponseError
from airflow_paginated.core.paths import describe_path, key_reader
from airflow_paginated.core.policies import Completeness, key_paths
from airflow_paginated.core.seen_set import SeenSet
from airflow_paginated.core.values import Page, PageRecord, PageRequest

KEY_DIGEST_BYTES: Final = 16
"""At this size two keys that differ have one digest in no run that anybody could collect."""

NO_KEY: Final = b"null"

KEYS_CACHE_KIB: Final = 16384


@dataclass(slots=True)
class DuplicateKeyCheck:
    """Tells a row whose key an earlier row of the run has; changed by the caller's thread only.

    Flat in memory: some 30 bytes of temporary disk for each row.
    """

    policy: Completeness
    rows: int = 0
    twice: int = 0
    waived: str | None = None
    _paths: tuple[str, ...] = ()
    _seen: SeenSet | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._paths = key_paths(self.policy.key)
        if self._paths:
            self._seen = SeenSet("BLOB", KEYS_CACHE_KIB)

    @property
    def asked(self) -> bool:
        """Say whether there is a key to look at."""
        return self._seen is not None

    def admit(self, page: Page) -> Page:
        """Return the page, without the rows that are to be dropped.

        Raises ``IncompleteError`` for a row that is there twice, ``ResponseError`` for one without the key.
        """
        if self._seen is None or not page.count:
            return page
        new = [self._seen.add(digest) for digest in self._digests(page)]
        self.rows += len(new)
        if all(new):
            return page
        self._found_twice(page, new)
        if self.policy.on_duplicate == "keep":
            return page
        return page.with_rows(row for row, fresh in zip(page.rows, new, strict=True) if fresh)

    def close(self) -> None:
        """Forget everything."""
        if self._seen is not None:
            self._seen.close()

    def _digests(self, page: Page) -> Iterator[bytes]:
        reader = key_reader(self._paths)
        try:
            for texts in reader.read(page.lines):
                if NO_KEY in texts:
                    raise ResponseError(f"completeness: key {self.policy.key!r} is null in {page.request.name}")
                yield blake2b(b"\0".join(texts), digest_size=KEY_DIGEST_BYTES).digest()
        except msgspec.ValidationError:
            raise ResponseError(
                f"completeness: key {self.policy.key!r} is not in every row of {page.request.name}; {self._there(page)}"
            ) from None

    def _there(self, page: Page) -> str:
        """Say what the first row without the key has in its place."""
        for row in page.rows:
            try:
                list(key_reader(self._paths).read(row + b"\n"))
            except msgspec.ValidationError:
                return describe_path(msgspec.json.decode(row), "a row", *self._paths)
        return "the rows are no objects"

    def _found_twice(self, page: Page, new: list[bool]) -> None:
        count = len(new) - sum(new)
        self.twice += count
        evidence = f"{page.request.name} has {count} rows whose key {self.policy.key!r} an earlier row has"
        if self.policy.on_duplicate == "fail":
            raise IncompleteError(
                f"{evidence}: the table changed while it was read, or pages overlap; completeness.on_duplicate='drop'"
                " keeps the first of them (check unique_key)"
            )
        if self.policy.on_duplicate == "keep":
            self.waived = self.waived or evidence


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
