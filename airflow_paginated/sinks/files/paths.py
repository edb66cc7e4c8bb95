"""What a sink's path says: one file or a folder, and whether rendering led it astray."""

from __future__ import annotations

import os
import re
from typing import Any, Final

from airflow_paginated.paging.errors import ConfigurationError

_TEMPLATE: Final = re.compile(r"\{\{|\{%|\{#")
_PASSWORD: Final = re.compile(r"://[^/@]*:[^/@]*@")


def path_text(given: Any, name: str) -> str:
    """Return a path argument as text.

    Raises ``ConfigurationError`` for what is no path, or has a password in it.
    """
    if not isinstance(given, str | os.PathLike) or not str(given):
        raise ConfigurationError(f"sink: {name} must be a path that is not empty, got a {type(given).__name__}")
    text = str(given)
    if _PASSWORD.search(text):
        raise ConfigurationError(f"sink: {name} must not hold a password; put it into a connection")
    return text


def check_rendered(path: str, written: str, name: str) -> None:
    """Refuse a path that its templates led out of the folder that was written before the first of them."""
    if _TEMPLATE.search(path):
        raise ConfigurationError(f"sink: {name} {path!r} is a template that was never rendered")
    first = _TEMPLATE.search(written)
    if first is None:
        return
    base = written[: written.rfind("/", 0, first.start()) + 1]
    rest = path[len(base) :].removesuffix("/")
    if not base:
        # A path that is a template from its start may be absolute, or a URL.
        rest = (rest.partition("://")[2] or rest).removeprefix("/")
    segments = rest.split("/")
    odd = any(ord(character) < 32 or character == "\\" for character in rest)
    if not path.startswith(base) or odd or not all(segments) or {".", ".."} & set(segments):
        raise ConfigurationError(f"sink: {name} {path!r} leaves its base {base!r} or has an empty step in it")


def split_file(path: str) -> tuple[str, str]:
    """Return the folder of a path and the name in it."""
    folder, slash, name = path.rpartition("/")
    return folder + slash, name
