"""The manifest: what is published, by whom, and what was checked. ``manifest.schema.json`` describes its JSON."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import msgspec

from airflow_paginated.core.errors import TargetError
from airflow_paginated.core.values import Check, Json
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
        """Encode the manifest as JSON."""
        return msgspec.json.format(msgspec.json.encode(self, enc_hook=str), indent=2) + b"\n"

    def summary(self, path: str, manifest_path: str) -> dict[str, Any]:
        """Return the task's result."""
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
    """Return the manifest of a target, or ``None`` if there is none.

    Raises ``TargetError`` for a file that is not one of our manifests.
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
    """Whether the listed files exist: compared by size in a folder, by digest for a one-file target."""
    if any(target.size(file.path) != file.bytes for file in manifest.files):
        return False
    return layout.name is None or all(_digest(target, file) == file.sha256 for file in manifest.files)


def _digest(target: Storage, file: FileEntry) -> str:
    digest = sha256()
    for offset in range(0, file.bytes, _DIGEST_BLOCK_BYTES):
        digest.update(target.read_range(file.path, offset, min(_DIGEST_BLOCK_BYTES, file.bytes - offset)))
    return digest.hexdigest()
