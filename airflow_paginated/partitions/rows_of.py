"""``RowsOf("{{ ti.xcom_pull('orders')['manifest'] }}", ["id"])``: one partition per row of an earlier collection."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import KW_ONLY, dataclass, field
from hashlib import blake2b
from typing import Any, ClassVar, Final, Literal, TypeAlias

import msgspec

from airflow_paginated.core.errors import ConfigurationError, PaginatedApiError, StoreError
from airflow_paginated.core.paths import (
    ABSENT,
    ALL,
    check_path,
    describe_path,
    describe_shape,
    key_reader,
    parse_path,
    select,
)
from airflow_paginated.core.seen_set import SeenSet
from airflow_paginated.core.validation import check_choice, check_flag, check_text
from airflow_paginated.core.values import Check, Json
from airflow_paginated.partitions.protocol import (
    ParameterPlace,
    Parent,
    Partitions,
    Places,
    ReadParent,
    check_places,
    places_of,
)

PARENTS_CACHE_KIB: Final = 2048

OnDuplicate: TypeAlias = Literal["fail", "drop"]


@dataclass
class RowsOf:
    """One partition for each row of an earlier collection, in the order of its rows.

    ``manifest`` is the path of its manifest, or the result of its task: a template, or ``orders.output``. ``fields``
    lists names in each row, or maps parameters to paths in a row. The rows are streamed from the published files.

    Rows with the same values fail the run, or become one partition with ``on_duplicate="drop"``. An incomplete dataset
    is refused, unless ``allow_incomplete`` accepts it; this collection is then incomplete, too. ``inject_into`` works
    as in ``ParameterSets``.

    Example::

        RowsOf("{{ ti.xcom_pull('orders')['manifest'] }}", {"order_id": "id"})
    """

    manifest: Any
    fields: Sequence[str] | Mapping[str, str]
    _: KW_ONLY
    on_duplicate: OnDuplicate = "fail"
    allow_incomplete: bool = False
    inject_into: Places = None

    template_fields: ClassVar[tuple[str, ...]] = ("manifest",)
    template_ext: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.manifest in (None, ""):
            raise ConfigurationError("partitions: RowsOf requires the manifest of an earlier collection")
        check_choice(self.on_duplicate, ("fail", "drop"), "partitions: on_duplicate")
        check_flag(self.allow_incomplete, "partitions: allow_incomplete")
        paths = parameter_paths(self.fields)
        key_reader(tuple(paths.values()))
        check_places(self.inject_into)
        places_of(self.inject_into, paths)

    def resolved(self, read: ReadParent) -> Partitions:
        """Return the partitions, once the manifest has been written.

        Raises ``ConfigurationError`` if there is no manifest, or if it is not complete.
        """
        parent = read(_manifest_path(self.manifest))
        if not (parent.complete or self.allow_incomplete):
            raise ConfigurationError(
                f"partitions: {parent.name} is not complete (its checks say why), so a collection of its rows would"
                " not be complete either; RowsOf(..., allow_incomplete=True) accepts it"
            )
        paths = parameter_paths(self.fields)
        return ResolvedRowsOf(parent, paths, self.on_duplicate, places_of(self.inject_into, paths))


@dataclass(frozen=True, slots=True)
class ResolvedRowsOf:
    """Implements ``Partitions``; ``paths`` maps each parameter to its path in a row."""

    parent: Parent
    paths: Mapping[str, str]
    on_duplicate: OnDuplicate = "fail"
    places: Mapping[str, ParameterPlace] = field(default_factory=dict)

    @property
    def names(self) -> frozenset[str]:
        """The names of all parameters."""
        return frozenset(self.paths)

    def sets(self) -> Iterator[Mapping[str, Json]]:
        """Yield the parameters of each row, without duplicates if they are dropped."""
        rows = self._rows()
        return (dict(zip(self.paths, values, strict=True)) for values in self._scalars(self._distinct(rows)))

    def describe(self) -> dict[str, Json]:
        """Return the digest of the dataset and the fields."""
        dropped = {"on_duplicate": self.on_duplicate} if self.on_duplicate != "fail" else {}
        return {"type": "rows_of", "digest": self.parent.digest, "fields": dict(self.paths), **dropped}

    def checks(self) -> Iterator[Check]:
        """Yield whether the dataset is complete."""
        evidence = f"{self.parent.count} rows of {self.parent.name}, digest {self.parent.digest}"
        yield Check("parents_complete", "passed" if self.parent.complete else "waived", evidence)

    def _rows(self) -> Iterator[list[bytes]]:
        """Yield the raw JSON values of each row."""
        read, before = key_reader(tuple(self.paths.values())).read, 0
        for lines in self.parent.blocks():
            try:
                found = list(read(lines))
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise self._missing_value_error(lines, before) from None
            yield from found
            before += len(found)

    def _distinct(self, rows: Iterator[list[bytes]]) -> Iterator[list[bytes]]:
        if self.on_duplicate == "fail":
            yield from rows
            return
        with closing(SeenSet("BLOB", PARENTS_CACHE_KIB)) as known:
            yield from (row for row in rows if known.add(blake2b(b"\0".join(row), digest_size=16).digest()))

    def _scalars(self, rows: Iterator[list[bytes]]) -> Iterator[list[Json]]:
        for number, texts in enumerate(rows, 1):
            try:
                yield [_parse_scalar(text) for text in texts]
            except (ValueError, UnicodeDecodeError):
                raise self._unfit_value_error(number, texts) from None

    def _missing_value_error(self, lines: bytes, before: int) -> PaginatedApiError:
        """Return an error that names the row without a value."""
        for number, line in enumerate(lines.split(b"\n")[:-1], before + 1):
            try:
                row = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                break
            lacking = [path for path in self.paths.values() if select(row, path) is ABSENT]
            if lacking:
                shape = describe_path(row, "the row", *lacking)
                return ConfigurationError(
                    f"partitions: row {number} of {self.parent.name} lacks {lacking[0]!r}: {shape}"
                )
        return StoreError(f"partitions: {self.parent.name} lists a damaged file")

    def _unfit_value_error(self, number: int, texts: Sequence[bytes]) -> ConfigurationError:
        shapes = [describe_shape(msgspec.json.decode(text)) for text in texts]
        there = ", ".join(f"{path!r} is {shape}" for path, shape in zip(self.paths.values(), shapes, strict=True))
        which = "row" if self.on_duplicate == "fail" else "distinct row"
        return ConfigurationError(
            f"partitions: {which} {number} of {self.parent.name}: a parameter must be a string, a number or a boolean,"
            f" but {there}"
        )


def parameter_paths(fields: Any) -> dict[str, str]:
    """Return the path of each parameter. Raises ``ConfigurationError`` for invalid fields."""
    if isinstance(fields, Mapping):
        paths = dict(fields)
    elif isinstance(fields, Sequence) and not isinstance(fields, str):
        paths = {name: name for name in fields if isinstance(name, str)}
        if len(paths) != len(fields) or any(len(parse_path(name)) > 1 for name in paths if name):
            raise ConfigurationError(
                "partitions: fields must be a list of distinct names, or a dict that maps parameters to paths in a row"
            )
    else:
        raise ConfigurationError(f"partitions: fields must be a list or a dict, got {type(fields).__name__}")
    if not paths:
        raise ConfigurationError("partitions: fields must not be empty")
    for name, path in paths.items():
        check_text(name, "partitions: parameter name")
        check_path(path, f"partitions: the path of {name!r}")
        if ALL in parse_path(path):
            raise ConfigurationError(
                f"partitions: the path of {name!r} must lead to a single value of a row, but [*] matches many"
            )
    return paths


def _manifest_path(manifest: Any) -> str:
    """Return the path of a manifest, given as such or in the result of a task."""
    found = manifest.get("manifest") if isinstance(manifest, Mapping) else manifest
    if not isinstance(found, str | os.PathLike) or not str(found):
        raise ConfigurationError(
            "partitions: RowsOf requires the path of a manifest, or the result of a task with a FileSink; got"
            f" {describe_shape(manifest)}"
        )
    text = str(found)
    if "{{" in text or "{%" in text:
        raise ConfigurationError(f"partitions: manifest {text!r} is a template that was not rendered")
    if text.startswith("{") or text == "None":
        raise ConfigurationError(
            "partitions: RowsOf got a string that is not a path; write {{ ti.xcom_pull('orders')['manifest'] }}"
        )
    return text


def _parse_scalar(text: bytes) -> Json:
    """Return a scalar, with its digits as sent. Raises ``ValueError`` for anything else."""
    if text[:1] in (b"{", b"[", b"n"):
        raise ValueError("not a scalar")
    value = msgspec.json.decode(text)
    # An API that sent 1.10 may not accept 1.1.
    return text.decode() if isinstance(value, float) and repr(value).encode() != text else value
