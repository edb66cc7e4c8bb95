"""``partitions=[{"store": 1}, {"store": 2}]``: parameter sets listed in the DAG, and products of partitions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import KW_ONLY, dataclass, field
from functools import reduce
from hashlib import sha256
from itertools import chain, combinations
from typing import Any, ClassVar

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.validation import check_text
from airflow_paginated.core.values import Check, Json
from airflow_paginated.partitions.protocol import (
    ParameterPlace,
    Partitions,
    Places,
    ReadParent,
    SupportsChecks,
    UnresolvedPartitions,
    check_places,
    places_of,
)


@dataclass
class ParameterSets:
    """A list of parameter sets, each a dict.

    A parameter fills the ``{placeholder}`` of its name in the endpoint, if there is one. Otherwise ``inject_into``, one
    place for all parameters or a dict of places by name, sends it in the ``query``, a ``header`` or the ``body``; with
    ``none`` it is not sent, but ``add_columns`` and error messages can use it. By default it goes into the body if that
    is an object, else into the query. A plain list of dicts means ``ParameterSets`` without ``inject_into``.

    Example::

        ParameterSets([{"X-Tenant": "north"}, {"X-Tenant": "south"}], inject_into="header")
    """

    sets: Sequence[Mapping[str, Json]]
    _: KW_ONLY
    inject_into: Places = None

    template_fields: ClassVar[tuple[str, ...]] = ("sets",)
    template_ext: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_places(self.inject_into)

    def resolved(self, read: ReadParent) -> Partitions:
        """Return the partitions, once all templates are rendered."""
        listed = ResolvedParameterSets(self.sets)
        return ResolvedParameterSets(self.sets, places_of(self.inject_into, listed.names))


@dataclass(frozen=True, slots=True)
class ResolvedParameterSets:
    """Implements ``Partitions``."""

    given: Sequence[Mapping[str, Json]]
    places: Mapping[str, ParameterPlace] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_sets(self.given)
        # The outputs of mapped tasks are a sequence that fetches each element on every access.
        object.__setattr__(self, "given", tuple(self.given))

    @property
    def names(self) -> frozenset[str]:
        """The names of all parameters."""
        return frozenset(name for parameters in self.given for name in parameters)

    def sets(self) -> Iterator[Mapping[str, Json]]:
        """Yield the listed sets."""
        return iter(self.given)

    def describe(self) -> str:
        """Return a digest of the sets."""
        found = sha256()
        for parameters in self.given:
            found.update(json.dumps(parameters, sort_keys=True, default=str).encode() + b"\n")
        return found.hexdigest()


def check_sets(given: Any) -> None:
    """Raise ``ConfigurationError`` unless ``given`` is a list of parameter sets."""
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
        raise ConfigurationError(f"partitions: expected a list of dicts, got {type(given).__name__}")
    for number, parameters in enumerate(given):
        if not isinstance(parameters, Mapping):
            raise ConfigurationError(f"partitions[{number}]: expected a dict, got {type(parameters).__name__}")
        for name in parameters:
            check_text(name, f"partitions[{number}]: parameter name")


@dataclass
class Product:
    """One partition for each combination of the parameter sets of two or more partitions; the last vary fastest.

    All but the first are iterated repeatedly, so put ``RowsOf`` a large dataset first.

    Example::

        Product([RowsOf(stores.output, ["store"]), DateWindows("2024-01-01", "2025-01-01", "1mo", ...)])
    """

    of: Sequence[Any]

    template_fields: ClassVar[tuple[str, ...]] = ("of",)
    template_ext: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        given: Any = self.of
        if not isinstance(given, list | tuple) or len(given) < 2:
            raise ConfigurationError("partitions: Product requires a list of at least two partitions")
        self.of = [ParameterSets(each) if isinstance(each, list | tuple) else each for each in given]
        for each in self.of:
            if not isinstance(each, UnresolvedPartitions):
                raise ConfigurationError(f"partitions: Product combines partitions, got {type(each).__name__}")

    def __copy__(self) -> Product:
        # Rendering changes the parts in place.
        return Product([copy(each) for each in self.of])

    def resolved(self, read: ReadParent) -> Partitions:
        """Return the partitions, once all templates are rendered.

        Raises ``ConfigurationError`` if two parts have the same parameter.
        """
        parts = tuple(each.resolved(read) for each in self.of)
        for one, other in combinations(parts, 2):
            for name in set(one.names).intersection(other.names):
                raise ConfigurationError(f"partitions: two parts of a Product have the parameter {name!r}")
        return ResolvedProduct(parts)


@dataclass(frozen=True, slots=True)
class ResolvedProduct:
    """Implements ``Partitions``."""

    parts: tuple[Partitions, ...]

    @property
    def names(self) -> frozenset[str]:
        """The names of all parameters."""
        return frozenset(chain.from_iterable(part.names for part in self.parts))

    @property
    def places(self) -> Mapping[str, ParameterPlace]:
        """The places of all parts."""
        return {name: place for part in self.parts for name, place in part.places.items()}

    def sets(self) -> Iterator[Mapping[str, Json]]:
        """Yield each combination lazily: ``itertools.product`` would hold all sets of each part in memory."""
        return reduce(_combine, self.parts, iter([{}]))

    def describe(self) -> dict[str, Json]:
        """Return the descriptions of all parts."""
        return {"type": "product", "of": [part.describe() for part in self.parts]}

    def checks(self) -> Iterator[Check]:
        """Yield the checks of all parts."""
        return chain.from_iterable(part.checks() for part in self.parts if isinstance(part, SupportsChecks))


def _combine(outer: Iterator[Mapping[str, Json]], part: Partitions) -> Iterator[Mapping[str, Json]]:
    return ({**parameters, **others} for parameters in outer for others in part.sets())
