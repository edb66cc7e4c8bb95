"""A folder in an object store, or on any other fsspec filesystem."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from operator import itemgetter
from typing import Any, Final

from fsspec import AbstractFileSystem

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.policies import MIB
from airflow_paginated.sinks.files.storage import Info, Log, Pending, Reader, Storage, temp_name, translated

_UPLOAD_BLOCK_BYTES: Final = 8 * MIB
_MAX_BLOCKS: Final = 9_000  # S3 takes 10,000 parts of one upload
# These honour autocommit=False: an uncommitted file never appears. On others it would.
_TRANSACTIONAL: Final = frozenset({"s3", "s3a", "gs", "gcs"})


class ObjectStorage:
    """Implements ``Storage`` over an fsspec filesystem; ``token`` makes its temporary names its own."""

    local = False

    def __init__(self, fs: AbstractFileSystem, root: str, token: str) -> None:
        # fsspec reads a list of names to delete as patterns.
        if set(root) & set("*?["):
            raise ConfigurationError("sink: a path in a store must not contain any of * ? [")
        self._fs = fs
        self._root = root.rstrip("/")
        self._token = token
        names = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
        self._protocol = sorted(names)[0]
        self._transactional = bool(names & _TRANSACTIONAL)

    @property
    def identity(self) -> str:
        """Protocol and path, as a URL."""
        return f"{self._protocol}://{self._root}"

    def sub(self, folder: str) -> Storage:
        """Return a folder inside this one."""
        return ObjectStorage(self._fs, self._path(folder), self._token)

    def create(self, name: str, data: bytes) -> bool:
        """Write a small file unless it exists; two at once can both succeed where the store has no such operation."""
        path = self._path(name)
        with translated(f"create {self._shown(name)}"):
            try:
                self._create(path, data)
            except FileExistsError:
                return False
        return True

    def _create(self, path: str, data: bytes) -> None:
        if not self._transactional:
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        try:
            with self._fs.open(path, "xb") as file:
                file.write(data)
        except (NotImplementedError, ValueError):
            if self._fs.exists(path):
                raise FileExistsError(path) from None
            self._fs.pipe_file(path, data)
        except OSError:
            # Some fsspec drivers do not recognize their store's "already exists".
            if self._fs.exists(path):
                raise FileExistsError(path) from None
            raise

    def put(self, name: str, data: bytes) -> None:
        """Write a small file in one step."""
        if not self._transactional:
            pending = self.begin(name, len(data))
            pending.write(data)
            pending.commit()
            return
        with translated(f"write {self._shown(name)}"):
            self._fs.pipe_file(self._path(name), data)

    def begin(self, name: str, expected: int = 0) -> Pending:
        """Begin a file as an upload that its commit completes, or under a temporary name."""
        path, block = self._path(name), max(_UPLOAD_BLOCK_BYTES, -(-expected // _MAX_BLOCKS))
        with translated(f"write {self._shown(name)}"):
            if self._transactional:
                upload = self._fs.open(path, "wb", block_size=block, autocommit=False)
                return _PendingObject(upload, self._shown(name), upload.commit, upload.discard)
            temp = self._path(temp_name(name, self._token))
            self._fs.makedirs(temp.rpartition("/")[0], exist_ok=True)
            return _PendingObject(
                self._fs.open(temp, "wb", block_size=block),
                self._shown(name),
                lambda: self._fs.mv(temp, path),
                lambda: self._fs.rm_file(temp),
            )

    def log(self, name: str) -> Log:
        """Begin a new log, stored on close."""
        return _ObjectLog(lambda data: self.put(name, data))

    def read(self, name: str) -> bytes | None:
        """Return a whole file."""
        with translated(f"read {self._shown(name)}"), suppress(FileNotFoundError):
            return bytes(self._fs.cat_file(self._path(name)))
        return None

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Return a part of a file."""
        with translated(f"read {self._shown(name)}"):
            return bytes(self._fs.cat_file(self._path(name), start=offset, end=offset + length))

    def reader(self, name: str) -> Reader:
        """Download a file to a temporary one on the disk of this host."""
        with translated(f"read {self._shown(name)}"):
            return _Fetched(self._fs.cat_file(self._path(name)))

    def size(self, name: str) -> int | None:
        """Return the size of a file."""
        path = self._path(name)
        with translated(f"look at {self._shown(name)}"), suppress(FileNotFoundError):
            self._fs.invalidate_cache(path)
            return int(self._fs.info(path)["size"])
        return None

    def entries(self, folder: str = "") -> list[str]:
        """Return the names in one folder."""
        path = self._path(folder)
        with translated(f"list {self._shown(folder)}"), suppress(FileNotFoundError):
            self._fs.invalidate_cache(path)
            found = [(_relative(each["name"], path), each["type"]) for each in self._fs.ls(path, detail=True)]
            return sorted(name + "/" * (kind == "directory") for name, kind in found if name)
        return []

    def files(self, folder: str = "") -> Mapping[str, Info]:
        """Return all files below a folder."""
        path = self._path(folder)
        with translated(f"list {self._shown(folder)}"), suppress(FileNotFoundError):
            self._fs.invalidate_cache(path)
            found = self._fs.find(path, detail=True)
            infos = ((_relative(name, self._root), known) for name, known in found.items())
            return {name: Info(int(known["size"]), _time(known)) for name, known in sorted(infos, key=_first) if name}
        return {}

    def delete(self, names: Iterable[str]) -> None:
        """Delete files."""
        paths = [self._path(name) for name in names]
        if not paths:
            return
        with translated(f"delete files in {self._shown('')}"):
            try:
                self._fs.rm(paths)
            except FileNotFoundError:
                for path in paths:
                    with suppress(FileNotFoundError):
                        self._fs.rm_file(path)

    def drop(self) -> None:
        """Delete this folder with all that is in it."""
        self.delete(self.files())
        self.prune()

    def prune(self) -> None:
        """Delete this folder if it is empty; a store has no folders."""
        if not self._transactional:
            with suppress(OSError, NotImplementedError):
                self._fs.rmdir(self._root)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")

    def _shown(self, name: str) -> str:
        return f"{self.identity}/{name}".rstrip("/")


