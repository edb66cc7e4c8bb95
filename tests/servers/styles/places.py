"""Pages that have a number or begin at a row."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tests.servers.styles.carrier import Carrier
from tests.servers.styles.core import Asked, Rows, Span, Told, Wrong, refusal, values
from tests.servers.wire import Reply, Request


@dataclass(frozen=True, kw_only=True)
class Cap:
    """The largest page, and what happens to who asks for a larger one: it is cut, a status, or 200 with ``errors``."""

    most: int
    over: Literal["cut", "status", "errors"] = "cut"
    status: int = 400

    def reply(self) -> Reply:
        """Refuse."""
        text = json.dumps({"errors": [{"message": f"page size must not exceed {self.most}"}]}).encode()
        return Reply(text, self.status if self.over == "status" else 200)


@dataclass(frozen=True, kw_only=True)
class Places(ABC):
    """Pages of ``size`` rows; ``asks`` is the size that the client has to ask for in ``size_param``."""

    carrier: Carrier = field(default_factory=Carrier)
    size: int = 20
    size_param: str | None = None
    asks: int | None = None
    cap: Cap | None = None
    past_end: Literal["empty", "not_found", "error", "last"] = "empty"

    @property
    @abstractmethod
    def place_param(self) -> str:
        """The parameter that names the page."""

    @abstractmethod
    def start(self, place: int, size: int) -> int:
        """Return the first row of a page."""

    def span(self, request: Request, rows: Rows) -> Span | Reply:
        """Return the rows of the page that is asked for."""
        given = self.carrier.read(request, [name for name in (self.place_param, self.size_param) if name])
        size = self._size(given)
        if isinstance(size, Reply):
            return size
        start, total = self.start(self.carrier.integer(given, self.place_param), size), len(rows)
        if start < 0:
            raise Wrong("there is no page before the first one")
        if start >= total > 0:
            return self._past(total, size)
        return self.cut(start, size, total)

    def cut(self, start: int, size: int, total: int) -> Span | Reply:
        """Return the rows that begin at one."""
        return Span(start, min(start + size, total), total, size)

    def told(self, span: Span, request: Request) -> Told:
        """Return nothing: the client has to know."""
        return Told()

    def _size(self, given: Mapping[str, Any]) -> int | Reply:
        asked = self.carrier.integer(given, self.size_param) if self.size_param else self.asks
        if asked != self.asks:
            raise Wrong(f"a page of {asked} is asked for, not of {self.asks}")
        size = asked or self.size
        if self.cap is None or size <= self.cap.most:
            return size
        return self.cap.most if self.cap.over == "cut" else self.cap.reply()

    def _past(self, total: int, size: int) -> Span | Reply:
        if self.past_end == "not_found":
            return refusal(404, "there is no such page")
        if self.past_end == "error":
            return refusal(200, "the page is out of range")
        last = (total - 1) // size * size
        return Span(last if self.past_end == "last" else total, total, total, size)


@dataclass(frozen=True, kw_only=True)
class ByNumber(Places):
    """``?page=3``, counted from ``base``."""

    param: str = "page"
    base: int = 1

    @property
    def place_param(self) -> str:
        return self.param

    def start(self, place: int, size: int) -> int:
        return (place - self.base) * size


@dataclass(frozen=True, kw_only=True)
class ByOffset(Places):
    """``?offset=40``, counted from ``base``. The page at a row has ``lengths(row)`` rows, where that is given.

    What lies behind row ``deepest`` is refused.
    """

    param: str = "offset"
    base: int = 0
    lengths: Callable[[int], int] | None = None
    deepest: int | None = None

    @property
    def place_param(self) -> str:
        return self.param

    def start(self, place: int, size: int) -> int:
        return place - self.base

    def cut(self, start: int, size: int, total: int) -> Span | Reply:
        if self.deepest is not None and start + size > self.deepest:
            return refusal(400, f"offset + limit must not exceed {self.deepest}")
        if self.lengths is None:
            if start % size:
                raise Wrong(f"row {start} is in the middle of a page")
            return super().cut(start, size, total)
        at = 0
        while at < start:
            at += self.lengths(at)
        if at != start:
            raise Wrong(f"no page begins at row {start}")
        return Span(start, min(start + self.lengths(start), total), total, size)


@dataclass(frozen=True, kw_only=True)
class InRange:
    """``?id_from=100&id_to=200``: pages within a range of the field ``id``, the end included or not."""

    inner: Callable[[Carrier], Asked]
    carrier: Carrier = field(default_factory=Carrier)
    from_param: str = "id_from"
    to_param: str = "id_to"
    inclusive: bool = False

    def span(self, request: Request, rows: Rows) -> Span | Reply:
        """Return the rows of a page within the range."""
        if self.from_param not in request.query or self.to_param not in request.query:
            raise Wrong("a range has two ends")
        ends = {name: request.query[name] for name in (self.from_param, self.to_param)}
        low, high = (int(ends[name]) for name in (self.from_param, self.to_param))
        ids = values(tuple(rows), "id")
        number = [index for index, each in enumerate(ids) if low <= each < high + self.inclusive]
        base = number[0] if number else 0
        inner = self.inner(replace(self.carrier, query={**self.carrier.query, **ends}))
        found = inner.span(request, rows[base : base + len(number)])
        return replace(found, base=base) if isinstance(found, Span) else found

    def told(self, span: Span, request: Request) -> Told:
        """Return what the pages within tell."""
        return self.inner(self.carrier).told(span, request)
