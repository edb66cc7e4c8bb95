"""The sink for files, as the user configures it, and with its path rendered."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.policies import MIB
from airflow_paginated.core.validation import check_choice, check_number
from airflow_paginated.sinks.files.formats import FileFormat, Formulas, canonical, format_in, format_named
from airflow_paginated.sinks.files.layout import STAGING, Layout, check_rendered, path_text, split_file
from airflow_paginated.sinks.protocol import Dataset, Existing, Run, Sink

if TYPE_CHECKING:
    from airflow_paginated.sinks.files.site import IfExists
    from airflow_paginated.sinks.files.storage import Storage

Resolve: TypeAlias = Callable[[str], tuple[AbstractFileSystem, str]]
"""Returns the filesystem of a path, and the path in that filesystem's notation."""


class FileSink:
    """Files at ``path``: one file if the path ends with a format's suffix, otherwise a folder of parts.

    A trailing slash always means a folder. ``file_format`` is ``jsonl`` (``ndjson``) or ``csv``, each optionally with
    ``.gz``; it defaults to the path's suffix, else to ``jsonl``. ``csv_formulas="escape"`` puts an apostrophe before
    strings that a spreadsheet would read as formulas, ``keep`` leaves strings as they were sent. ``if_exists`` decides
    about an earlier run's dataset: ``replace`` it, ``fail`` before the first request, or, if it is complete, ``skip``
    the run and return it. ``staging`` is the folder for unpublished pages, by default ``_staging`` beside the data. A
    part has at most ``part_bytes`` of rows, but at least one page.

    Example::

        FileSink("s3://lake/employees/{{ run_id }}/", file_format="jsonl.gz")
    """

    template_fields: ClassVar[tuple[str, ...]] = ("path", "staging")
    template_ext: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        file_format: str | None = None,
        csv_formulas: Formulas = "keep",
        if_exists: IfExists = "replace",
        staging: str | os.PathLike[str] | None = None,
        part_bytes: int = 256 * MIB,
    ) -> None:
        self.path = path_text(path, "path")
        self.staging = None if staging is None else path_text(staging, "staging")
        self.file_format = file_format
        self.csv_formulas = csv_formulas
        self.if_exists = if_exists
        self.part_bytes = part_bytes
        # Airflow renders path and staging in place; the originals limit where the templates may lead.
        self._written = (self.path, self.staging)
        check_choice(if_exists, ("replace", "fail", "skip"), "sink: if_exists")
        check_number(part_bytes, "sink: part_bytes", least=1, whole=True)
        self._format()

    def resolved(self, resolve: Resolve) -> Sink:
        """Return the sink with its filesystems; the path must already be rendered.

        Raises ``ConfigurationError`` if it is not, or if its templates lead out of its folder.
        """
        path = path_text(self.path, "path")
        check_rendered(path, self._written[0], "sink: path")
        file_format, one_file = self._format()
        folder, name = split_file(path) if one_file else (path, None)
        staging = None
        if self.staging is not None:
            staging = path_text(self.staging, "staging")
            check_rendered(staging, self._written[1] or staging, "sink: staging")
        return FileTarget(
            path=path,
            place=Location.of(resolve, path, one_file),
            staging=None if staging is None else Location.of(resolve, staging, False),
            layout=Layout(file_format.name, name),
            manifest_path=f"{folder if one_file else path.rstrip('/') + '/'}{Layout(file_format.name, name).manifest}",
            file_format=file_format,
            if_exists=self.if_exists,
            part_bytes=None if one_file else self.part_bytes,
        )

    def _format(self) -> tuple[FileFormat, bool]:
        """Return the format, and whether the path names one file."""
        suffix = None if self.path.endswith("/") else format_in(self.path)
        requested = None if self.file_format is None else canonical(str(self.file_format))
        # "jsonl" does not contradict "jsonl.gz", which is jsonl; the other way round it does.
        if suffix and requested and suffix != requested and suffix.partition(".")[0] != requested:
            raise ConfigurationError(f"sink: path ends like a {suffix} file, but file_format is {self.file_format!r}")
        return format_named(suffix or requested or "jsonl", self.csv_formulas), suffix is not None

    def __repr__(self) -> str:
        return (
            f"FileSink({self.path!r}, file_format={self.file_format!r}, csv_formulas={self.csv_formulas!r}, "
            f"if_exists={self.if_exists!r}, staging={self.staging!r}, part_bytes={self.part_bytes!r})"
        )

    def __eq__(self, other: object) -> bool:
        return repr(self) == repr(other) if isinstance(other, FileSink) else NotImplemented

    # Rendering changes it in place.
    __hash__ = None  # type: ignore[assignment]  # the way to say "unhashable"


@dataclass(frozen=True, slots=True)
class Location:
    """A folder on a filesystem."""

    fs: AbstractFileSystem
    root: str

    @classmethod
    def of(cls, resolve: Resolve, path: str, one_file: bool) -> Location:
        """Return the folder at a path, or the folder of a file."""
        fs, root = resolve(path)
        folder, slash, _ = root.rstrip("/").rpartition("/")
        return cls(fs, (folder or slash or ".") if one_file else root)

    def storage(self, token: str) -> Storage:
        """Return the folder's operations; ``token`` makes temporary names its own."""
        from airflow_paginated.sinks.files.local_storage import LocalStorage
        from airflow_paginated.sinks.files.object_storage import ObjectStorage

        if isinstance(self.fs, LocalFileSystem):
            return LocalStorage(self.root, token)
        return ObjectStorage(self.fs, self.root, token)


@dataclass(frozen=True, slots=True)
class FileTarget:
    """A file sink with its filesystems; implements ``Sink``."""

    path: str
    place: Location
    staging: Location | None
    layout: Layout
    manifest_path: str
    file_format: FileFormat
    if_exists: IfExists
    part_bytes: int | None

    def open(self, run: Run) -> Dataset | Existing:
        """Start or resume the collection of ``run``, unless the target is complete and ``if_exists`` is ``skip``."""
        # What writes files is imported by the task, not by the DAG file.
        from airflow_paginated.sinks.files.dataset import FileDataset
        from airflow_paginated.sinks.files.site import TargetSite

        token = f"{run.key}-{os.urandom(4).hex()}"
        target = self.place.storage(token)
        site = TargetSite(
            target=target,
            stagings=target.sub(STAGING) if self.staging is None else self.staging.storage(token),
            stagings_inside=self.staging is None,
            layout=self.layout,
            file_format=self.file_format,
            part_bytes=self.part_bytes,
            if_exists=self.if_exists,
        )
        done = site.inspect(run)
        if done is not None:
            return Existing(done.summary(self.path, self.manifest_path))
        return FileDataset(site, run, self.path, self.manifest_path)


def local_or_fsspec(path: str) -> tuple[AbstractFileSystem, str]:
    """Resolve a path as fsspec does: by its protocol, a local one without any."""
    fs, root = url_to_fs(path)
    return fs, root
