"""Read a published dataset through its manifest."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from airflow_paginated.core.errors import ConfigurationError, StoreError
from airflow_paginated.sinks.files.file_sink import Location, Resolve
from airflow_paginated.sinks.files.formats import FILE_FORMATS, FileFormat, format_in
from airflow_paginated.sinks.files.layout import Layout
from airflow_paginated.sinks.files.manifest import FileEntry, Manifest, load
from airflow_paginated.sinks.files.storage import Storage

READ_BLOCK_BYTES: Final = 256 * 1024

_MANIFEST: Final = re.compile(r"(?:_manifest|_(?P<name>.+)\.manifest)\.json")


@dataclass(frozen=True, slots=True)
class Published:
    """The rows that a manifest listed when it was read; ``name`` is its path."""

    name: str
    manifest: Manifest
    storage: Storage

    @property
    def digest(self) -> str:
        """Differs for different rows."""
        return self.manifest.digest

    @property
    def complete(self) -> bool:
        """Whether no check was waived."""
        return self.manifest.complete

    @property
    def count(self) -> int:
        """The number of rows."""
        return self.manifest.rows

    def blocks(self) -> Iterator[bytes]:
        """Yield all rows in order, in blocks of JSON Lines; verify each file that is read to its end.

        Raises ``StoreError`` if a file differs from the manifest.
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
        """Raise ``StoreError`` for a file that is missing or has the wrong size."""
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
