"""``?after_id=1234``: pages that start after the last row of the previous page."""

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
    """Send the value at ``key_path`` of the last row in ``key_param``; several paths make a compound key.

    The rows must be sorted by the key, and it must be unique. ``first_key`` is what the first request sends. With
    ``inclusive=True``, fewer rows than a page holds may share a key: the next page repeats the rows of the last key,
    and those already collected are removed. An empty page is the end, unless ``has_more_path`` says otherwise.

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
        """Remove the rows at the start that the previous page had at its end.

        Raises ``ResponseError`` if they show that the key cannot advance.
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
        """Say that the page has no row to continue from."""
        return f"{page.request.name} has no {'new ' if self.inclusive else ''}row to continue from"

    def request(self, page: Page, found: Json) -> PageRequest | Stop:
        """Return the request for the rows after the last one."""
        state: Mapping[str, Any] = page.request.state or {}
        if not self.counts_rows:
            self._check_order(page, found, state.get("key") if page.request.index else None)
        if not self.inclusive:
            return inject(replace(page.request, state={"key": found}), self.inject_into, found)
        known = state.get("border", ()) if state.get("key") == found else ()
        border = [*known, *map(_row_digest, self._rows_of_last_key(page.rows, found))]
        # A single row does not mean that a page holds only one.
        full = max(state.get("full", 2), page.count)
        if state.get("key") == found:
            return self._stop_at_same_key(page, len(border) < full)
        state = {"key": found, "border": border, "full": full}
        return inject(replace(page.request, state=state), self.inject_into, found)

    @property
    def _params(self) -> tuple[str, ...]:
        return as_names(self.key_param)

    def _without_known(self, rows: list[bytes], key: Json, known: Counter[str]) -> list[bytes]:
        """Return the rows without the known ones, which are among the first rows, those with the same key."""
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
        """Raise if rows with the key that was sent may be missing from the page."""
        if not new and rows >= page.request.state["full"] and not (self.counts_rows or self.has_more_path):
            raise self._too_many_rows_error(page)
        if new == rows and page.request.index == 1:
            raise IncompleteError(
                "page 2 does not begin with the last row of page 1: that row was deleted or changed, or inclusive"
                " must be False"
            )

    def _rows_of_last_key(self, rows: list[bytes], key: Json) -> list[bytes]:
        """Return the rows with the last key."""
        return rows[next((at for at in range(len(rows), 0, -1) if self._key_of(rows[at - 1]) != key), 0) :]

    def _stop_at_same_key(self, page: Page, all_there: bool) -> Stop:
        """Stop at a page that ends with the key that was sent: the next request would return the same page."""
        if self.has_more_path or not (all_there or self.counts_rows):
            raise self._too_many_rows_error(page)
        return Stop("no next page")

    def _check_order(self, page: Page, last: Json, sent: Json) -> None:
        """Raise if keys repeat, or if numeric keys are out of order."""
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
        """Keep all digits of a fraction: as a string, or in a body as a number if that is exact."""
        if not isinstance(value, Decimal):
            return value
        return float(value) if self.inject_into == "body" and Decimal(repr(float(value))) == value else str(value)


def _row_digest(row: bytes) -> str:
    return sha256(row).hexdigest()[:16]
