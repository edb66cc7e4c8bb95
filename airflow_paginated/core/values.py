"""The values of a collection: requests, pages, what follows a page, and reports."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias

Json: TypeAlias = Any
"""Any JSON value: dict, list, str, int, float, bool or None."""

TotalKind: TypeAlias = Literal["items", "pages"]


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The request for one page.

    ``partition`` is a path of integers and ``index`` counts from 0 inside it; together they identify the page and
    order the dataset. ``path`` is relative to the connection's base URL, or an absolute URL of the same origin.
    ``state`` carries what the strategy remembers from page to page, as JSON. ``sure`` is false for a page that is
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
        """The page's name in messages: its number and its partition."""
        return f"page {self.index + 1} of partition {'.'.join(map(str, self.partition))}"

    def same_exchange(self, other: PageRequest) -> bool:
        """Return whether both put the same request on the wire."""
        return (self.path, self.method, self.query, self.headers, self.body) == (
            other.path,
            other.method,
            other.query,
            other.headers,
            other.body,
        )


@dataclass(frozen=True, slots=True)
class Page:
    """One fetched page: its rows as JSON Lines, each as it was sent, and the rest of the body (``envelope``).

    ``lines`` ends every row with a line feed, ``count`` counts the rows and ``sha256`` (hex) is the digest of
    ``lines``. ``headers`` has lower-case names. ``bytes`` is the size of the decoded body, ``seconds`` the time from
    the first attempt to the last byte; ``attempts`` includes the first one. ``url`` is where the response came from,
    without query and fragment: the base of relative links. ``end`` says why no page follows, if the response itself
    is the end; ``ignored`` means that its rows are dropped on purpose. ``auth_params`` names the query parameters that
    authentication adds to every request: requests that follow from the page go without them. ``total`` is the exact
    total that the page declares.
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
    total: Total | None = None

    @classmethod
    def of(cls, request: PageRequest, rows: Iterable[builtins.bytes], **known: Any) -> Page:
        """Create a page from ``rows``, each the JSON of one row without a line feed."""
        texts = list(rows)
        lines = b"".join(b"%b\n" % text for text in texts)
        return cls(request, lines, len(texts), sha256(lines).hexdigest(), **known)

    @property
    def rows(self) -> list[builtins.bytes]:
        """The JSON of each row."""
        return self.lines.split(b"\n")[:-1]

    def with_rows(self, rows: Iterable[builtins.bytes], **changes: Any) -> Page:
        """Return the page with other rows."""
        other = Page.of(self.request, rows)
        return replace(self, lines=other.lines, count=other.count, sha256=other.sha256, **changes)


@dataclass(frozen=True, slots=True)
class Stop:
    """No page follows; ``why`` names the positive sign of the end."""

    why: str


@dataclass(frozen=True, slots=True)
class Split:
    """A partition too large to page through: the partitions of ``requests`` replace it.

    Their ids are the id of the page's partition plus one more number, counted from 0.
    """

    requests: tuple[PageRequest, ...]


Successor: TypeAlias = PageRequest | Stop | Split
"""What follows a page."""


@dataclass(frozen=True, slots=True)
class Total:
    """A total that an API declares, in ``items`` or ``pages``."""

    count: int
    kind: TotalKind


@dataclass(frozen=True, slots=True)
class OrderedPage:
    """A page whose turn has come, and what follows it."""

    page: Page
    successor: Successor


@dataclass(frozen=True, slots=True)
class PageRecord:
    """What is kept of a page once its rows are stored."""

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
        """Return the record of a page; ``bytes`` counts its rows as they are stored."""
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
"""The syntax of method and header names (RFC 9110, section 5.6.2)."""

Verdict: TypeAlias = Literal["passed", "waived", "unverified"]


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a collection: its verdict and the evidence."""

    name: str
    verdict: Verdict
    evidence: str


@dataclass(frozen=True, slots=True)
class CollectionReport:
    """The result of a finished collection."""

    partitions: int
    pages: int
    rows: int
    bytes: int
    stop_reason: str
    checks: tuple[Check, ...]

    @property
    def complete(self) -> bool:
        """Return whether no check was waived."""
        return all(check.verdict != "waived" for check in self.checks)
