"""One grammar for every path into a JSON body: ``data.users.edges[*].node``, ``meta["odd.key"]``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, TypeAlias

import msgspec

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.validation import check_text
from airflow_paginated.core.values import Json


class _Sentinel:
    """A value that no JSON document can contain."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


ALL: Final = _Sentinel("[*]")

ABSENT: Final = _Sentinel("<absent>")

Step: TypeAlias = "str | _Sentinel"

Path: TypeAlias = tuple[Step, ...]

JSON_TYPE_NAMES: Final = {type(None): "null", str: "a string", int: "a number", float: "a number", bool: "a boolean"}

_STEP = re.compile(r'\[\*\]|\["((?:[^"\\]|\\.)+)"\]|(?:^|\.)([^.\[\]"]+)')


@lru_cache(maxsize=256)
def parse_path(text: str) -> Path:
    """Split a path into its steps.

    Raises ``ConfigurationError`` for an invalid path.
    """
    steps: list[Step] = []
    at = 0
    while at < len(text):
        found = _STEP.match(text, at)
        if not found:
            raise ConfigurationError(
                f"invalid path {text!r} at position {at}: separate names with dots, write [*] for all elements"
                ' and ["a.b"] for a name with a dot in it'
            )
        quoted, name = found.groups()
        steps.append(ALL if found.group() == "[*]" else re.sub(r"\\(.)", r"\1", quoted) if quoted else name)
        at = found.end()
    if not steps:
        raise ConfigurationError("a path must not be empty; omit it to select the body itself")
    return tuple(steps)


def check_path(text: object, where: str, *, optional: bool = False) -> None:
    """Raise ``ConfigurationError`` for an invalid path; ``where`` names the argument."""
    check_text(text, where, optional=optional)
    if text is not None:
        try:
            parse_path(str(text))
        except ConfigurationError as exc:
            raise ConfigurationError(f"{where}: {exc}") from None


def select(value: Json, path: str) -> Json:
    """Return the value at ``path``, or ``ABSENT``; with ``[*]``, a flat list of the values of all elements."""
    return _descend(value, parse_path(path))


def _descend(value: Json, path: Path) -> Json:
    for depth, step in enumerate(path):
        if step is ALL:
            if not isinstance(value, list):
                return ABSENT
            rest = path[depth + 1 :]
            found = [each for each in (_descend(element, rest) for element in value) if each is not ABSENT]
            return [row for rows in found for row in rows] if ALL in rest else found
        if not isinstance(value, dict) or step not in value:
            return ABSENT
        value = value[step]
    return value


def describe_shape(value: Json) -> str:
    """Describe the shape of a value for an error message: keys and types, never contents."""
    if isinstance(value, dict):
        keys = ", ".join(quoted(key) for key in list(value)[:12])
        return f"an object with the keys {keys}" if keys else "an empty object"
    if isinstance(value, list):
        return f"a list of length {len(value)}"
    return JSON_TYPE_NAMES.get(type(value), "nothing" if value is ABSENT else f"a {type(value).__name__}")


def describe_envelope(envelope: Json, *paths: str) -> str:
    """Describe how far ``paths`` lead into a response body, rows excluded."""
    return "the body contains only its rows" if envelope is None else describe_path(envelope, "the body", *paths)


def describe_path(value: Json, name: str, *paths: str) -> str:
    """Describe the value where each path ends or breaks off; ``name`` is what to call ``value`` itself."""
    return ", and ".join(dict.fromkeys(_describe_path(value, name, parse_path(path)) for path in paths))


def _describe_path(value: Json, name: str, path: Path) -> str:
    at = 0
    while at < len(path) and isinstance(value, dict) and path[at] in value:
        value, at = value[path[at]], at + 1
    shape = describe_shape(value)
    return f"{'.'.join(map(str, path[:at]))!r} is {shape}" if at else f"{name} is {shape}"


def quoted(text: str) -> str:
    """Quote a short string from an API; a long one is not even cut, since part of a secret would escape scrubbing."""
    return repr(text) if len(text) <= 40 else f"(a string of {len(text)} characters)"


@dataclass(frozen=True, slots=True)
class KeyReader:
    """Reads some values of each row as raw JSON, and skips the rest without decoding it."""

    decoder: msgspec.json.Decoder[Any]
    values: tuple[Callable[[Any], msgspec.Raw], ...]

    def read(self, lines: bytes) -> Iterator[list[bytes]]:
        """Yield the values of each row. Raises ``msgspec.ValidationError`` for a row that lacks one."""
        for row in self.decoder.decode_lines(lines):
            yield [bytes(value(row)) for value in self.values]


@lru_cache(maxsize=16)
def key_reader(paths: tuple[str, ...]) -> KeyReader:
    """Return a reader for the values at ``paths``.

    Raises ``ConfigurationError`` for a name that must be escaped in JSON.
    """
    ways = tuple(tuple(map(str, parse_path(path))) for path in paths)
    names = tuple(attrgetter(".".join(_field_name(step) for step in way)) for way in ways)
    try:
        return KeyReader(msgspec.json.Decoder(_struct_type(ways)), names)
    except ValueError:
        raise ConfigurationError(
            f"paths into a row must not contain a quote, a backslash or a control character: {', '.join(paths)}"
        ) from None


def _struct_type(ways: tuple[tuple[str, ...], ...]) -> Any:
    """Return a struct type with the fields on these paths only."""
    if () in ways:
        return msgspec.Raw
    steps = tuple(dict.fromkeys(way[0] for way in ways))
    inner = {step: _struct_type(tuple(way[1:] for way in ways if way[0] == step)) for step in steps}
    fields = [(_field_name(step), kind) for step, kind in inner.items()]
    return msgspec.defstruct("Row", fields, rename={_field_name(step): step for step in steps})


def _field_name(step: str) -> str:
    """Return a valid attribute name for any key."""
    return f"k{step.encode().hex()}"
