"""Which rows of an incremental run are new, and where the next run starts."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import msgspec

from airflow_paginated.core.cursor_values import CursorValue, cursor_value_from_json, parse_cursor_value
from airflow_paginated.core.errors import ConfigurationError, LimitExceeded, ResponseError
from airflow_paginated.core.paths import describe_path, key_reader
from airflow_paginated.core.policies import ROW_DIGEST_BYTES, Incremental, State, pack_digests
from airflow_paginated.core.values import Json


@dataclass(slots=True)
class IncrementalFilter:
    """Tells new rows from those published before, and finds the watermark, in flat memory.

    Takes every row that the API served exactly once, in any order. Changed by the caller's thread only.
    """

    policy: Incremental
    base: State | None
    """The state before the run."""
    began: float
    """When the first page was requested, as far as known, in epoch seconds."""
    most: int = 100_000
    """The maximum number of rows to remember."""
    check_unchanged: Callable[[], None] = lambda: None
    """Raises if another run has moved the watermark since ``base`` was read."""
    counted: bool = False
    """Whether an earlier try of this run has already moved the watermark."""
    rows: int = 0
    new: int = 0
    again: int = 0
    older: int = 0
    missing: int = 0
    first: CursorValue | None = field(init=False, default=None)
    """The watermark before the run."""
    start: CursorValue | None = field(init=False, default=None)
    """The value that the run started from."""
    top: CursorValue | None = field(init=False, default=None)
    """The greatest value of all runs so far."""
    _known: Counter[bytes] = field(init=False, default_factory=Counter)
    _newest: _GreatestValues = field(init=False)
    _lacking: bytes = field(init=False, default=b"{}")
    """A row without the field, while no row has had it."""

    def __post_init__(self) -> None:
        self._newest = _GreatestValues(self.most)
        if self.base is None:
            return
        try:
            self.first = self.top = cursor_value_from_json(self.base.watermark, self.policy.kind)
            self.start = (
                self.top if self.base.start is None else cursor_value_from_json(self.base.start, self.policy.kind)
            )
            self._known.update(self.base.digests if self.policy.remember else ())
        except ValueError as exc:
            raise ConfigurationError(f"incremental: invalid stored watermark: {exc}") from None
        if self.start.kind != self.top.kind:
            raise ConfigurationError("incremental: the stored watermark and start have different kinds")

    def begin(self, began: float) -> None:
        """Prepare for rows of which the oldest was requested at ``began``. Raises what ``check_unchanged`` raises."""
        self.check_unchanged()
        self.began = min(self.began, began)

    def admit(self, lines: bytes, where: str) -> list[bytes]:
        """Return the new rows of a page (JSON Lines); ``where`` names the page in errors.

        Raises ``ResponseError`` for a value that is not comparable with the others.
        """
        rows = lines.split(b"\n")[:-1]
        kept = [row for row, raw in zip(rows, self._values(lines, rows), strict=True) if self._is_new(row, raw, where)]
        self.rows += len(rows)
        self.new += len(kept)
        if rows and self.missing == self.rows:
            self._lacking = rows[-1]
        return kept

    def next(self) -> State | None:
        """Return the state after this run, without its owner; ``None`` if no run has seen a row.

        Raises ``LimitExceeded`` if there are too many rows to remember, ``ConfigurationError`` if no row has the field.
        """
        if self.missing and self.missing == self.rows:
            raise ConfigurationError(
                f"incremental: no row has a {self.policy.field!r}; {_describe(self._lacking, self.policy.field)}"
            )
        if self.top is None:
            return None
        start = self.top.before(Decimal(str(self.policy.lookback)), Decimal(repr(self.began)))
        if self.start is not None and start.at < self.start.at:
            # Rows before the start were not requested, so it is unknown which of them were published.
            start = self.start
        digests = self._newest.since(start.at) if self.policy.remember else []
        if digests is None:
            raise LimitExceeded(
                f"incremental: more than {self.most} rows between {start.text!r} and the watermark"
                f" {self.top.text!r}, too many to remember: shorten the lookback, set a state_path, which"
                " holds more, or set remember=False, which publishes them again in the next run"
            )
        return State(watermark=self.top.json, start=start.json, seen=pack_digests(digests), field=self.policy.field)

    def reached(self, complete: bool) -> Json:
        """Return the watermark after a complete run, or before an incomplete one. Raises what ``next`` raises."""
        if complete:
            self.next()
        mark = self.top if complete else self.first
        return None if mark is None else mark.sent

    @property
    def evidence(self) -> str:
        """Report how many rows were new, known or skipped."""
        text = f"{self.new} of {self.rows} rows are new, {self.again} were published before"
        text += f", {self.older} are older than the start {self.start.text!r}" if self.older and self.start else ""
        return text + (f", {self.missing} have no {self.policy.field!r}" if self.missing else "")

    def _values(self, lines: bytes, rows: list[bytes]) -> Iterator[bytes]:
        """Yield the field of each row as JSON, ``null`` if it is missing."""
        reader = key_reader((self.policy.field,))
        try:
            found = [raw for (raw,) in reader.read(lines)]
        except msgspec.ValidationError:
            found = [_value_of(row, self.policy.field) for row in rows]
        return iter(found)

    def _is_new(self, row: bytes, raw: bytes, where: str) -> bool:
        mark = self._mark(row, raw, where)
        if mark is None:
            self.missing += 1
            return self.policy.missing_value == "include"
        if self.top is None or mark.at > self.top.at:
            self.top = mark
        if self.start is not None and mark.at < self.start.at:
            self.older += 1
            return False
        if not self.policy.remember:
            return True
        digest = blake2b(row, digest_size=ROW_DIGEST_BYTES).digest()
        self._newest.add(mark.at, digest)
        if not self._known.get(digest):
            return True
        # Equal rows may exist several times; each counts as often as it was published.
        self._known[digest] -= 1
        self.again += 1
        return False

    def _mark(self, row: bytes, raw: bytes, where: str) -> CursorValue | None:
        path = self.policy.field
        try:
            mark = parse_cursor_value(raw, self.policy.kind)
        except ValueError as exc:
            raise ResponseError(f"incremental: {path!r} is {exc}, in a row of {where}") from None
        if mark is None and self.policy.missing_value == "fail":
            raise ResponseError(
                f"incremental: {path!r} is missing or null in a row of {where}; {_describe(row, path)}. If such rows"
                " are valid, missing_value='include' always publishes them, missing_value='exclude' never does"
            )
        if mark is not None and self.top is not None and mark.kind != self.top.kind:
            raise ResponseError(
                f"incremental: {path!r} is a {mark.kind} in a row of {where}, and a {self.top.kind} in others or in the"
                " stored watermark: they cannot be compared; kind='text' compares all of them as strings"
            )
        return mark


class _GreatestValues:
    """The ``most`` greatest of many values, each with a digest; changed by the caller's thread only."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[Any, bytes]] = []
        self._lost: Any = None
        """The greatest value that was dropped."""

    def add(self, at: Any, digest: bytes) -> None:
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, (at, digest))
        else:
            lost = heapq.heappushpop(self._heap, (at, digest))[0]
            self._lost = lost if self._lost is None else max(self._lost, lost)

    def since(self, at: Any) -> list[bytes] | None:
        """Return the digests of all values from ``at`` on, or ``None`` if one of them was dropped."""
        if self._lost is not None and self._lost >= at:
            return None
        return [digest for each, digest in self._heap if each >= at]


def _describe(row: bytes, path: str) -> str:
    """Describe what the row has along a path."""
    return describe_path(msgspec.json.decode(row), "the row", path)


def _value_of(row: bytes, path: str) -> bytes:
    try:
        return next(key_reader((path,)).read(row + b"\n"))[0]
    except msgspec.ValidationError:
        return b"null"
