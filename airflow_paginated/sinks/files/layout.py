"""Validate a sink's path, and name the files at a target."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any, Final

from airflow_paginated.core.errors import ConfigurationError

_TEMPLATE: Final = re.compile(r"\{\{|\{%|\{#")

_PASSWORD: Final = re.compile(r"://[^/@]*:[^/@]*@")


def path_text(given: Any, name: str) -> str:
    """Return a path argument as a string.

    Raises ``ConfigurationError`` if it is not a path, is empty, or contains a password.
    """
    if not isinstance(given, str | os.PathLike) or not str(given):
        raise ConfigurationError(f"sink: {name} must be a path that is not empty, got a {type(given).__name__}")
    text = str(given)
    if _PASSWORD.search(text):
        raise ConfigurationError(f"sink: {name} must not hold a password; put it into a connection")
    return text


def check_rendered(path: str, written: str, name: str) -> None:
    """Raise ``ConfigurationError`` for a path that its templates lead out of the folder before the first of them."""
    if _TEMPLATE.search(path):
        raise ConfigurationError(f"{name} {path!r} is a template that was never rendered")
    first = _TEMPLATE.search(written)
    if first is None:
        return
    base = written[: written.rfind("/", 0, first.start()) + 1]
    rest = path[len(base) :].removesuffix("/")
    if not base:
        # A path that starts with a template may render to an absolute path or a URL.
        rest = (rest.partition("://")[2] or rest).removeprefix("/")
    segments = rest.split("/")
    odd = any(ord(character) < 32 or character == "\\" for character in rest)
    if not path.startswith(base) or odd or not all(segments) or {".", ".."} & set(segments):
        raise ConfigurationError(f"{name} {path!r} leaves its base {base!r} or has an empty step in it")


def split_file(path: str) -> tuple[str, str]:
    """Return the folder of a path and the name in it."""
    folder, slash, name = path.rpartition("/")
    return folder + slash, name


STAGING: Final = "_staging"

_FOLDER_FILE: Final = re.compile(r"(part-\d{5,}-[0-9a-f]{16}\.[a-z0-9.]{1,16}|_pages/[0-9a-f]{16}\.ndjson\.gz)")

_DIGEST_FILE: Final = re.compile(r"[0-9a-f]{16}\.ndjson\.gz")


@dataclass(frozen=True, slots=True)
class Layout:
    """The file names of a folder target, or of the one file ``name`` and its companions."""

    suffix: str
    name: str | None = None

    @property
    def manifest(self) -> str:
        """The commit point of a folder, the companion of a file."""
        return "_manifest.json" if self.name is None else f"_{self.name}.manifest.json"

    def part(self, digest: str, number: int) -> str:
        """The name of a data file."""
        return self.name or f"part-{number:05d}-{digest}.{self.suffix}"

    def pages(self, digest: str) -> str:
        """The name of the file with one record per page."""
        return f"{self._pages_folder}{digest}.ndjson.gz"

    def owns(self, name: str) -> bool:
        """Whether a file may be deleted: its name is one of ours, and not that of the one file itself."""
        if self.name is None:
            return bool(_FOLDER_FILE.fullmatch(name))
        folder, slash, base = name.rpartition("/")
        return folder + slash == self._pages_folder and bool(_DIGEST_FILE.fullmatch(base))

    def folders(self) -> tuple[str, ...]:
        """The folders of the target that we write files in."""
        return "", self._pages_folder

    @property
    def _pages_folder(self) -> str:
        return "_pages/" if self.name is None else f"_{self.name}.pages/"
