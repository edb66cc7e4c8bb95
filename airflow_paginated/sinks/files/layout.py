"""What a sink's path says: one file or a folder, and whether rendering led it astray."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from airflow_paginated.core.errors import ConfigurationError, TargetError
from airflow_paginated.sinks.files.formats import FileFormat
from airflow_paginated.sinks.files.manifest import Manifest, load, stands
from airflow_paginated.sinks.files.storage import Storage, temp_owner
from airflow_paginated.sinks.protocol import Owner, Run

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


STAGING: Final = "_staging"

_FOLDER_FILE: Final = re.compile(r"(part-\d{5,}-[0-9a-f]{16}\.[a-z0-9.]{1,16}|_pages/[0-9a-f]{16}\.ndjson\.gz)")

_DIGEST_FILE: Final = re.compile(r"[0-9a-f]{16}\.ndjson\.gz")


@dataclass(frozen=True, slots=True)
class Layout:
    """The names of a folder target, or of the one file ``name`` and what stands beside it."""

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
        """The name of the accounting of all pages."""
        return f"{self._pages_folder}{digest}.ndjson.gz"

    def owns(self, name: str) -> bool:
        """Say whether a file may be deleted: its name is one of ours, and never the one file itself."""
        if self.name is None:
            return bool(_FOLDER_FILE.fullmatch(name))
        folder, slash, base = name.rpartition("/")
        return folder + slash == self._pages_folder and bool(_DIGEST_FILE.fullmatch(base))

    def folders(self) -> tuple[str, ...]:
        """The folders of the target in which files of ours are written."""
        return "", self._pages_folder

    @property
    def _pages_folder(self) -> str:
        return "_pages/" if self.name is None else f"_{self.name}.pages/"


IfExists: TypeAlias = Literal["replace", "fail", "skip"]

_LISTED_NAMES: Final = 3


@dataclass(frozen=True, slots=True)
class TargetSite:
    """A target with its options; ``stagings`` holds one folder for each run key.

    ``part_bytes`` is ``None`` for a one-file target, ``stagings_inside`` says that ``stagings`` belongs to the target.
    """

    target: Storage
    stagings: Storage
    stagings_inside: bool
    layout: Layout
    file_format: FileFormat
    part_bytes: int | None
    if_exists: IfExists

    def inspect(self, run: Run) -> Manifest | None:
        """Return the manifest that makes a run unnecessary (``if_exists="skip"``), if there is one.

        Raises ``TargetError`` where the run must not publish here.
        """
        manifest = load(self.target, self.layout)
        self._refuse_foreign(manifest)
        if manifest is None:
            return None
        self.admit(manifest, run.owner)
        # A sample, or a result with a waived check, is no reason not to collect.
        whole = manifest.complete and stands(manifest, self.target, self.layout)
        if whole and run.rows.changes is not None and manifest.owner == run.owner:
            whole = self._is_done(manifest, run)
        return manifest if whole and self.if_exists == "skip" else None

    def _is_done(self, manifest: Manifest, run: Run) -> bool:
        """Say whether an incremental run has done its part: it has published, and moved the watermark.

        Raises ``TargetError`` where other runs have gone on since: what it would publish now begins behind it all.
        """
        then, now = (plan.get("incremental", {}).get("after") for plan in (manifest.plan, run.plan))
        gone_on = then is not None and now is not None and then < now
        if gone_on and self.if_exists != "skip":
            raise TargetError(
                f"{self.target.identity} has what this run published, up to {manifest.watermark!r}, and later runs have"
                " gone on from there: collected again, it would be replaced by less. It stays as it is; to collect it"
                " all again, set the watermark back and start a new run"
            )
        return gone_on or (then == now and run.rows.changes is not None and run.rows.changes.counted)

    def admit(self, manifest: Manifest, owner: Owner) -> None:
        """Raise ``TargetError`` where ``owner`` must not replace what a manifest lists."""
        held = manifest.owner
        if held == owner:
            return
        if (held.dag, held.task, held.run) == (owner.dag, owner.task, owner.run):
            raise TargetError(
                f"{self.target.identity} was published by map index {held.map_index} of this same run; "
                "put {{ ti.map_index }} into the path of the sink"
            )
        if self.if_exists == "fail" and stands(manifest, self.target, self.layout):
            raise TargetError(
                f"{self.target.identity} was published by run {held.run!r} of {held.dag}.{held.task}, "
                "and if_exists is 'fail'"
            )

    def _refuse_foreign(self, manifest: Manifest | None) -> None:
        if self.layout.name is not None:
            if manifest is None and self.target.size(self.layout.name) is not None:
                raise TargetError(
                    f"{self.target.identity}/{self.layout.name} exists and was not written by this package: "
                    "remove it or choose another path"
                )
            return
        foreign = [name for name in self.target.entries() if not self._is_ours(name, manifest)]
        if foreign:
            more = ", ..." if len(foreign) > _LISTED_NAMES else ""
            raise TargetError(
                f"{self.target.identity} holds what this package did not write"
                f" ({', '.join(foreign[:_LISTED_NAMES])}{more}): remove it or choose another folder"
            )

    def _is_ours(self, name: str, manifest: Manifest | None) -> bool:
        if name in (f"{STAGING}/", "_pages/", self.layout.manifest):
            return True
        listed = manifest is not None and any(file.path == name for file in manifest.files)
        return listed or self.layout.owns(name) or temp_owner(name) is not None
