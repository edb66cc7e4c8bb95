"""An API made of parts: what a request asks for, what an answer tells of the next one, and the shape of the answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Protocol, TypeAlias

from tests.servers.api import PagedApi
from tests.servers.wire import Reply, Request

Json: TypeAlias = Any
Path: TypeAlias = tuple[str, ...]
Rows: TypeAlias = Sequence[bytes]
Headers: TypeAlias = tuple[tuple[str, str], ...]
JSON_TYPE: Final = ("Content-Type", "application/json")


class Wrong(Exception):
    """A request that no right client sends."""


@dataclass(frozen=True, slots=True)
class Span:
    """Rows ``start`` to ``stop`` (excluded) of a table of ``total`` rows that begins ``base`` rows into the data.
    ``number`` is that of the page, from 0, where pages are told one by the other.
    """

    start: int
    stop: int
    total: int
    size: int
    base: int = 0
    number: int = 0

    @property
    def more(self) -> bool:
        """Whether rows follow."""
        return self.stop < self.total

    @property
    def pages(self) -> int:
        """The number of pages in all."""
        return -(-self.total // self.size)


@dataclass(frozen=True, slots=True)
class Told:
    """What an answer says beside its rows: fields by their path in the body, and headers."""

    fields: Mapping[Path, Json] = field(default_factory=dict)
    headers: Headers = ()

    @classmethod
    def of(cls, parts: Iterable[Told]) -> Told:
        """Put together what several have to say."""
        every = list(parts)
        fields = {path: value for part in every for path, value in part.fields.items()}
        return cls(fields, tuple(pair for part in every for pair in part.headers))


class Asked(Protocol):
    """How a request names its page, and how an answer names the next one."""

    def span(self, request: Request, rows: Rows) -> Span | Reply:
        """Return the rows that are asked for, or a refusal; raises ``Wrong`` for what was never offered."""

    def told(self, span: Span, request: Request) -> Told:
        """Return what the answer says of the page after it."""


class Tells(Protocol):
    """Something else that an answer says: a total, a flag."""

    def told(self, span: Span, request: Request) -> Told:
        """Return it."""


class Shape(Protocol):
    """How rows and what is told of them make a reply."""

    def reply(self, rows: Rows, told: Told) -> Reply:
        """Return the reply."""


@dataclass(frozen=True, kw_only=True)
class StyledApi:
    """One endpoint of one table. A request that no right client sends is answered by 400, and told by ``wrong``."""

    rows: Rows
    asked: Asked
    shape: Shape
    tells: tuple[Tells, ...] = ()
    path: str = "/items"

    def __call__(self, request: Request) -> Reply:
        """Answer one request."""
        try:
            span = self._span(request)
        except Wrong as wrong:
            return refusal(400, str(wrong))
        if isinstance(span, Reply):
            return span
        told = Told.of(part.told(span, request) for part in (self.asked, *self.tells))
        return self.shape.reply(self.rows[span.base + span.start : span.base + span.stop], told)

    def wrong(self, request: Request) -> str | None:
        """Say what is wrong with a request, or nothing."""
        try:
            self._span(request)
        except Wrong as wrong:
            return str(wrong)
        return None

    def reference(self) -> bytes:
        """Return the rows as JSON Lines."""
        return b"".join(row + b"\n" for row in self.rows)

    def _span(self, request: Request) -> Span | Reply:
        if request.path != self.path:
            raise Wrong(f"there is no endpoint {request.path}")
        return self.asked.span(request, self.rows)


@lru_cache(maxsize=64)
def values(rows: tuple[bytes, ...], field: str) -> tuple[Json, ...]:
    """Return what each row has in a field."""
    return tuple(json.loads(row)[field] for row in rows)


def refusal(status: int, message: str) -> Reply:
    """Return an error in JSON."""
    return Reply(json.dumps({"error": message}).encode(), status)


def employees(count: int) -> Rows:
    """Return rows with ``id`` 0, 1, 2 and so on, and text that trips naive readers."""
    return tuple(line.rstrip(b"\n") for line in PagedApi(rows=count).reference_lines())


def events(count: int, alike: int = 3) -> Rows:
    """Return rows in the order of ``at``, which ``alike`` in a row may share, and of ``id``."""
    return tuple(
        b'{"at":"2024-05-%02dT%02d:00:00+02:00","id":%d,"kind":"a,b;\\"c\\""}'
        % (number // alike // 24 + 1, number // alike % 24, 7 * number)
        for number in range(count)
    )
