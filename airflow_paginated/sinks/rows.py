"""Filters, functions and added columns that a DAG applies to rows before they are published."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.paths import check_path, parse_path
from airflow_paginated.core.validation import check_choice, check_text, value_from_dict
from airflow_paginated.core.values import Json, PageRequest
from airflow_paginated.sinks.incremental import IncrementalFilter

_decode_exact: Final = msgspec.json.Decoder(float_hook=Decimal).decode

_ENCODE: Final = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True, slots=True)
class RowFunctions:
    """``keep`` says whether to publish a row, ``change`` returns what to publish instead of it.

    Both get a decoded row, with fractional numbers as ``decimal.Decimal`` with the digits that were sent; ``change``
    returns any JSON value. Their results must depend on the row only. Before them, ``changes`` drops the rows of an
    incremental run that are not new, and ``add`` adds columns.
    """

    keep: Callable[[Any], object] | None = None
    change: Callable[[Any], Json] | None = None
    changes: IncrementalFilter | None = None
    add: Columns | None = None

    def __post_init__(self) -> None:
        for name, given in (("row_filter", self.keep), ("row_map", self.change)):
            if given is not None and not callable(given):
                raise ConfigurationError(f"{name}: expected a function of one row, got {type(given).__name__}")

    def __bool__(self) -> bool:
        return bool(self.named) or self.changes is not None

    @property
    def named(self) -> list[str]:
        """The names of the arguments in use."""
        given = {"add_columns": self.add, "row_filter": self.keep, "row_map": self.change}
        return [name for name, each in given.items() if each is not None]

    def apply(self, lines: bytes, origin: RowOrigin) -> list[bytes]:
        """Return the rows to publish for a page (JSON Lines), each encoded as JSON.

        Raises ``ConfigurationError`` if a function raises, or a row already has an added column.
        """
        rows: Iterable[bytes]
        rows = lines.split(b"\n")[:-1] if self.changes is None else self.changes.admit(lines, origin.name)
        if self.add is not None:
            rows = self.add.added(rows, origin)
        return list(rows if self.keep is None and self.change is None else self._applied(rows, origin.name))

    def _applied(self, rows: Iterable[bytes], where: str) -> Iterator[bytes]:
        for number, line in enumerate(rows, 1):
            value = _decode_exact(line)
            at = f"{'row' if self.changes is None else 'new row'} {number} of {where}"
            if self.keep is not None and not _call("row_filter", self.keep, value, at):
                continue
            yield line if self.change is None else _encoded(_call("row_map", self.change, value, at), at)


def _call(name: str, function: Callable[[Any], Any], value: Json, at: str) -> Any:
    try:
        return function(value)
    except Exception as exc:
        raise ConfigurationError(
            f"{name} raised {type(exc).__name__} for {at}; the collected pages are kept for a retry"
        ) from exc


def _encoded(value: Json, at: str) -> bytes:
    try:
        return _ENCODE(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise ConfigurationError(
            f"row_map returned a value for {at} that JSON cannot represent: {type(exc).__name__}"
        ) from exc


Parameters = Mapping[str, Json]

_UNQUOTABLE: Final = re.compile(r'[\x00-\x1f"\\]')

_SOURCES: Final = "page, fetched_at or partition.NAME"


@dataclass(frozen=True, slots=True)
class RowOrigin:
    """The page that rows come from, and when it was stored (epoch seconds)."""

    partition: tuple[int, ...]
    index: int
    at: float

    @property
    def name(self) -> str:
        """The page's name in messages."""
        return PageRequest("", partition=self.partition, index=self.index).name


