"""``{"next_cursor": "abc"}``: a token in the answer, to be sent back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from airflow_paginated.paging.dicts import check_flag
from airflow_paginated.paging.errors import ConfigurationError, ResponseError
from airflow_paginated.paging.injection import placed
from airflow_paginated.paging.selectors import ABSENT, beside_rows, check_path, select
from airflow_paginated.paging.strategies.common import assigned, names_of
from airflow_paginated.paging.strategies.sequential import NOTHING, Sequential
from airflow_paginated.paging.values import Json, Page, PageRequest


@dataclass(frozen=True, kw_only=True)
class Tokens(Sequential):
    """Send back in ``cursor_param`` what the page before has given; several tokens travel side by side.

    ``first_cursor`` is what the first request sends, ``""`` for a parameter that must be there and empty, a list for
    several tokens. Tokens are encoded once; ``cursor_encoded=True`` says that the API gives them percent-encoded
    already. A token that is not a string is sent as JSON.
    """

    cursor_param: str | Sequence[str] = "cursor"
    first_cursor: Json = None
    cursor_encoded: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag(self.cursor_encoded, "pagination: cursor_encoded")
        if len(self._sources) != len(self._names):
            raise ConfigurationError(
                f"pagination: cursor_param names {len(self._names)} parameters for {len(self._sources)} tokens"
            )

    @property
    @abstractmethod
    def _sources(self) -> tuple[str, ...]:
        """Where the tokens are."""

    @abstractmethod
    def token(self, page: Page, source: str) -> Json:
        """Return the token at one place of the page, or ``ABSENT``."""

    @property
    def _names(self) -> tuple[str, ...]:
        return names_of(self.cursor_param)

    def first(self, request: PageRequest) -> PageRequest:
        """Return the request for the first page."""
        first = super().first(request)
        if self.first_cursor is None:
            return first
        return self._with(first, assigned(self._names, self.first_cursor))

    def found(self, page: Page) -> Json:
        """Return the tokens that are there, by parameter; ``None`` or ``ABSENT`` for none at all."""
        given = [self.token(page, source) for source in self._sources]
        tokens = {name: self._plain(each) for name, each in zip(self._names, given, strict=True) if _is_token(each)}
        if tokens:
            return tokens
        return ABSENT if all(each is ABSENT for each in given) else None

    def request(self, page: Page, found: Json) -> PageRequest:
        """Return the request with the tokens in the place of those before."""
        return self._with(page.request, found)

    def _with(self, request: PageRequest, tokens: Mapping[str, Json]) -> PageRequest:
        # A token that is no longer there must not be sent once more.
        return placed(request, self.inject_into, {name: tokens.get(name) for name in self._names})

    def _plain(self, token: Json) -> Json:
        if not (self.cursor_encoded and isinstance(token, str)):
            return token
        try:
            return unquote(token, errors="strict")
        except UnicodeDecodeError:
            raise ResponseError("a cursor is percent-encoded, but not UTF-8: it cannot be sent back as it is") from None


@dataclass(frozen=True, kw_only=True)
class Cursor(Tokens):
    """Send back the token at ``cursor_path`` of the body in ``cursor_param``.

    Example::

        Cursor(cursor_path="meta.next_cursor", cursor_param="cursor")
        Cursor.relay("data.users")
    """

    cursor_path: str | Sequence[str]

    @classmethod
    def relay(cls, connection: str, cursor_param: str = "variables.after", **fields: Any) -> Cursor:
        """Return the strategy for a GraphQL query with a Relay connection at a path of the answer.

        Source: GraphQL Cursor Connections Specification, section "PageInfo".
        """
        info = f"{connection}.pageInfo"
        known = {"cursor_path": f"{info}.endCursor", "has_more_path": f"{info}.hasNextPage", "inject_into": "body"}
        return cls(**{"cursor_param": cursor_param, **known, **fields})

    def __post_init__(self) -> None:
        for path in names_of(self.cursor_path) or (self.cursor_path,):
            check_path(path, "pagination: cursor_path")
        super().__post_init__()

    @property
    def _sources(self) -> tuple[str, ...]:
        return names_of(self.cursor_path)

    def token(self, page: Page, source: str) -> Json:
        """Return what is at a path of the body."""
        return select(page.envelope, source)

    def missing(self, page: Page) -> str:
        """Name the path, and the shape of the body."""
        where = " and ".join(repr(path) for path in self._sources)
        return f"cursor_path {where} leads to no cursor; {beside_rows(page.envelope, *self._sources)}"


def _is_token(given: Json) -> bool:
    return given is not ABSENT and given not in NOTHING and given != {} and given != []
