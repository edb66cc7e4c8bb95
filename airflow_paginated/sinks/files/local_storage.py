"""A folder on a disk of this host."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from airflow_paginated.sinks.files.storage import (
    Info,
    Log,
    Pending,
    Reader,
    Storage,
    store_error,
    temp_name,
    translated,
)

_OVER = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC
_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
_BUFFER_BYTES = 256 * 1024
_REPLACE_ATTEMPTS = 3
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


class LocalStorage:
    """Implements ``Storage`` with plain system calls; ``token`` makes its temporary names its own."""

    local = True

    def __init__(self, root: str, token: str) -> None:
        # Relative paths would follow a change of the working directory.
        self._root = os.path.abspath(root)
        self._token = token

    @property
    def identity(self) -> str:
        """The absolute path, as a URL."""
        return f"file://{self._root}"

    def sub(self, folder: str) -> Storage:
        """Return a folder inside this one."""
        return LocalStorage(self._path(folder), self._token)

    def create(self, name: str, data: bytes) -> bool:
        """Write a small file unless it exists, whole, in one step."""
        path, temp = self._path(name), self._path(temp_name(name, self._token))
        with translated(f"create {path}"):
            for _ in range(_REPLACE_ATTEMPTS):
                # Another run may delete the folder with this file in it.
                with suppress(FileNotFoundError):
                    return _create(temp, path, data)
            return _create(temp, path, data)

    def put(self, name: str, data: bytes) -> None:
        """Write a small file in one step."""
        pending = self.begin(name)
        pending.write(data)
        pending.commit()

    def begin(self, name: str, expected: int = 0) -> Pending:
        """Begin a file beside its final path, so that one rename commits it."""
        return _LocalPending(self._path(temp_name(name, self._token)), self._path(name))

    def log(self, name: str) -> Log:
        """Begin a new log."""
        return _LocalLog(self._path(name))

    def read(self, name: str) -> bytes | None:
        """Return a whole file."""
        path = self._path(name)
        with translated(f"read {path}"), suppress(FileNotFoundError):
            return Path(path).read_bytes()
        return None

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Return a part of a file."""
        reader = self.reader(name)
        try:
            return reader.read(offset, length)
        finally:
            reader.close()

    def reader(self, name: str) -> Reader:
        """Open a file for random access."""
        return _LocalReader(self._path(name))

    def size(self, name: str) -> int | None:
        """Return the size of a file."""
        path = self._path(name)
        with translated(f"look at {path}"), suppress(FileNotFoundError):
            return os.stat(path).st_size
        return None

    def entries(self, folder: str = "") -> list[str]:
        """Return the names in one folder."""
        path = self._path(folder)
        with translated(f"list {path}"), suppress(FileNotFoundError), os.scandir(path) as found:
            return sorted(entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in found)
        return []

    def files(self, folder: str = "") -> Mapping[str, Info]:
        """Return all files below a folder."""
        with translated(f"list {self._path(folder)}"):
            return dict(sorted(_walk(self._path(folder), f"{folder.rstrip('/')}/" if folder else "")))

    def delete(self, names: Iterable[str]) -> None:
        """Delete files."""
        for name in names:
            path = self._path(name)
            with translated(f"delete {path}"), suppress(FileNotFoundError):
                os.remove(path)

    def drop(self) -> None:
        """Delete this folder and everything in it."""
        with translated(f"delete {self._root}"), suppress(FileNotFoundError):
            shutil.rmtree(self._root)

    def prune(self) -> None:
        """Delete this folder if it is empty."""
        # Another run may use it; rmdir decides whether it is empty.
        with suppress(OSError):
            os.rmdir(self._root)

    def _path(self, name: str) -> str:
        return os.path.join(self._root, name) if name else self._root


class _LocalPending:
    """A temporary file that is renamed on commit."""

    def __init__(self, temp: str, path: str) -> None:
        self._temp = temp
        self._path = path
        with translated(f"write {path}"):
            self._file = os.fdopen(_open(temp, _OVER), "wb", buffering=_BUFFER_BYTES)

    def write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            self.discard()
            raise store_error(f"write {self._path}", error) from error

    def commit(self) -> None:
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._temp, self._path)
            _sync_folder(self._path)
        except OSError as error:
            self.discard()
            raise store_error(f"write {self._path}", error) from error

    def discard(self) -> None:
        # Closing flushes, which fails again on a full disk.
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            os.remove(self._temp)


class _LocalLog:
    """Passes frames straight to the kernel, so that they survive this process."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._size = 0
        with translated(f"write {path}"):
            self._file = _open(path, _NEW)

    def append(self, head: bytes, body: bytes) -> None:
        size = len(head) + len(body)
        try:
            written = os.writev(self._file, (head, body))
            if written < size:
                _write_all(self._file, memoryview(head + body)[written:])
        except OSError as error:
            # Frames after a partial one would be unreadable.
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
                os.lseek(self._file, self._size, os.SEEK_SET)
            raise store_error(f"write {self._path}", error) from error
        self._size += size

    def close(self) -> None:
        if self._file < 0:
            return
        try:
            with translated(f"write {self._path}"):
                os.fsync(self._file)
                _sync_folder(self._path)
        finally:
            self.abandon()

    def abandon(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            with suppress(OSError):
                os.close(file)


class _LocalReader:
    def __init__(self, path: str) -> None:
        self._path = path
        with translated(f"read {path}"):
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, offset: int, length: int) -> bytes:
        try:
            return os.pread(self._file, length, offset)
        except OSError as error:
            raise store_error(f"read {self._path}", error) from error

    def close(self) -> None:
        os.close(self._file)


def _create(temp: str, path: str, data: bytes) -> bool:
    try:
        _write(temp, _OVER, data)
        os.link(temp, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Without hard links, dying here leaves a partial file.
        with suppress(FileExistsError):
            _write(path, _NEW, data)
            return True
        return False
    finally:
        with suppress(OSError):
            os.remove(temp)
    _sync_folder(path)
    return True


def _write(path: str, flags: int, data: bytes) -> None:
    with os.fdopen(_open(path, flags), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _open(path: str, flags: int) -> int:
    """Open a file for writing, creating its folder if missing."""
    for _ in range(_REPLACE_ATTEMPTS):
        with suppress(FileNotFoundError):
            return os.open(path, flags, 0o666)
        # Another run may remove the empty folder between these two calls; hence the loop.
        os.makedirs(os.path.dirname(path), exist_ok=True)
    return os.open(path, flags, 0o666)


def _write_all(file: int, data: memoryview) -> None:
    while data:
        data = data[os.write(file, data) :]


def _sync_folder(path: str) -> None:
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _walk(path: str, prefix: str) -> Iterator[tuple[str, Info]]:
    with suppress(FileNotFoundError), os.scandir(path) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, f"{prefix}{entry.name}/")
                continue
            # It may be gone by now.
            with suppress(FileNotFoundError):
                known = entry.stat(follow_symlinks=False)
                yield prefix + entry.name, Info(known.st_size, known.st_mtime)
