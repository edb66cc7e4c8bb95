"""``partitions=[{"store": 1}, {"store": 2}]``: parameter sets that the DAG lists."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from hashlib import sha256
from typing import Any, ClassVar

from airflow_paginated.paging.dicts import check_text
from airflow_paginated.paging.errors import ConfigurationError
from airflow_paginated.paging.partitions.places import Places, check_places, places_of
from airflow_paginated.paging.partitions.protocol import ParameterPlace, Partitions, ReadParent
from airflow_paginated.paging.values import Json


@dataclass
class ParameterSets:
    """Parameter sets, each a dict, and where the parameters go.

    One that fills a ``{placeholder}`` of the endpoint goes there. Any other goes where ``inject_into`` says: into the
    ``query``, a ``header`` or the ``body``; with ``none`` it is not sent, but known to ``add_columns`` and to error
    texts. It is one of these for all, or a dict by name. The rest goes into a body that is an object, else into the
    query. A plain list of dicts is the same without ``inject_into``.

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
        """Return the partitions, when all is rendered."""
        listed = ResolvedParameterSets(self.sets)
        return ResolvedParameterSets(self.sets, places_of(self.inject_into, listed.names))


@dataclass(frozen=True, slots=True)
class ResolvedParameterSets:
    """Implements ``Partitions``."""

    given: Sequence[Mapping[str, Json]]
    places: Mapping[str, ParameterPlace] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_sets(self.given)
        # The outputs of mapped tasks are a sequence that asks for each of them, each time.
        object.__setattr__(self, "given", tuple(self.given))

    @property
    def names(self) -> frozenset[str]:
        """The names of all parameters."""
        return frozenset(name for parameters in self.given for name in parameters)

    def sets(self) -> Iterator[Mapping[str, Json]]:
        """Yield what is listed."""
        return iter(self.given)

    def describe(self) -> str:
        """Return a digest of all sets."""
        found = sha256()
        for parameters in self.given:
            found.update(json.dumps(parameters, sort_keys=True, default=str).encode() + b"\n")
        return found.hexdigest()


def check_sets(given: Any) -> None:
    """Refuse what is no list of parameter sets."""
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
        raise ConfigurationError(f"partitions: expected a list of dicts, got {type(given).__name__}")
    for number, parameters in enumerate(given):
        if not isinstance(parameters, Mapping):
            raise ConfigurationError(f"partitions[{number}]: expected a dict, got {type(parameters).__name__}")
        for name in parameters:
            check_text(name, f"partitions[{number}]: the name of a parameter")
