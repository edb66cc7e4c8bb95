"""``?after_id=1234``: pages that begin behind the last row of the page before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final

import msgspec

from airflow_paginated.paging.dicts import check_flag
from airflow_paginated.paging.errors import ConfigurationError, ResponseError
from airflow_paginated.paging.injection import placed
from airflow_paginated.paging.selectors import ABSENT, ALL, check_path, parse_path, seen_along, select
from airflow_paginated.paging.strategies.common import names_of
from airflow_paginated.paging.strategies.sequential import Sequential
from airflow_paginated.paging.values import Json, Page, PageRequest, Stop

_DECODE: Final = msgspec.json.Decoder(float_hook=Decimal).decode


@dataclass(frozen=True, kw_only=True)
class Keyset(Sequential):
    """Send the value at ``key_path`` of the last row in ``key_param``; several make a compound key.

    The rows must come in the order of the key. ``first_key`` is what the first request sends. ``inclusive=True``: the
    next page begins with the row of that key again, and every row that is known from the page before is taken off. An
    empty page is the end, unless ``has_more_path`` says so.

    Example::

        Keyset(key_path="id", key_param="after_id", page_size=100, page_size_param="limit")
    """

    key_path: str | Sequence[str]
    key_param: str | Sequence[str]
    first_key: Json = None
    inclusive: bool = False
    stop_after_empty_page: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag(self.inclusive, "pagination: inclusive")
        paths = names_of(self.key_path)
        for path in paths or (self.key_path,):
            check_path(path, "pagination: key_path")
            if ALL in parse_path(str(path)):
                raise ConfigurationError("pagination: key_path leads to one value of a row, [*] means many")
        if len(paths) != len(names_of(self.key_param)):
            raise ConfigurationError("pagination: key_path and key_param must name as many values")

    def first(self, request: PageRequest) -> PageRequest:
        """Return the request for the first page."""
        first = super().first(request)
        if self.first_key is None:
            return first
        return placed(first, self.inject_into, dict.fromkeys(names_of(self.key_param), self.first_key))

    def trim(self, page: Page) -> Page:
        """Take off the rows at the beginning that the page before had at its end.

        Raises ``ResponseError`` where more rows share a key than a page can hold: the next ones cannot be reached.
        """
        state: Mapping[str, Any] = page.request.state or {}
        known = set(state.get("border", ()))
        rows = page.rows if known else []
        again = next((at for at, row in enumerate(rows) if _mark(row) not in known), len(rows))
        if again and again == len(rows) and again >= state["full"]:
            raise ResponseError(
                f"page {page.request.index + 1} has only rows of the page before: as many as a page can hold share"
                f" the key at {self.key_path!r}; raise page_size, or add a field to key_path that tells them apart"
            )
        return page.with_rows(rows[again:]) if again else page

    def found(self, page: Page) -> Json:
        """Return the key of the last row, by parameter; ``None`` for a page without rows."""
        return self._key(page.rows[-1]) if page.count else None

    def missing(self, page: Page) -> str:
        """Say that there is no row to go on from."""
        return f"page {page.request.index + 1} has no row that a next page could begin behind"

    def request(self, page: Page, found: Json) -> PageRequest | Stop:
        """Return the request for what is behind the last row."""
        if not self.inclusive:
            return placed(page.request, self.inject_into, found)
        return placed(replace(page.request, state=self._border(page, found)), self.inject_into, found)

    def _border(self, page: Page, key: dict[str, Json]) -> dict[str, Json]:
        """Return what the next page may repeat: the rows of the last key, and how many rows are a full page."""
        state: Mapping[str, Any] = page.request.state or {}
        rows = page.rows
        first = next((at for at in range(len(rows), 0, -1) if self._key(rows[at - 1]) != key), 0)
        before = state.get("border", []) if not first and state.get("key") == key else []
        # One row in all is no sign of a page that holds one.
        full = state.get("full") or self.page_size or max(2, page.count)
        return {"key": key, "border": [*before, *map(_mark, rows[first:])], "full": min(full, max(2, page.count))}

    def _key(self, row: bytes) -> dict[str, Json]:
        value = _DECODE(row)
        found = {
            name: select(value, path)
            for path, name in zip(names_of(self.key_path), names_of(self.key_param), strict=True)
        }
        if ABSENT in found.values() or None in found.values():
            there = seen_along(value, "the row", *names_of(self.key_path))
            raise ResponseError(f"key_path {self.key_path!r} leads to nothing in a row; {there}")
        return {name: str(each) if isinstance(each, Decimal) else each for name, each in found.items()}


def _mark(row: bytes) -> str:
    return sha256(row).hexdigest()[:16]
