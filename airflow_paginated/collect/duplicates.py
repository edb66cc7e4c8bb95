"""Checks for duplicate rows and repeated pages."""

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
"""Large enough that no run collects two different keys with one digest."""

NO_KEY: Final = b"null"

KEYS_CACHE_KIB: Final = 16384


@dataclass(slots=True)
class DuplicateKeyCheck:
    """Finds rows with the key of an earlier row of the run; changed by the caller's thread only.

    Uses about 30 bytes of temporary disk for each row, and flat memory.
    """

    policy: Completeness
    rows: int = 0
    duplicates: int = 0
    waived: str | None = None
    _paths: tuple[str, ...] = ()
    _seen: SeenSet | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._paths = key_paths(self.policy.key)
        if self._paths:
            self._seen = SeenSet("BLOB", KEYS_CACHE_KIB)

    @property
    def active(self) -> bool:
        """Whether a key is configured."""
        return self._seen is not None

    def admit(self, page: Page) -> Page:
        """Return the page without the duplicates that the policy drops.

        Raises ``IncompleteError`` for a duplicate that the policy refuses, ``ResponseError`` for a row without the key.
        """
        if self._seen is None or not page.count:
            return page
        new = [self._seen.add(digest) for digest in self._digests(page)]
        self.rows += len(new)
        if all(new):
            return page
        self._handle_duplicates(page, new)
        if self.policy.on_duplicate == "keep":
            return page
        return page.with_rows(row for row, fresh in zip(page.rows, new, strict=True) if fresh)

    def close(self) -> None:
        """Release the temporary file."""
        if self._seen is not None:
            self._seen.close()

    def _digests(self, page: Page) -> Iterator[bytes]:
        reader = key_reader(self._paths)
        try:
            for values in reader.read(page.lines):
                if NO_KEY in values:
                    raise ResponseError(f"completeness: key {self.policy.key!r} is null in {page.request.name}")
                yield blake2b(b"\0".join(values), digest_size=KEY_DIGEST_BYTES).digest()
        except msgspec.ValidationError:
            raise ResponseError(
                f"completeness: key {self.policy.key!r} is not in every row of {page.request.name};"
                f" {self._describe_first_without_key(page)}"
            ) from None

    def _describe_first_without_key(self, page: Page) -> str:
        for row in page.rows:
            try:
                list(key_reader(self._paths).read(row + b"\n"))
            except msgspec.ValidationError:
                return describe_path(msgspec.json.decode(row), "a row", *self._paths)
        return "the rows are not objects"

    def _handle_duplicates(self, page: Page, new: list[bool]) -> None:
        count = len(new) - sum(new)
        self.duplicates += count
        evidence = f"{page.request.name} has {count} rows with the same key {self.policy.key!r} as an earlier row"
        if self.policy.on_duplicate == "fail":
            raise IncompleteError(
                f"{evidence}: the table changed while it was read, or pages overlap; completeness.on_duplicate='drop'"
                " keeps the first of each (check unique_key)"
            )
        if self.policy.on_duplicate == "keep":
            self.waived = self.waived or evidence


EMPTY_PAGE_DIGEST: Final = Page.of(PageRequest(""), ()).sha256

PAGES_CACHE_KIB: Final = 4096

MIN_ALIKE_PARTITIONS: Final = 3
"""Two parameter sets may have the same rows; if three or more all have, the API ignores the parameters."""


@dataclass(slots=True)
class RepeatedPageCheck:
    """Finds pages that repeat the rows or the request of an earlier one; changed by the caller's thread only.

    Rows are compared within a partition, requests across all of them. Empty pages may repeat.
    """

    policy: Completeness
    waived: str | None = None
    """The first repeat that the policy allowed."""
    _fingerprints: SeenSet = field(default_factory=lambda: SeenSet("INTEGER", PAGES_CACHE_KIB))
    _newest: dict[tuple[int, ...], str] = field(default_factory=dict)
    """The digest of the newest page of each open partition."""
    _first: str | None = None
    """The digest of the first non-empty first page."""
    _alike: int = 0
    _differ: bool = False

    def admit(self, page: Page) -> Page:
        """Return the page, without its rows if it repeats the page before it and the policy takes that as the end.

        Raises ``IncompleteError`` for any other repeat, unless the policy allows it.
        """
        newest = self._newest.get(page.request.partition, EMPTY_PAGE_DIGEST)
        repeated = self._find_repeat(page.request, page.sha256)
        if repeated is None:
            return page
        if self.policy.on_repeat == "end" and newest == page.sha256:
            return page.with_rows((), end="the last page again")
        evidence = (
            f"{page.request.name} has the same {repeated} as an earlier page; does the API ignore the paging"
            " parameters, or loop?"
        )
        if self.policy.on_repeat != "allow":
            raise IncompleteError(
                f"{evidence} If it serves its last page again past the end, set completeness.on_repeat='end'; if such"
                " pages are expected, set completeness.on_repeat='allow' (check no_page_repeats)"
            )
        self.waived = self.waived or evidence
        return page

    def remember(self, record: PageRecord) -> None:
        """Remember a page that an earlier try stored."""
        self._find_repeat(record.request, record.sha256)

    def check_partitions(self) -> None:
        """Raise ``ResponseError`` if many partitions all begin with the same rows, unless the policy allows it."""
        if self._differ or self._alike < MIN_ALIKE_PARTITIONS:
            return
        evidence = f"the first pages of all {self._alike} partitions that have rows are the same"
        if self.policy.on_repeat != "allow":
            raise ResponseError(
                f"{evidence}: does the API ignore their parameters, or does the endpoint lack a {{placeholder}}? If"
                " such pages are expected, set completeness.on_repeat='allow' (check no_page_repeats)"
            )
        self.waived = self.waived or evidence

    def forget(self, partition: tuple[int, ...]) -> None:
        """Drop the state of a partition that has ended."""
        self._newest.pop(partition, None)

    def close(self) -> None:
        """Release the temporary file."""
        self._fingerprints.close()

    def _find_repeat(self, request: PageRequest, sha256: str) -> str | None:
        """Remember a page and return what it repeats: its rows, its request or nothing."""
        self._newest[request.partition] = sha256
        if not request.index and sha256 != EMPTY_PAGE_DIGEST:
            self._first = self._first or sha256
            self._alike += sha256 == self._first
            self._differ |= sha256 != self._first
        new_request = self._fingerprints.add(hash(_describe_request(request)))
        new_rows = sha256 == EMPTY_PAGE_DIGEST or self._fingerprints.add(hash((request.partition, sha256)))
        return None if new_request and new_rows else "rows" if new_request else "request"


def _describe_request(request: PageRequest) -> tuple[str, str, str]:
    """Return what goes on the wire, whatever the order of the parameters."""
    # Without the partition: if two partitions send one request, for example because links lose the parameters, its
    # rows are collected twice.
    varying = (sorted(request.query.items()), sorted(request.headers.items()), request.body)
    return request.path, request.method, repr(varying)
