"""What a DAG does to the rows before they are published."""

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
    """``keep`` says whether a row is published, ``change`` returns what is published in its place.

    Both get a decoded row, numbers with a fraction as ``decimal.Decimal`` with the digits that were sent; ``change``
    returns anything that JSON can say. They must depend on the row only. Before both, ``add`` adds columns; of an
    incremental run, to the rows that ``changes`` finds to be new.
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
        """The arguments that are given."""
        given = {"add_columns": self.add, "row_filter": self.keep, "row_map": self.change}
        return [name for name, each in given.items() if each is not None]

    def apply(self, lines: bytes, origin: RowOrigin) -> list[bytes]:
        """Return what becomes of the rows of a page (JSON Lines), each as JSON text.

        Raises ``ConfigurationError`` where a function does, or a row has an added column already.
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
            f"{name} raised {type(exc).__name__} for {at}; what was collected is kept for another try"
        ) from exc


def _encoded(value: Json, at: str) -> bytes:
    try:
        return _ENCODE(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise ConfigurationError(f"row_map returned for {at} what JSON cannot say: {type(exc).__name__}") from exc


Parameters = Mapping[str, Json]

_ODD: Final = re.compile(r'[\x00-\x1f"\\]')

_SOURCES: Final = "page, fetched_at or partition.NAME"


@dataclass(frozen=True, slots=True)
class RowOrigin:
    """The page that rows come from, and when it landed (epoch seconds)."""

    partition: tuple[int, ...]
    index: int
    at: float

    @property
    def name(self) -> str:
        """What the page is called in messages."""
        return PageRequest("", partition=self.partition, index=self.index).name


@dataclass(frozen=True)
class AddColumns:
    """Columns to add to each row, which must be an object, and what they are.

    ``page`` is the number of the page in its partition, from 1; ``fetched_at`` when it landed, in UTC; and
    ``partition.NAME`` the parameter NAME of its partition. A row that has such a column already fails the run, unless
    ``if_exists`` is ``replace``, or ``keep``, for the row's own.

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
            if _ODD.search(name):
                raise ConfigurationError(f"add_columns: {name!r} has a quote, a backslash or a control character in it")
            check_path(source, f"add_columns: {name!r}")
            if parameter_in(source) is None and source not in ("page", "fetched_at"):
                raise ConfigurationError(f"add_columns: {name!r} must be {_SOURCES}, got {source!r}")

    def check(self, parameters: Iterable[str]) -> None:
        """Refuse a column of a parameter that no partition has."""
        known = sorted(parameters)
        for source in self.columns.values():
            if (name := parameter_in(source)) is not None and name not in known:
                there = ", ".join(known) or "none"
                raise ConfigurationError(
                    f"add_columns: {source!r} is no parameter of the partitions; there are {there}"
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
    """Return what the argument ``add_columns`` means: a dict of columns, an ``AddColumns``, or its dict."""
    if given is None or isinstance(given, AddColumns):
        return given
    if isinstance(given, Mapping) and isinstance(given.get("columns"), Mapping):
        return value_from_dict(AddColumns, given, "add_columns")
    return AddColumns(given)


def parameter_in(source: str) -> str | None:
    """Return the parameter that a column is made of, if any."""
    path = parse_path(source)
    return str(path[1]) if len(path) == 2 and path[0] == "partition" and isinstance(path[1], str) else None


@dataclass(slots=True)
class Columns:
    """Adds columns to the rows of one page after the other; changed by the publishing thread only.

    Flat in memory; fast where the pages come in order of their partitions. ``sets`` begins to yield the parameters of
    each partition.
    """

    add: AddColumns
    sets: Callable[[], Iterator[Parameters]]
    _ahead: Iterator[Parameters] = field(default_factory=lambda: iter(()))
    _at: int = -1
    _parameters: Parameters = field(default_factory=dict)
    _finds: Callable[[bytes], Any] = field(init=False)

    def __post_init__(self) -> None:
        names = {f"k{number}": name for number, name in enumerate(self.add.columns)}
        fields: list[Any] = [(key, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for key in names]
        self._finds = msgspec.json.Decoder(msgspec.defstruct("Row", fields, rename=names)).decode

    def added(self, rows: Iterable[bytes], origin: RowOrigin) -> Iterator[bytes]:
        """Yield the rows (JSON texts) with their columns.

        Raises ``ConfigurationError`` for a row that has one already, or that is no object.
        """
        values = self.add.values(origin, self._of(origin.partition[0]))
        texts = [(name, _text(name), _text(value)) for name, value in values.items()]
        for number, row in enumerate(rows, 1):
            yield self._with(row, texts, f"row {number} of {origin.name}")

    def _with(self, row: bytes, texts: list[tuple[str, bytes, bytes]], where: str) -> bytes:
        try:
            there = [value is not msgspec.UNSET for value in msgspec.structs.astuple(self._finds(row))]
        except msgspec.ValidationError:
            raise ConfigurationError(f"add_columns: {where} is no object") from None
        if any(there) and self.add.if_exists == "fail":
            name = texts[there.index(True)][0]
            raise ConfigurationError(
                f"add_columns: {where} has {name!r} already; name the column otherwise, or set if_exists to 'replace'"
                " or 'keep'; what was collected is kept for another try"
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
