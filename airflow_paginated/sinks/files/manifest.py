"""The manifest: what is published, by whom, and what was checked. ``manifest.schema.json`` describes its JSON."""

from __future__ import annotations

import builtins
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import msgspec

from airflow_paginated.core.errors import ConfigurationError, StoreError, TargetError
from airflow_paginated.core.values import Check, Json
from airflow_paginated.sinks.files.file_sink import Location, Resolve
from airflow_paginated.sinks.files.formats import FILE_FORMATS, FileFormat, format_in
from airflow_paginated.sinks.files.layout import Layout
from airflow_paginated.sinks.files.storage import Storage
from airflow_paginated.sinks.protocol import Owner

MANIFEST_VERSION: Final = 1

_DIGEST_BLOCK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A published data file; ``path`` is relative to the manifest's folder."""

    path: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is visible at a target; ``bytes`` counts the rows as JSON Lines, uncompressed."""

    version: int
    digest: str
    complete: bool
    owner: Owner
    plan: Mapping[str, Json]
    partitions: int
    pages: int
    rows: int
    bytes: int
    files: tuple[FileEntry, ...]
    checks: tuple[Check, ...]
    stop_reason: str
    watermark: Json
    created: str

    def encode(self) -> builtins.bytes:
        """Return the manifest as a JSON text."""
        return msgspec.json.format(msgspec.json.encode(self, enc_hook=str), indent=2) + b"\n"

    def summary(self, path: str, manifest_path: str) -> dict[str, Any]:
        """Return what a task returns of it."""
        return {
            "path": path,
            "manifest": manifest_path,
            "files": len(self.files),
            "rows": self.rows,
            "pages": self.pages,
            "bytes": self.bytes,
            "stop_reason": self.stop_reason,
            "watermark": self.watermark,
            "complete": self.complete,
        }


def load(target: Storage, layout: Layout) -> Manifest | None:
    """Return the manifest of a target, or ``None`` when there is none.

    Raises ``TargetError`` for a file that is not a manifest of ours.
    """
    text = target.read(layout.manifest)
    if text is None:
        return None
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TargetError(f"{target.identity}/{layout.manifest} is not a manifest of a paginated dataset") from error
    if manifest.version != MANIFEST_VERSION:
        raise TargetError(
            f"{target.identity}/{layout.manifest} has version {manifest.version},"
            f" this release writes version {MANIFEST_VERSION}"
        )
    return manifest


def stands(manifest: Manifest, target: Storage, layout: Layout) -> bool:
    """Say whether what a manifest lists is there: by size in a folder, by digest for a one-file target."""
    if any(target.size(file.path) != file.bytes for file in manifest.files):
        return False
    return layout.name is None or all(_digest(target, file) == file.sha256 for file in manifest.files)


def _digest(target: Storage, file: FileEntry) -> str:
    digest = sha256()
    for offset in range(0, file.bytes, _DIGEST_BLOCK_BYTES):
        digest.update(target.read_range(file.path, offset, min(_DIGEST_BLOCK_BYTES, file.bytes - offset)))
    return digest.hexdigest()


READ_BLOCK_BYTES: Final = 256 * 1024

_MANIFEST: Final = re.compile(r"(?:_manifest|_(?P<name>.+)\.manifest)\.json")


@dataclass(frozen=True, slots=True)
class Published:
    """The rows that a manifest lists, as they were when it was read; ``name`` is its path."""

    name: str
    manifest: Manifest
    storage: Storage

    @property
    def digest(self) -> str:
        """Another one for other rows."""
        return self.manifest.digest

    @property
    def complete(self) -> bool:
        """Whether no check was waived."""
        return self.manifest.complete

    @property
    def count(self) -> int:
        """How many rows it has."""
        return self.manifest.rows

    def blocks(self) -> Iterator[bytes]:
        """Yield all rows in order, as JSON Lines, some at a time; of each file that is read to its end, verified.

        Raises ``StoreError`` where a file is not what the manifest lists.
        """
        for file in self.manifest.files:
            file_format = _format_of(file)
            assert file_format.lines is not None, "checked when it was opened"  # noqa: S101  # for mypy
            rest = b""
            try:
                for block in file_format.lines(self._verified(file)):
                    whole, end, tail = (rest + block).rpartition(b"\n")
                    if end:
                        yield whole + end
                    rest = tail
            except zlib.error:
                raise self._changed(file) from None

    def check_files(self) -> None:
        """Raise ``StoreError`` for a file that is gone, or has another size."""
        for file in self.manifest.files:
            if self.storage.size(file.path) != file.bytes:
                raise self._changed(file)

    def _verified(self, file: FileEntry) -> Iterator[bytes]:
        digest = sha256()
        for offset in range(0, file.bytes, READ_BLOCK_BYTES):
            block = self.storage.read_range(file.path, offset, min(READ_BLOCK_BYTES, file.bytes - offset))
            digest.update(block)
            yield block
        if digest.hexdigest() != file.sha256:
            raise self._changed(file)

    def _changed(self, file: FileEntry) -> StoreError:
        return StoreError(
            f"{self.storage.identity}/{file.path} is not what {self.name} lists: another run may have replaced it, and"
            " the next try reads the new manifest"
        )


def published(path: str, resolve: Resolve) -> Published:
    """Return the dataset whose manifest lies at ``path``; the sizes of its files are right.

    Raises ``ConfigurationError`` where there is no manifest, or files whose rows cannot be read back, ``StoreError``
    where a file is gone.
    """
    found = _MANIFEST.fullmatch(path.rpartition("/")[2])
    if found is None:
        raise ConfigurationError(
            f"partitions: {path!r} is not the path of a manifest, as a task with a FileSink returns it: a"
            " _manifest.json in its folder, or _NAME.manifest.json beside the file NAME"
        )
    place = Location.of(resolve, path, one_file=True)
    storage = place.storage("")
    manifest = load(storage, Layout("", found["name"]))
    if manifest is None:
        raise ConfigurationError(f"partitions: there is no manifest at {path!r}: has the task that writes it run?")
    dataset = Published(path, manifest, storage)
    for file in manifest.files:
        _format_of(file)
    dataset.check_files()
    return dataset


def _format_of(file: FileEntry) -> FileFormat:
    known = FILE_FORMATS.get(format_in(file.path) or "")
    if known is None or known.lines is None:
        readable = ", ".join(name for name, each in FILE_FORMATS.items() if each.lines is not None)
        raise ConfigurationError(
            f"partitions: the rows in {file.path} cannot be read back; file formats that can: {readable}"
        )
    return known
