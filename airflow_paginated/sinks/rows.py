"""What a DAG does to the rows before they are published."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import msgspec

from airflow_paginated.paging.changes import IncrementalFilter
from airflow_paginated.paging.errors import ConfigurationError
from airflow_paginated.paging.values import Json
from airflow_paginated.sinks.columns import Columns, RowOrigin

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