@dataclass(frozen=True)
class AddColumns:
    """Columns to add to each row, and their sources. Rows must be objects.

    ``page`` is the number of the page in its partition, from 1; ``fetched_at`` the UTC time at which it was stored; and
    ``partition.NAME`` the parameter NAME of its partition. A row that already has such a column fails the run, unless
    ``if_exists`` is ``replace``, or ``keep``, which keeps the row's own value.

    Example::

        AddColumns({"order_id": "partition.order_id", "_fetched_at": "fetched_at"})
    """

    columns: Mapping[str, str]
    if_exists: Literal["fail", "replace", "keep"] = "fail"

    def __post_init__(self) -> None:
        check_choice(self.if_exists, ("fail", "replace", "keep"), "add_columns: if_exists")
        given: Any = self.columns
        if not isinstance(given, Mapping) or not given:
            raise ConfigurationError("add_columns: expected a dict of columns, as {'order_id': 'partition.order_id'}")
        for name, source in self.columns.items():
            check_text(name, "add_columns: the name of a column")
            if _UNQUOTABLE.search(name):
                raise ConfigurationError(f"add_columns: {name!r} contains a quote, a backslash or a control character")
            check_path(source, f"add_columns: {name!r}")
            if parameter_in(source) is None and source not in ("page", "fetched_at"):
                raise ConfigurationError(f"add_columns: {name!r} must be {_SOURCES}, got {source!r}")

    def check(self, parameters: Iterable[str]) -> None:
        """Raise ``ConfigurationError`` for a parameter that the partitions do not have."""
        known = sorted(parameters)
        for source in self.columns.values():
            if (name := parameter_in(source)) is not None and name not in known:
                available = ", ".join(known) or "none"
                raise ConfigurationError(
                    f"add_columns: the partitions have no parameter for {source!r}; available: {available}"
                )

    def values(self, origin: RowOrigin, parameters: Parameters) -> dict[str, Json]:
        """Return the values of the columns for the rows of one page."""
        found: dict[str, Json] = {}
        for name, source in self.columns.items():
            parameter = parameter_in(source)
            if parameter is not None:
                found[name] = parameters.get(parameter)
            elif source == "page":
                found[name] = origin.index + 1
            else:
                found[name] = datetime.fromtimestamp(origin.at, UTC).isoformat(timespec="milliseconds")
        return found


def columns_from(given: Any) -> AddColumns | None:
    """Return ``add_columns`` for a dict of columns, an ``AddColumns``, or the dict form of one."""
    if given is None or isinstance(given, AddColumns):
        return given
    if isinstance(given, Mapping) and isinstance(given.get("columns"), Mapping):
        return value_from_dict(AddColumns, given, "add_columns")
    return AddColumns(given)


def parameter_in(source: str) -> str | None:
    """Return the parameter that a column comes from, if any."""
    path = parse_path(source)
    return str(path[1]) if len(path) == 2 and path[0] == "partition" and isinstance(path[1], str) else None


@dataclass(slots=True)
class Columns:
    """Adds columns to rows, page by page; changed by the publishing thread only.

    Memory stays flat; it is fast if pages come in the order of their partitions. ``sets`` returns a new iterator over
    the parameters of all partitions.
    """

    add: AddColumns
    sets: Callable[[], Iterator[Parameters]]
    _ahead: Iterator[Parameters] = field(default_factory=lambda: iter(()))
    _at: int = -1
    _parameters: Parameters = field(default_factory=dict)
    _find_columns: Callable[[bytes], Any] = field(init=False)

    def __post_init__(self) -> None:
        names = {f"k{number}": name for number, name in enumerate(self.add.columns)}
        fields: list[Any] = [(key, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for key in names]
        self._find_columns = msgspec.json.Decoder(msgspec.defstruct("Row", fields, rename=names)).decode

    def added(self, rows: Iterable[bytes], origin: RowOrigin) -> Iterator[bytes]:
        """Yield the rows, encoded as JSON, with their columns.

        Raises ``ConfigurationError`` for a row that already has one, or that is not an object.
        """
        values = self.add.values(origin, self._of(origin.partition[0]))
        texts = [(name, _text(name), _text(value)) for name, value in values.items()]
        for number, row in enumerate(rows, 1):
            yield self._with(row, texts, f"row {number} of {origin.name}")

    def _with(self, row: bytes, texts: list[tuple[str, bytes, bytes]], where: str) -> bytes:
        try:
            there = [value is not msgspec.UNSET for value in msgspec.structs.astuple(self._find_columns(row))]
        except msgspec.ValidationError:
            raise ConfigurationError(f"add_columns: {where} is not an object") from None
        if any(there) and self.add.if_exists == "fail":
            name = texts[there.index(True)][0]
            raise ConfigurationError(
                f"add_columns: {where} already has {name!r}; rename the column, or set if_exists to 'replace' or"
                " 'keep'; the collected pages are kept for a retry"
            )
        if any(there) and self.add.if_exists == "replace":
            known = msgspec.json.decode(row, type=dict[str, msgspec.Raw])
            return msgspec.json.encode({**known, **{name: msgspec.Raw(value) for name, _, value in texts}})
        more = [b"%b:%b" % (name, value) for (_, name, value), own in zip(texts, there, strict=True) if not own]
        head = row.rstrip()[:-1].rstrip()
        return b"".join((head, b"," if more and head != b"{" else b"", b",".join(more), b"}"))

    def _of(self, number: int) -> Parameters:
        if number < self._at or self._at < 0:
            self._ahead, self._at = self.sets(), -1
        while self._at < number:
            self._parameters = next(self._ahead, {})
            self._at += 1
        return self._parameters


def _text(value: Json) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (OverflowError, UnicodeEncodeError):
        # Integers beyond 64 bits, and lone surrogates.
        return json.dumps(value).encode()
