"""Pages that are named by a token or a key which the page before has given."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from tests.servers.styles.carrier import Carrier
from tests.servers.styles.core import Json, Path, Rows, Span, Told, Wrong, values
from tests.servers.wire import Request


def plain_token(number: int) -> str:
    """Name a page by a token that needs no encoding."""
    return f"t{number * 7919:08d}"


def as_sent(token: Json) -> Json:
    """Return how a token comes back in a query or a header: a text as it is, anything else as compact JSON."""
    return token if isinstance(token, str) else json.dumps(token, separators=(",", ":"), ensure_ascii=False)


def spans(total: int, size: int, empty: tuple[int, ...] = ()) -> list[Span]:
    """Return all pages of a table; those whose numbers are among ``empty`` have no rows."""
    found: list[Span] = []
    start = 0
    while not found or start < total or len(found) in empty:
        stop = start if len(found) in empty else min(start + size, total)
        found.append(Span(start, stop, total, size, number=len(found)))
        start = stop
    return found


@dataclass(frozen=True, kw_only=True)
class ByToken:
    """``?cursor=t0040``: ``token(page)`` is given at ``path`` or in ``header``, and must come back as ``sent`` says.

    Several tokens travel side by side. ``first``: what the first request must carry. ``end``: what stands in the place
    of a token on the last page. Pages whose number is among ``empty`` have no rows, and a token.
    """

    carrier: Carrier = field(default_factory=Carrier)
    size: int = 20
    size_param: str | None = None
    params: tuple[str, ...] = ("cursor",)
    paths: tuple[Path, ...] = (("next_cursor",),)
    headers: tuple[str, ...] = ()
    token: Callable[[int], Json] = plain_token
    sent: Callable[[Json], Json] = as_sent
    first: Json = None
    end: Literal["absent", "null", "empty", "same", "token"] = "null"
    empty: tuple[int, ...] = ()

    def span(self, request: Request, rows: Rows) -> Span:
        """Return the rows of the page that the tokens name."""
        size = (self.size_param,) if self.size_param else ()
        given = self.carrier.read(request, (*self.params, *size))
        if self.size_param and self.carrier.integer(given, self.size_param) != self.size:
            raise Wrong(f"{self.size_param} is {given[self.size_param]!r}")
        tokens = {name: given[name] for name in self.params if name in given}
        for page in spans(len(rows), self.size, self.empty):
            if tokens == self._tokens_for(page.number):
                return page
        raise Wrong(f"{tokens} was never given")

    def told(self, span: Span, request: Request) -> Told:
        """Return the tokens of the page after this one."""
        if span.more:
            values = self._given(span.number + 1)
        elif self.end in ("same", "token"):
            values = self._given(span.number + (self.end == "token"))
        elif self.end == "absent":
            return Told()
        else:
            values = [None if self.end == "null" else ""] * len(self.params)
        if self.headers:
            given = zip(self.headers, values, strict=True)
            return Told(headers=tuple((name, str(value)) for name, value in given if value is not None))
        return Told(dict(zip(self.paths, values, strict=True)))

    def _tokens_for(self, number: int) -> dict[str, Json]:
        if number == 0:
            return {} if self.first is None else dict.fromkeys(self.params, self.first)
        return dict(zip(self.params, map(self.sent, self._given(number)), strict=True))

    def _given(self, number: int) -> list[Json]:
        if len(self.params) == 1:
            return [self.token(number)]
        return [f"{self.token(number)}.{place}" for place in range(len(self.params))]


@dataclass(frozen=True, kw_only=True)
class ByKey:
    """``?after_id=40``: rows behind the row with the key that is given, or with ``inclusive`` from it on."""

    carrier: Carrier = field(default_factory=Carrier)
    size: int = 20
    fields: tuple[str, ...] = ("id",)
    params: tuple[str, ...] = ("after_id",)
    inclusive: bool = False
    first: Json = None

    def span(self, request: Request, rows: Rows) -> Span:
        """Return the rows that the key leads to."""
        given = self.carrier.read(request, self.params)
        at = 0
        if given != ({} if self.first is None else dict.fromkeys(self.params, self.first)):
            keys = self._keys(rows)
            if given not in keys:
                raise Wrong(f"{given} is the key of no row")
            at = keys.index(given) if self.inclusive else len(keys) - keys[::-1].index(given)
        return Span(at, min(at + self.size, len(rows)), len(rows), self.size)

    def told(self, span: Span, request: Request) -> Told:
        """Return nothing: the rows tell."""
        return Told()

    def _keys(self, rows: Rows) -> list[dict[str, Json]]:
        columns = [values(tuple(rows), field) for field in self.fields]
        if self.carrier.where != "body":
            columns = [tuple(map(as_sent, column)) for column in columns]
        return [dict(zip(self.params, key, strict=True)) for key in zip(*columns, strict=True)]
