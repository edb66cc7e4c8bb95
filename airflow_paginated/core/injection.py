"""Puts parameters into the query, a header or the JSON body of a request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal, TypeAlias

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.paths import ALL, Path, check_path, describe_shape, parse_path
from airflow_paginated.core.values import Json, PageRequest

InjectInto: TypeAlias = Literal["query", "header", "body"]

PLACES: Final = ("query", "header", "body")


def inject(request: PageRequest, place: InjectInto, parameters: Mapping[str, Json]) -> PageRequest:
    """Return the request with parameters; in the body, a name is a path. A value of ``None`` removes the parameter.

    Raises ``ConfigurationError`` if a path leads through something other than an object.
    """
    if place == "query":
        query = dict(request.query)
        for name, value in parameters.items():
            plain = value is None or isinstance(value, str | int | float)
            query[name] = value if plain else _encode(value)
        return replace(request, query=query)
    if place == "header":
        # Header names are case-insensitive: of two spellings, an API might read the older one.
        taken = {name.lower() for name in parameters}
        kept = {name: each for name, each in request.headers.items() if name.lower() not in taken}
        sent = {name: _header_value(each) for name, each in parameters.items() if each is not None}
        return replace(request, headers={**kept, **sent})
    body = request.body
    for name, value in parameters.items():
        body = _set_in_body(body, parse_path(name), value, name)
    return replace(request, body=body)


def injected_value(request: PageRequest, place: InjectInto, name: str) -> Json:
    """Return the value that ``inject`` set, or ``None``."""
    if place != "body":
        return (request.query if place == "query" else request.headers).get(name)
    found = request.body
    for step in parse_path(name):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def check_parameter(name: object, place: InjectInto, where: str) -> None:
    """Raise ``ConfigurationError`` for a name that cannot be used in this place."""
    if place == "body":
        check_path(name, where)
        if ALL in parse_path(str(name)):
            raise ConfigurationError(f"{where}: a body parameter needs a single location, but [*] matches many")


def _encode(value: Json) -> Json:
    """Encode as JSON a value that a query or a header cannot hold."""
    if value is None or isinstance(value, str | int | float):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _header_value(value: Json) -> str:
    return str(value).lower() if isinstance(value, bool) else str(_encode(value))


def _set_in_body(body: Json, path: Path, value: Json, name: str) -> Json:
    if body is not None and not isinstance(body, Mapping):
        raise ConfigurationError(
            f"pagination: cannot set {name!r} in the body: the path leads through {describe_shape(body)}"
        )
    step, rest, here = str(path[0]), path[1:], body or {}
    if value is None and here.get(step) is None:
        return body
    if value is None and not rest:
        return {key: each for key, each in here.items() if key != step}
    return {**here, step: _set_in_body(here.get(step), rest, value, name) if rest else value}
