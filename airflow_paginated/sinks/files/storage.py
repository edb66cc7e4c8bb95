"""The few operations on a filesystem that a dataset needs, and the border where its errors are translated."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

from airflow_paginated.core.errors import StoreError, TargetError

_TEMP: Final = re.compile(r"_.+\.([0-9a-f]{16})-[0-9a-f]{8}\.tmp")


class Info(NamedTuple):
    """What a listing tells of a file: its size, and when it was written (epoch seconds) where that is known."""

    size: int
    modified: float | None


class Pending(Protocol):
    """A file that is invisible under its name until ``commit``; after an error of its own it is discarded already."""

    def write(self, data: bytes) -> None:
        """Add ``data`` at the end."""

    def commit(self) -> None:
        """Let the file appear, whole, in one step."""

    def discard(self) -> None:
        """Leave no trace of it; does nothing after ``commit`` or ``discard``."""


class Log(Protocol):
    """A file that frames are added to; nobody else writes it."""

    def append(self, head: bytes, body: bytes) -> None:
        """Add one frame, or nothing of it when it fails."""

    def close(self) -> None:
        """Store all frames for good."""

    def abandon(self) -> None:
        """Let go of resources without storing anything more."""


class Reader(Protocol):
    """A stored file that is read at many places."""

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``, fewer at the end of the file."""

    def close(self) -> None:
        """Let go of resources."""


class Storage(Protocol):
    """A folder. Names are relative to it, with slashes; nothing is cached; every failure is a ``StoreError``."""

    @property
    def local(self) -> bool:
        """Say whether the folder is on a disk of this host."""

    @property
    def identity(self) -> str:
        """The folder's filesystem and path, for comparison and for error texts."""

    def sub(self, folder: str) -> Storage:
        """Return a folder inside this one."""

    def create(self, name: str, data: bytes) -> bool:
        """Write a small file unless it exists; say whether it was written."""

    def put(self, name: str, data: bytes) -> None:
        """Write a small file, or replace it, in one step."""

    def begin(self, name: str, expected: int = 0) -> Pending:
        """Begin a file of about ``expected`` bytes."""

    def log(self, name: str) -> Log:
        """Begin a new log."""

    def read(self, name: str) -> bytes | None:
        """Return a whole file, or ``None`` when there is none."""

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Return a part of a file."""

    def reader(self, name: str) -> Reader:
        """Open a file to read it at many places."""

    def size(self, name: str) -> int | None:
        """Return the size of a file, or ``None`` when there is none."""

    def entries(self, folder: str = "") -> list[str]:
        """Return the names in one folder, those of folders with a slash at the end; nothing for no folder."""

    def files(self, folder: str = "") -> Mapping[str, Info]:
        """Return all files below a folder, sorted by name, with what is known of them."""

    def delete(self, names: Iterable[str]) -> None:
        """Delete files; one that is not there is no error."""

    def drop(self) -> None:
        """Delete this folder with all that is in it."""

    def prune(self) -> None:
        """Delete this folder if it is an empty one."""


def temp_name(name: str, token: str) -> str:
    """Return the name under which a file is written before it appears under its own."""
    folder, slash, base = name.rpartition("/")
    return f"{folder}{slash}_{base}.{token}.tmp"


def temp_owner(name: str) -> str | None:
    """Return the run key of a temporary file's writer, or ``None`` for any other name."""
    found = _TEMP.fullmatch(name.rpartition("/")[2])
    return found and found[1]


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Turn what a filesystem raises into a ``StoreError`` that says what could not be done, and no more."""
    try:
        yield
    except (NotADirectoryError, IsADirectoryError) as error:
        raise TargetError(f"cannot {action}: {error.strerror or type(error).__name__}") from error
    except OSError as error:
        raise store_error(action, error) from error
    except Exception as error:
        # botocore, aiohttp and their like have no base in common; a built-in error is a defect and passes.
        if type(error).__module__ == "builtins" or isinstance(error, StoreError):
            raise
        # Their texts can hold signed URLs.
        raise store_error(action, error) from None


def store_error(action: str, error: Exception) -> StoreError:
    """Describe a filesystem's error without what its text might give away."""
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    reason = getattr(error, "strerror", None) or code
    return StoreError(f"cannot {action}: {type(error).__name__}" + (f" ({reason})" if reason else ""))
