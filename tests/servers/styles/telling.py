"""What else answers say: totals and flags."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.servers.styles.core import Json, Path, Span, Told
from tests.servers.wire import Request


def items(span: Span) -> int:
    """Count the rows of the table."""
    return span.total


def pages(span: Span) -> int:
    """Count the pages of the table."""
    return span.pages


def own(span: Span) -> int:
    """Count the rows of the page."""
    return span.stop - span.start


def unknown(span: Span) -> int:
    """Say that it is not known."""
    return -1


def capped(span: Span) -> int:
    """Count no further than 100."""
    return min(span.total, 100)


@dataclass(frozen=True, kw_only=True)
class Total:
    """A total at ``path`` or in ``header``; ``when`` says of which requests it is told."""

    path: Path = ("meta", "total")
    header: str | None = None
    count: Callable[[Span], Json] = items
    when: Callable[[Span, Request], bool] = lambda span, request: True

    def told(self, span: Span, request: Request) -> Told:
        """Return the total."""
        if not self.when(span, request):
            return Told()
        found = self.count(span)
        return Told(headers=((self.header, str(found)),)) if self.header else Told({self.path: found})


def on_page_1(span: Span, request: Request) -> bool:
    """Tell the first page."""
    return span.start == 0


@dataclass(frozen=True, kw_only=True)
class More:
    """A flag at ``path`` that says whether there are more pages."""

    path: Path = ("has_more",)
    yes: Json = True
    no: Json = False

    def told(self, span: Span, request: Request) -> Told:
        """Return the flag."""
        return Told({self.path: self.yes if span.more else self.no})
