"""The values that travel: a request for one page, the page that answers it, and the reason to stop."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias

Json: TypeAlias = Any
"""Anything that JSON can say: dict, list, str, int, float, bool or None."""

TotalKind: TypeAlias = Literal["items", "pages"]


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One page, asked for.

    ``partition`` is a path of integers and ``index`` counts from 0 inside it; together they name the page and give
    its place in the dataset. ``path`` is relative to the connection's base URL, or an absolute URL of its origin.
    ``state`` is what the strategy remembers between pages; it must be JSON. ``sure`` is false for a page that is
    asked for without knowing that it exists: such a page may fail, and that counts only when its turn comes.
    ``behind``: behind the last page, where an empty body is an answer and no fault.
    """

    path: str
    method: str = "GET"
    query: Mapping[str, Json] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Json = None
    partition: tuple[int, ...] = (0,)
    index: int = 0
    state: Json = None
    sure: bool = True
    behind: bool = False

    @property
    def name(self) -> str:
        """What the page is called in messages: its number and its partition."""
        return f"page {self.index + 1} of partition {'.'.join(map(str, self.partition))}"

    def same_exchange(self, other: PageRequest) -> bool:
        """Say whether both put the same request on the wire."""
        return (self.path, self.method, self.query, self.headers, self.body) == (
            other.path,
            other.method,
            other.query,
            other.headers,
            other.body,
        )


@dataclass(frozen=True, slots=True)
class Page:
    """One page, answered: its rows as JSON Lines, each as it was sent, and the body without them.

    ``lines`` ends every row with a line feed, ``count`` counts the rows and ``sha256`` (hex) is the digest of
    ``lines``. ``headers`` has lower-case names. ``bytes`` is the size of the decoded body, ``seconds`` the time from
    the first attempt to the last byte; ``attempts`` counts the first try. ``url`` is where the answer came from,
    without query and fragment: what a relative link starts from. ``end`` says why nothing follows, where the answer
    itself is the end; ``ignored`` that its rows are given up on purpose. ``auth_params`` are the query parameters that
    authentication adds to every request: what follows the page goes without them.
    """

    request: PageRequest
    lines: bytes
    count: int
    sha256: str
    envelope: Json = None
    headers: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 1
    bytes: int = 0
    seconds: float = 0.0
    url: str = ""
    end: str | None = None
    ignored: bool = False
    auth_params: frozenset[str] = frozenset()

    @classmethod
    def of(cls, request: PageRequest, rows: Iterable[builtins.bytes], **known: Any) -> Page:
        """Make a page of ``rows``, each the JSON text of one row without a line feed in it."""
        texts = list(rows)
        lines = b"".join(b"%b\n" % text for text in texts)
        return cls(request, lines, len(texts), sha256(lines).hexdigest(), **known)

    @property
    def rows(self) -> list[builtins.bytes]:
        """The JSON text of each row."""
        return self.lines.split(b"\n")[:-1]

    def with_rows(self, rows: Iterable[builtins.bytes], **changes: Any) -> Page:
        """Return this page with other rows in place of its own."""
        other = Page.of(self.request, rows)
        return replace(self, lines=other.lines, count=other.count, sha256=other.sha256, **changes)


@dataclass(frozen=True, slots=True)
class Stop:
    """No page follows, and ``why``: the positive sign that the end was reached."""

    why: str


@dataclass(frozen=True, slots=True)
class Split:
    """A page that stands for more than can be paged through: the partitions of ``requests`` take its place.

    Their ids are that of the page's partition and one more number, counted from 0.
    """

    requests: tuple[PageRequest, ...]


Successor: TypeAlias = PageRequest | Stop | Split
"""What follows a page."""


@dataclass(frozen=True, slots=True)
class Total:
    """What an API says there is in all, counted in ``items`` or in ``pages``."""

    count: int
    kind: TotalKind


@dataclass(frozen=True, slots=True)
class OrderedPage:
    """A page whose turn has come, and what follows it."""

    page: Page
    successor: Successor


@dataclass(frozen=True, slots=True)
class PageRecord:
    """What is still known of a page when its rows are stored away."""

    request: PageRequest
    successor: Successor
    rows: int
    bytes: int
    sha256: str
    attempts: int = 1
    seconds: float = 0.0
    total: Total | None = None
    ignored: bool = False

    @classmethod
    def of(cls, landing: OrderedPage, total: Total | None) -> PageRecord:
        """Take from a landing what is worth keeping; ``bytes`` counts the rows as they are stored."""
        page = landing.page
        return cls(
            request=page.request,
            successor=landing.successor,
            rows=page.count,
            bytes=len(page.lines),
            sha256=page.sha256,
            attempts=page.attempts,
            seconds=page.seconds,
            total=total,
            ignored=page.ignored,
        )


HTTP_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What names a method or a header (RFC 9110, 5.6.2)."""

Verdict: TypeAlias = Literal["passed", "waived", "unverified"]


@dataclass(frozen=True, slots=True)
class Check:
    """One question asked of a collection, its verdict, and the figures behind it."""

    name: str
    verdict: Verdict
    evidence: str


@dataclass(frozen=True, slots=True)
class CollectionReport:
    """What a finished collection adds up to."""

    partitions: int
    pages: int
    rows: int
    bytes: int
    stop_reason: str
    checks: tuple[Check, ...]

    @property
    def complete(self) -> bool:
        """Say whether no check was waived."""
        return all(check.verdict != "waived" for check in self.checks)