class _PendingObject:
    """An open upload, and how to commit or discard it; ``_settled`` after either."""

    def __init__(self, file: Any, shown: str, commit: Callable[[], object], discard: Callable[[], object]) -> None:
        self._file = file
        self._shown = shown
        self._commit = commit
        self._discard = discard
        self._settled = False

    def write(self, data: bytes) -> None:
        try:
            with translated(f"write {self._shown}"):
                self._file.write(data)
        except BaseException:
            self.discard()
            raise

    def commit(self) -> None:
        try:
            with translated(f"write {self._shown}"):
                self._file.close()
                self._commit()
        except BaseException:
            self.discard()
            raise
        self._settled = True

    def discard(self) -> None:
        if self._settled:
            return
        self._settled = True
        # Best effort: the error that led here is the one to report.
        with suppress(Exception):
            self._discard()
        # An unclosed file object would upload its rest when garbage-collected.
        with suppress(Exception):
            self._file.closed = True


class _ObjectLog:
    """Buffers frames in memory, since an object is stored whole."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put
        self._chunks: list[bytes] = []

    def append(self, head: bytes, body: bytes) -> None:
        self._chunks += head, body

    def close(self) -> None:
        if self._chunks:
            self._put(b"".join(self._chunks))
            self._chunks = []

    def abandon(self) -> None:
        self._chunks = []


class _Fetched:
    def __init__(self, data: bytes) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close()
        self._file.write(data)
        self._file.flush()

    def read(self, offset: int, length: int) -> bytes:
        with translated("read a temporary file"):
            return os.pread(self._file.fileno(), length, offset)

    def close(self) -> None:
        self._file.close()


_first: Final = itemgetter(0)


def _relative(path: str, root: str) -> str:
    return path.strip("/").removeprefix(root.strip("/")).strip("/")


def _time(known: Mapping[str, Any]) -> float:
    """Return when a file was written, or now if the store does not say, so that it never counts as old."""
    for key in ("LastModified", "mtime", "modified", "last_modified", "updated", "created"):
        value = known.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return time.time()
