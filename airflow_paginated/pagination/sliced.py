"""Ranges of numbers, dates or times, split until each is small enough to page through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any, Final, Literal, TypeAlias

from airflow_paginated.core.errors import ConfigurationError, LimitExceeded, ResponseError
from airflow_paginated.core.injection import PLACES, InjectInto, check_parameter, inject, injected_value
from airflow_paginated.core.validation import check_choice, check_flag, check_number, check_text
from airflow_paginated.core.values import Page, PageRecord, PageRequest, Split, Successor, Total
from airflow_paginated.pagination.common import Strategy, check_distinct
from airflow_paginated.pagination.protocols import Pagination, SupportsPrefetch, SupportsProbe, overlapped, trimmed_by

Bound: TypeAlias = int | str
"""An integer, or an ISO 8601 date or time."""

UNIX_EPOCH: Final = datetime(1970, 1, 1)  # naive: the zone, UTC or unknown, only matters for the format


@dataclass(frozen=True, slots=True)
class Scale:
    """Converts the bounds of ranges to integers (as they are, in days, or in seconds) and back."""

    kind: Literal["numbers", "days", "seconds"]
    zone: str = ""
    mark: str = "T"

    def number(self, bound: Bound) -> int:
        """Return a bound as an integer."""
        if self.kind == "numbers":
            return int(bound)
        if self.kind == "days":
            return date.fromisoformat(str(bound)).toordinal()
        return (datetime.fromisoformat(str(bound).removesuffix(self.zone)) - UNIX_EPOCH) // timedelta(seconds=1)

    def text(self, number: int) -> Bound:
        """Return the bound that ``number`` stands for."""
        if self.kind == "numbers":
            return number
        if self.kind == "days":
            return date.fromordinal(number).isoformat()
        return (UNIX_EPOCH + timedelta(seconds=number)).isoformat(self.mark) + self.zone

    def writes(self, bound: object) -> bool:
        """Return whether the bound has this format, in which all other bounds will be sent."""
        if isinstance(bound, bool) or not isinstance(bound, int if self.kind == "numbers" else str):
            return False
        try:
            return self.text(self.number(bound)) == bound
        except (ValueError, TypeError):
            return False


SCALES: Final = (
    Scale("numbers"),
    Scale("days"),
    *(Scale("seconds", zone, mark) for mark in ("T", " ") for zone in ("", "Z", "+00:00")),
)


def scale_of(start: object, end: object) -> Scale:
    """Return the scale of two bounds.

    Raises ``ConfigurationError`` if their formats differ.
    """
    for scale in SCALES:
        if scale.writes(start) and scale.writes(end):
            return scale
    raise ConfigurationError(
        "pagination: start and end must be two integers, or two strings in the same format, such as 2024-01-31,"
        f" 2024-01-31T00:00:00 or 2024-01-31T00:00:00Z; got {start!r} and {end!r}"
    )


MAX_PARTS: Final = 64


@dataclass(frozen=True, kw_only=True)
class Sliced:
    """Page through ranges of a field with ``pagination``, each small enough for an API that refuses deep pages.

    The first page of a range declares its total: a range of ``max_rows`` or more is split, recursively. If the API
    caps its totals, ``max_rows`` must be at most that cap. ``start`` and ``end`` (exclusive) are integers, or ISO 8601
    dates or times in UTC, sent in ``from_param`` and ``to_param``; with ``to_inclusive=True``, the last value inside
    the range is sent, so the field must not have fractions of seconds. Rows outside the range, or without the field,
    are not collected.

    Example::

        Sliced(pagination=Offset(total_path="total"), from_param="id_from", to_param="id_to", start=0, end=10_000_000)
    """

    pagination: Pagination
    from_param: str
    to_param: str
    start: Bound
    end: Bound
    max_rows: int = 10_000
    to_inclusive: bool = False
    inject_into: InjectInto = "query"

    def __post_init__(self) -> None:
        check_choice(self.inject_into, PLACES, "pagination: inject_into")
        for name in ("from_param", "to_param"):
            check_text(getattr(self, name), f"pagination: {name}")
            check_parameter(getattr(self, name), self.inject_into, f"pagination: {name}")
        check_number(self.max_rows, "pagination: max_rows", least=2, whole=True)
        check_flag(self.to_inclusive, "pagination: to_inclusive")
        inner: Any = self.pagination
        if not isinstance(inner, Strategy) or not (inner.total_path or inner.total_header):
            raise ConfigurationError("pagination: pagination must be a strategy with total_path or total_header")
        if inner.total_kind != "items":
            raise ConfigurationError("pagination: pagination must have total_kind='items'")
        beside = inner.parameters() if inner.inject_into == self.inject_into else ()
        check_distinct([("from_param", self.from_param), ("to_param", self.to_param), *beside])
        if not self._scale.number(self.start) < self._scale.number(self.end):
            raise ConfigurationError(f"pagination: start {self.start!r} must be before end {self.end!r}")

    def first(self, request: PageRequest) -> PageRequest:
        """Return the request for the first page of the whole range."""
        scale = self._scale
        return self._range_request(request, scale.number(self.start), scale.number(self.end))

    def follow(self, page: Page) -> Successor:
        """Return the request for the next page, a reason to stop, or the parts of a range that is too large."""
        total = self._total_to_split(page)
        return self.pagination.follow(page) if total is None else Split(self._split_range(page.request, total))

    def ahead(self, page: Page, sent: PageRequest) -> PageRequest | None:
        """Delegate to the inner strategy."""
        return self.pagination.ahead(page, sent) if isinstance(self.pagination, SupportsPrefetch) else None

    def overlapping(self, rows: int) -> Sliced:
        """Delegate to the inner strategy."""
        return replace(self, pagination=overlapped(self.pagination, rows))

    def trim(self, page: Page) -> Page:
        """Delegate to the inner strategy."""
        return trimmed_by(self.pagination)(page)

    def beyond(self, last: PageRecord) -> PageRequest | None:
        """Delegate to the inner strategy."""
        return self.pagination.beyond(last) if isinstance(self.pagination, SupportsProbe) else None

    def total(self, page: Page) -> Total | None:
        """Return the total of a range, unless it equals ``max_rows`` and may be capped."""
        found = self._inner.total(page)
        return None if found and found.count == self.max_rows and self._total_to_split(page) is not None else found

    @property
    def _inner(self) -> Strategy:
        inner = self.pagination
        assert isinstance(inner, Strategy), "checked in __post_init__"  # noqa: S101  # for mypy
        return inner

    @property
    def _scale(self) -> Scale:
        return scale_of(self.start, self.end)

    def _total_to_split(self, page: Page) -> int | None:
        if page.request.index:
            return None
        declared = self._inner.declared(page)
        if declared is None:
            raise ResponseError("the first page of a slice must declare its total (pagination.pagination.total_path)")
        return declared.count if declared.count >= self.max_rows else None

    def _split_range(self, request: PageRequest, total: int) -> tuple[PageRequest, ...]:
        low, high = self._range(request)
        if high - low < 2:
            raise LimitExceeded(
                f"the slice from {self._scale.text(low)!r} has {total} rows, at least max_rows={self.max_rows}, and"
                " cannot be split: slice by a field with more distinct values; does the API support"
                f" {self.from_param!r}?"
            )
        count = min(max(2, 2 * total // self.max_rows), MAX_PARTS, high - low)
        bounds = [low + (high - low) * number // count for number in range(count + 1)]
        whole = replace(request, state=None, sure=True)
        return tuple(
            self._range_request(replace(whole, partition=(*request.partition, number)), start, end)
            for number, (start, end) in enumerate(pairwise(bounds))
        )

    def _range_request(self, request: PageRequest, low: int, high: int) -> PageRequest:
        scale = self._scale
        ends = {self.from_param: scale.text(low), self.to_param: scale.text(high - self.to_inclusive)}
        return self.pagination.first(inject(request, self.inject_into, ends))

    def _range(self, request: PageRequest) -> tuple[int, int]:
        """Return the range of a request, which is stored nowhere else."""
        low, high = (injected_value(request, self.inject_into, name) for name in (self.from_param, self.to_param))
        return self._scale.number(_as_bound(low, self.start)), self._scale.number(_as_bound(high, self.end)) + (
            self.to_inclusive
        )


def _as_bound(sent: Any, like: Bound) -> Bound:
    """Return a bound as it was before a query or a header turned it into a string."""
    return int(sent) if isinstance(like, int) else str(sent)
