"""``?after_id=1234``: pages that begin behind the last row of the page before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import sha256
from itertools import pairwise
from typing import Any, Final

import msgspec

from airflow_paginated.core.errors import ConfigurationError, IncompleteError, ResponseError
from airflow_paginated.core.injection import inject
from airflow_paginated.core.paths import ABSENT, ALL, check_path, describe_path, parse_path, select
from airflow_paginated.core.validation import check_flag
from airflow_paginated.core.values import Json, Page, PageRequest, Stop
from airflow_paginated.pagination.common import as_names, assign
from airflow_paginated.pagination.cursor import Sequential

_decode_row: Final = msgspec.json.Decoder(float_hook=Decimal).decode


@dataclass(frozen=True, kw_only=True)
class Keyset(Sequential):
    """Send the value at ``key_path`` of the last row in ``key_param``; several make a compound key.

    The rows must come in the order of the key, and no two of them may share one. ``first_key`` is what the first
    request sends. ``inclusive=True``: rows may share a key, fewer than a page holds; the next page begins with the rows
    of the last key again, and those that are known are taken off. An empty page is the end, unless ``has_more_path``
    says otherwise.

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
        paths = as_names(self.key_path)
        for path in paths or (self.key_path,):
            check_path(path, "pagination: key_path")
            if ALL in parse_path(str(path)):
                raise ConfigurationError(
                    "pagination: key_path must lead to a single value of a row, but [*] matches many"
                )
        if len(paths) != len(self._params):
            raise ConfigurationError("pagination: key_path and key_param must have the same length")
        if self.inclusive and self.page_size == 1:
            raise ConfigurationError(
                "pagination: inclusive requires a page_size of at least 2: each page repeats a row"
            )

    def first(self, request: PageRequest) -> PageRequest:
        """Return the request for the first page."""
        first = super().first(request)
        if self.first_key is None:
            return first
        key = assign(self._params, self.first_key)
        return inject(replace(first, state={"key": key}), self.inject_into, key)

    def trim(self, page: Page) -> Page:
        """Take off the rows at the beginning that the page before had at its end.

        Raises ``ResponseError`` where they show that the key cannot lead on.
        """
        if not page.request.index:
            return page
        rows, state = page.rows, page.request.state
        if not self.inclusive:
            if rows and self._key_of(rows[0]) == state["key"]:
                raise ResponseError(f"{page.request.name} begins with the key that was sent: set inclusive=True")
            return page
        new = self._without_known(rows, state["key"], Counter(state["border"]))
        if page.end is None and not page.ignored:
            self._check_border(page, len(rows), len(new))
        return page.with_rows(new)

    def found(self, page: Page) -> Json:
        """Return the key of the last row, by parameter; ``None`` for a page without rows."""
        return self._key_of(page.rows[-1]) if page.count else None

    def missing(self, page: Page) -> str:
        """Say that there is no row to go on from."""
        return f"{page.request.name} has no {'new ' if self.inclusive else ''}row to continue from"

    def request(self, page: Page, found: Json) -> PageRequest | Stop:
        """Return the request for what is behind the last row."""
        state: Mapping[str, Any] = page.request.state or {}
        if not self.counts_rows:
            self._check_order(page, found, state.get("key") if page.request.index else None)
        if not self.inclusive:
            return inject(replace(page.request, state={"key": found}), self.inject_into, found)
        known = state.get("border", ()) if state.get("key") == found else ()
        border = [*known, *map(_row_digest, self._rows_of_last_key(page.rows, found))]
        # One row in all is no sign of a page that holds one.
        full = max(state.get("full", 2), page.count)
        if state.get("key") == found:
            return self._stop_at_same_key(page, len(border) < full)
        state = {"key": found, "border": border, "full": full}
        return inject(replace(page.request, state=state), self.inject_into, found)

    @property
    def _params(self) -> tuple[str, ...]:
        return as_names(self.key_param)

    def _without_known(self, rows: list[bytes], key: Json, known: Counter[str]) -> list[bytes]:
        """Return the rows without those that are known, which are among the first: those of the same key."""
        new: list[bytes] = []
        for at, row in enumerate(rows):
            mark = _row_digest(row)
            if known[mark]:
                known[mark] -= 1
            elif known.total() and self._key_of(row) == key:
                new.append(row)
            else:
                return new + rows[at:]
        return new

    def _check_border(self, page: Page, rows: int, new: int) -> None:
        """Refuse a page that cannot be told from one that hides rows of the key that was sent."""
        if not new and rows >= page.request.state["full"] and not (self.counts_rows or self.has_more_path):
            raise self._too_many_rows_error(page)
        if new == rows and page.request.index == 1:
            raise IncompleteError(
                "page 2 does not begin with the last row of page 1: that row was deleted or changed, or inclusive"
                " must be False"
            )

    def _rows_of_last_key(self, rows: list[bytes], key: Json) -> list[bytes]:
        """Return the rows of the last key."""
        return rows[next((at for at in range(len(rows), 0, -1) if self._key_of(rows[at - 1]) != key), 0) :]

    def _stop_at_same_key(self, page: Page, all_there: bool) -> Stop:
        """Say what a page means that ends with the key that was sent: asked again, it would be the same page."""
        if self.has_more_path or not (all_there or self.counts_rows):
            raise self._too_many_rows_error(page)
        return Stop("no next page")

    def _check_order(self, page: Page, last: Json, sent: Json) -> None:
        """Refuse rows in another order than that of the key, where numbers show it, and keys that are not unique."""
        keys = [*([] if sent is None else [sent]), *map(self._key_of, page.rows[:-1]), last]
        if not self.inclusive and any(one == other for one, other in pairwise(keys)):
            raise ResponseError(
                f"two rows of {page.request.name} share the key at {self.key_path!r}, and a page boundary may"
                " fall between such rows: add a field to key_path that distinguishes them, or set inclusive=True"
            )
        values = [key[self._params[0]] for key in keys]
        if all(isinstance(each, int | float) for each in values):
            up, down = (any(one * way < other * way for one, other in pairwise(values)) for way in (1, -1))
            if up and down:
                raise ResponseError(
                    f"the rows of {page.request.name} are not in the order of {self.key_path!r}: sort by it"
                )

    def _too_many_rows_error(self, page: Page) -> ResponseError:
        return ResponseError(
            f"a full page of rows shares the key at {self.key_path!r}, so the rows after {page.request.name} cannot be"
            " reached: raise page_size, or add a field to key_path that distinguishes them; if no rows follow, set"
            " total_path or has_more_path, which prove it"
        )

    def _key_of(self, row: bytes) -> dict[str, Json]:
        value = _decode_row(row)
        found = [select(value, path) for path in as_names(self.key_path)]
        if ABSENT in found or None in found:
            there = describe_path(value, "the row", *as_names(self.key_path))
            raise ResponseError(f"key_path {self.key_path!r} matches nothing in a row; {there}")
        return dict(zip(self._params, map(self._key_value, found), strict=True))

    def _key_value(self, value: Json) -> Json:
        """Keep all digits of a fraction: as a text, or in a body as the number that it is."""
        if not isinstance(value, Decimal):
            return value
        return float(value) if self.inject_into == "body" and Decimal(repr(float(value))) == value else str(value)


def _row_digest(row: bytes) -> str:
    return sha256(row).hexdigest()[:16]
