"""The filesystem operations that a dataset needs, and the translation of their errors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

from airflow_paginated.core.errors import StoreError, TargetError

_TEMP: Final = re.compile(r"_.+\.([0-9a-f]{16})-[0-9a-f]{8}\.tmp")


class Info(NamedTuple):
    """A file's size, and when it was written (epoch seconds) if known."""

    size: int
    modified: float | None


class Pending(Protocol):
    """A file that is invisible until ``commit``; an error of its own discards it."""

    def write(self, data: bytes) -> None:
        """Add ``data`` at the end."""

    def commit(self) -> None:
        """Make the whole file visible in one step."""

    def discard(self) -> None:
        """Delete it; does nothing after ``commit`` or ``discard``."""


class Log(Protocol):
    """An append-only file of frames with a single writer."""

    def append(self, head: bytes, body: bytes) -> None:
        """Add one whole frame, or nothing if that fails."""

    def close(self) -> None:
        """Store all frames durably."""

    def abandon(self) -> None:
        """Release resources without storing anything more."""


class Reader(Protocol):
    """A stored file, open for random access."""

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``, fewer at the end of the file."""

    def close(self) -> None:
        """Release resources."""


class Storage(Protocol):
    """A folder. Names are relative to it, with slashes; nothing is cached; every failure is a ``StoreError``."""

    @property
    def local(self) -> bool:
        """Whether the folder is on a disk of this host."""

    @property
    def identity(self) -> str:
        """The folder's filesystem and path, for comparison and for error messages."""

    def sub(self, folder: str) -> Storage:
        """Return a folder inside this one."""

    def create(self, name: str, data: bytes) -> bool:
        """Write a small file unless it exists; return whether it was written."""

    def put(self, name: str, data: bytes) -> None:
        """Write a small file, or replace it, in one step."""

    def begin(self, name: str, expected: int = 0) -> Pending:
        """Begin a file of about ``expected`` bytes."""

    def log(self, name: str) -> Log:
        """Begin a new log."""

    def read(self, name: str) -> bytes | None:
        """Return a whole file, or ``None`` if there is none."""

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Return a part of a file."""

    def reader(self, name: str) -> Reader:
        """Open a file for random access."""

    def size(self, name: str) -> int | None:
        """Return the size of a file, or ``None`` if there is none."""

    def entries(self, folder: str = "") -> list[str]:
        """Return the names in one folder, subfolders with a trailing slash; nothing if the folder does not exist."""

    def files(self, folder: str = "") -> Mapping[str, Info]:
        """Return all files below a folder with size and time, sorted by name."""

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, ignoring missing ones."""

    def drop(self) -> None:
        """Delete this folder and everything in it."""

    def prune(self) -> None:
        """Delete this folder if it is empty."""


def temp_name(name: str, token: str) -> str:
    """Return the temporary name under which a file is written before it is committed."""
    folder, slash, base = name.rpartition("/")
    return f"{folder}{slash}_{base}.{token}.tmp"


def temp_owner(name: str) -> str | None:
    """Return the run key in the name of a temporary file, or ``None`` for any other name."""
    found = _TEMP.fullmatch(name.rpartition("/")[2])
    return found and found[1]


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Turn a filesystem's errors into a ``StoreError`` that names the action and reveals nothing else."""
    try:
        yield
    except (NotADirectoryError, IsADirectoryError) as error:
        raise TargetError(f"cannot {action}: {error.strerror or type(error).__name__}") from error
    except OSError as error:
        raise store_error(action, error) from error
    except Exception as error:
        # botocore, aiohttp and the like share no base class; a built-in error is a defect and passes.
        if type(error).__module__ == "builtins" or isinstance(error, StoreError):
            raise
        # Their messages can contain signed URLs.
        raise store_error(action, error) from None


def store_error(action: str, error: Exception) -> StoreError:
    """Describe a filesystem's error without its message, which may contain secrets."""
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    reason = getattr(error, "strerror", None) or code
    return StoreError(f"cannot {action}: {type(error).__name__}" + (f" ({reason})" if reason else ""))
