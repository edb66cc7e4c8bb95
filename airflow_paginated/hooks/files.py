"""File systems: the only module that gets them from Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import ObjectStoragePath
from fsspec.implementations.local import LocalFileSystem

from airflow_paginated.sinks.files.published import Published, published

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


def resolve(path: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of a path or URL, with its connection's credentials, and the path on it."""
    if "://" not in path:
        # Airflow would import the file systems of all providers for the same result.
        return LocalFileSystem(), path
    target = ObjectStoragePath(path)
    return target.fs, target.path


def parent_at(path: str) -> Published:
    """Return the dataset of the manifest at a path or URL, for ``RowsOf``."""
    return published(path, resolve)
