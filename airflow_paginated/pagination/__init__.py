"""Pagination strategies by name. To add one, add a module and an entry in ``STRATEGIES``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final, cast

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.validation import check_choice, value_from_dict
from airflow_paginated.pagination.cursor import Cursor, HeaderCursor
from airflow_paginated.pagination.keyset import Keyset
from airflow_paginated.pagination.link import HeaderLink, JsonLink
from airflow_paginated.pagination.numbered import PageNumber
from airflow_paginated.pagination.offset import Offset
from airflow_paginated.pagination.protocols import Pagination
from airflow_paginated.pagination.single_page import SinglePage
from airflow_paginated.pagination.sliced import Sliced

STRATEGIES: Final[Mapping[str, type[Any]]] = {
    "page_number": PageNumber,
    "offset": Offset,
    "cursor": Cursor,
    "header_cursor": HeaderCursor,
    "keyset": Keyset,
    "json_link": JsonLink,
    "header_link": HeaderLink,
    "sliced": Sliced,
    "single_page": SinglePage,
}

LOGGED_PARAMETER_FIELDS: Final = (
    "page_param",
    "offset_param",
    "limit_param",
    "page_size_param",
    "from_param",
    "to_param",
)
"""Fields that name parameters whose values are safe to log; those of cursors and keys may be personal data."""

__all__ = [
    "STRATEGIES",
    "Cursor",
    "HeaderCursor",
    "HeaderLink",
    "JsonLink",
    "Keyset",
    "Offset",
    "PageNumber",
    "SinglePage",
    "Sliced",
    "describe",
    "pagination_from",
    "shown_parameters",
]


def pagination_from(given: object) -> Pagination:
    """Return a strategy as given, or created from a dict ``{"type": "page_number", ...}``.

    Raises ``ConfigurationError``, which names a wrong key and the allowed ones.
    """
    if isinstance(given, Mapping):
        options = dict(given)
        if "type" not in options:
            raise ConfigurationError(f"pagination: 'type' is required, one of {', '.join(STRATEGIES)}")
        kind = options.pop("type")
        check_choice(kind, STRATEGIES, "pagination: type")
        if "max_pages" in options:
            raise ConfigurationError("pagination: unknown key 'max_pages' (did you mean limits={'max_pages': ...}?)")
        if isinstance(options.get("pagination"), Mapping):
            options["pagination"] = pagination_from(options["pagination"])
        return cast(Pagination, value_from_dict(STRATEGIES[str(kind)], options, f"pagination ({kind})"))
    if isinstance(given, type) or not all(callable(getattr(given, name, None)) for name in ("first", "follow")):
        raise ConfigurationError(
            f"pagination: expected a strategy, a dict with 'type', or an object with first() and follow(),"
            f" got {given!r}"
        )
    return cast(Pagination, given)


def describe(pagination: Pagination) -> dict[str, Any]:
    """Return the dict form of a strategy; for a custom one, its class and its public attributes."""
    names = {kind: name for name, kind in STRATEGIES.items()}
    kind = type(pagination)
    public = {name: each for name, each in _known(pagination).items() if not name.startswith("_")}
    if is_dataclass(public.get("pagination")):
        public["pagination"] = describe(public["pagination"])
    return {"type": names.get(kind, f"{kind.__module__}.{kind.__qualname__}"), **public}


def _known(value: Any) -> dict[str, Any]:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return dict(getattr(value, "__dict__", {}))


def shown_parameters(pagination: Pagination) -> frozenset[str]:
    """Return the names of the query parameters whose values are safe to log: those that the strategy itself sets."""
    value: Any = pagination
    if not is_dataclass(value):
        return frozenset()
    named = {getattr(value, name, None) for name in LOGGED_PARAMETER_FIELDS}
    inner = getattr(value, "pagination", None)
    return frozenset(name for name in named if isinstance(name, str)) | (shown_parameters(inner) if inner else set())
