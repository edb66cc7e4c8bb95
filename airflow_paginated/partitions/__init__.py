"""Kinds of partitions by name. To add one, add a module and an entry in ``PARTITION_KINDS``."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, Final

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.validation import check_choice, value_from_dict
from airflow_paginated.partitions.date_windows import DateWindows
from airflow_paginated.partitions.parameter_sets import ParameterSets, Product, ResolvedParameterSets
from airflow_paginated.partitions.protocol import Partitions, ReadParent, UnresolvedPartitions, build_partition_request
from airflow_paginated.partitions.rows_of import RowsOf

PARTITION_KINDS: Final[Mapping[str, type[Any]]] = {
    "parameter_sets": ParameterSets,
    "rows_of": RowsOf,
    "date_windows": DateWindows,
    "product": Product,
}

__all__ = [
    "PARTITION_KINDS",
    "DateWindows",
    "ParameterSets",
    "Partitions",
    "Product",
    "RowsOf",
    "as_partitions",
    "build_partition_request",
    "partitions_from",
    "resolved",
    "templates_in",
]


def partitions_from(given: Any) -> Any:
    """Return partitions created from a dict ``{"type": "rows_of", ...}``, a copy of others, or anything else as given.

    Raises ``ConfigurationError``, which names a wrong key and the allowed ones.
    """
    if not isinstance(given, Mapping):
        return copy(given) if isinstance(given, UnresolvedPartitions) else given
    options = dict(given)
    if "type" not in options:
        raise ConfigurationError(
            f"partitions: expected a list of dicts, or a dict with 'type': {', '.join(PARTITION_KINDS)}"
        )
    kind = options.pop("type")
    check_choice(kind, PARTITION_KINDS, "partitions: type")
    if isinstance(options.get("of"), list | tuple):
        options["of"] = [partitions_from(each) for each in options["of"]]
    return value_from_dict(PARTITION_KINDS[str(kind)], options, f"partitions ({kind})")


def templates_in(given: Any) -> list[Any]:
    """Return the values of partitions that Airflow renders, among them outputs of other tasks."""
    if isinstance(given, list | tuple):
        return [found for each in given for found in templates_in(each)]
    fields = getattr(given, "template_fields", None)
    return [given] if fields is None else templates_in([getattr(given, name) for name in fields])


def resolved(given: Any, read: ReadParent) -> Partitions | None:
    """Resolve partitions after rendering; ``read`` opens the dataset of a manifest."""
    found = partitions_from(given)
    return found.resolved(read) if isinstance(found, UnresolvedPartitions) else as_partitions(found)


def as_partitions(given: Any) -> Partitions | None:
    """Return resolved partitions, also from a plain list of dicts.

    Raises ``ConfigurationError`` for anything else.
    """
    if given is None:
        return None
    if isinstance(given, UnresolvedPartitions):
        raise ConfigurationError(f"partitions: {type(given).__name__} must be resolved first")
    # isinstance() with a protocol would read the property ``names``, which can be slow.
    found: Partitions = given if callable(getattr(given, "sets", None)) else ResolvedParameterSets(given)
    return found
