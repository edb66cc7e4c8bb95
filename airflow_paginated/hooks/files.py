"""Where files lie: the one place that asks Airflow for file systems."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import ObjectStoragePath
from fsspec.implementations.local import LocalFileSystem

from airflow_paginated.sinks.files.published import Published, published

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


def resolve(path: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of a path or URL, with the credentials of the connection it names, and the path in it."""
    if "://" not in path:
        # Airflow would import the file systems of all providers to say as much.
        return LocalFileSystem(), path
    target = ObjectStoragePath(path)
    return target.fs, target.path


def parent_at(path: str) -> Published:
    """Return the dataset whose manifest lies at a path or URL, for ``RowsOf``."""
    return published(path, resolve)
