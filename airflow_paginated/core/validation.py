"""Makes values from dicts, as in DAGs from YAML and connection extras, and validates arguments."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import MISSING, fields, replace
from difflib import get_close_matches
from typing import Any, TypeVar

from airflow_paginated.core.errors import ConfigurationError

T = TypeVar("T")


def value_from_dict(kind: type[T], given: Mapping[str, Any], where: str) -> T:
    """Create a ``kind`` (a dataclass) from a dict; ``where`` names the argument in errors."""
    check_keys(given, _field_names(kind), where)
    missing = [name for name in _required_fields(kind) if name not in given]
    if missing:
        raise ConfigurationError(f"{where}: {missing[0]!r} is required")
    return kind(**given)


def override(value: T, given: Mapping[str, Any] | T | None, where: str, meant: Mapping[str, str] | None = None) -> T:
    """Return ``value`` with the fields that a dict gives, or the value given instead; ``None`` changes nothing.

    ``meant`` maps wrong keys to the names that the error suggests.
    """
    if given is None:
        return value
    if isinstance(given, type(value)):
        return given
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{where}: expected a dict or {type(value).__name__}, got {type(given).__name__}")
    check_keys(given, _field_names(type(value)), where, meant)
    changed: T = replace(value, **given)  # type: ignore[type-var]  # every policy is a dataclass
    return changed


def json_object(given: object, where: str) -> dict[str, Any]:
    """Return a dict given as such, or as a JSON string, as connection forms store it."""
    if isinstance(given, str):
        # The error from json contains the whole string, maybe with secrets: it must not become the context of ours.
        with suppress(ValueError):
            given = json.loads(given)
    if isinstance(given, str):
        raise ConfigurationError(f"{where}: not a JSON object")
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{where}: expected a JSON object, got {type(given).__name__}")
    return dict(given)


def check_keys(
    given: Mapping[str, Any], allowed: Iterable[str], where: str, meant: Mapping[str, str] | None = None
) -> None:
    """Raise ``ConfigurationError`` for a key that is not allowed; the message suggests the likely one and lists all."""
    known = sorted(allowed)
    for key in given:
        if key not in known:
            advice = _did_you_mean(key, known, meant)
            raise ConfigurationError(f"{where}: unknown key {key!r}{advice}; allowed: {', '.join(known)}")


def _did_you_mean(given: object, known: Iterable[str], meant: Mapping[str, str] | None = None) -> str:
    """Return a suggestion for a misspelled name, or an empty string."""
    by_case = {each.lower(): each for each in known} | dict(meant or {})
    near = get_close_matches(str(given).lower(), by_case, n=1, cutoff=0.75)
    return f" (did you mean {by_case[near[0]]!r}?)" if near else ""


def check_choice(value: object, allowed: Iterable[str], where: str) -> None:
    """Raise ``ConfigurationError`` for a value that is not in ``allowed``."""
    choices = list(allowed)
    if value not in choices:
        raise ConfigurationError(
            f"{where}: {value!r} is not one of {', '.join(choices)}{_did_you_mean(value, choices)}"
        )


def check_number(value: object, where: str, *, least: float = 0, whole: bool = False, optional: bool = False) -> None:
    """Raise ``ConfigurationError`` unless the value is a number of at least ``least``."""
    if value is None and optional:
        return
    right = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not right or not value >= least:  # type: ignore[operator]  # a number or NaN, checked above
        kind = "an integer" if whole else "a number"
        raise ConfigurationError(f"{where}: expected {kind} of at least {least:g}, got {value!r}")


def check_text(value: object, where: str, *, optional: bool = False) -> None:
    """Raise ``ConfigurationError`` unless the value is a non-empty string."""
    if value is None and optional:
        return
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{where}: expected a non-empty string, got {value!r}")


def check_flag(value: object, where: str) -> None:
    """Raise ``ConfigurationError`` unless the value is a bool: the YAML string ``"false"`` would be truthy."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{where}: expected true or false, got {value!r}")


def _field_names(kind: type) -> list[str]:
    return [field.name for field in fields(kind) if field.init]


def _required_fields(kind: type) -> list[str]:
    return [f.name for f in fields(kind) if f.init and f.default is MISSING and f.default_factory is MISSING]
