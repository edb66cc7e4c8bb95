"""Every set of some partitions with every set of others, as each month for each store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import reduce
from itertools import chain, combinations
from typing import Any, ClassVar

from airflow_paginated.paging.completeness import Check
from airflow_paginated.paging.errors import ConfigurationError
from airflow_paginated.paging.partitions.parameter_sets import ParameterSets
from airflow_paginated.paging.partitions.protocol import (
    ParameterPlace,
    ParentSource,
    Partitions,
    ReadParent,
    SupportsChecks,
)
from airflow_paginated.paging.values import Json


@dataclass
class Product:
    """One partition for each combination of the sets in ``of``, two or more partitions; the last of them vary fastest.

    All but the first are gone through again and again: ``RowsOf`` many rows belongs there.

    Example::

        Product([RowsOf(stores.output, ["store"]), DateWindows("2024-01-01", "2025-01-01", "1mo", ...)])
    """

    of: Sequence[Any]

    template_fields: ClassVar[tuple[str, ...]] = ("of",)
    template_ext: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        given: Any = self.of
        if not isinstance(given, list | tuple) or len(given) < 2:
            raise ConfigurationError("partitions: a product is of a list of two partitions or more")
        self.of = [ParameterSets(each) if isinstance(each, list | tuple) else each for each in given]
        for each in self.of:
            if not isinstance(each, ParentSource):
                raise ConfigurationError(f"partitions: a product is of partitions, not of {type(each).__name__}")

    def __copy__(self) -> Product:
        # Rendering changes what it is of.
        return Product([copy(each) for each in self.of])

    def resolved(self, read: ReadParent) -> Partitions:
        """Return the partitions, when all is rendered.

        Raises ``ConfigurationError`` for a parameter that two of them have.
        """
        parts = tuple(each.resolved(read) for each in self.of)
        for one, other in combinations(parts, 2):
            for name in set(one.names).intersection(other.names):
                raise ConfigurationError(f"partitions: two parts of a product have the parameter {name!r}")
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
        """Where parameters go, as far as it is said."""
        return {name: place for part in self.parts for name, place in part.places.items()}

    def sets(self) -> Iterator[Mapping[str, Json]]:
        """Yield each combination, one at a time: ``itertools.product`` would hold all sets of each part in memory."""
        return reduce(_crossed, self.parts, iter([{}]))

    def describe(self) -> dict[str, Json]:
        """Return what tells these sets from others."""
        return {"type": "product", "of": [part.describe() for part in self.parts]}

    def checks(self) -> Iterator[Check]:
        """Yield what the parts know of themselves."""
        return chain.from_iterable(part.checks() for part in self.parts if isinstance(part, SupportsChecks))


def _crossed(outer: Iterator[Mapping[str, Json]], part: Partitions) -> Iterator[Mapping[str, Json]]:
    return ({**parameters, **others} for parameters in outer for others in part.sets())
