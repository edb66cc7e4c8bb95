from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from airflow_paginated.sinks import FileSink
from airflow_paginated.sinks.files.local_storage import LocalStorage
from airflow_paginated.sinks.files.object_storage import ObjectStorage
from airflow_paginated.sinks.files.storage import Storage
from airflow_paginated.sinks.protocol import Dataset, Existing, Run
from tests.sinks.pages import run_of
from tests.sinks.s3_server import S3Server, serving

TOKEN = "0123456789abcdef-01234567"


@dataclass(frozen=True)
class Lake:
    """A place of its own on one kind of filesystem."""

    fs: AbstractFileSystem
    root: str
    kind: str

    def open(self, path: str = "out/", run: Run | None = None, **options: Any) -> Dataset:
        """Open a sink at ``path`` below the root, where there is something to collect."""
        opened = self._opened(path, run, options)
        assert not isinstance(opened, Existing)
        return opened

    def existing(self, path: str = "out/", run: Run | None = None) -> Any:
        """Return the result of a task that collects only what is not there yet."""
        opened = self._opened(path, run, {"if_exists": "skip"})
        assert isinstance(opened, Existing)
        return opened.result

    def _opened(self, path: str, run: Run | None, options: dict[str, Any]) -> Dataset | Existing:
        options = {key: f"{self.root}/{value}" if key == "staging" else value for key, value in options.items()}
        sink = FileSink(f"{self.root}/{path}", **options)
        return sink.resolved(lambda given: (self.fs, given.rstrip("/"))).open(run or run_of())

    def storage(self, folder: str = "out") -> Storage:
        if isinstance(self.fs, LocalFileSystem):
            return LocalStorage(f"{self.root}/{folder}", TOKEN)
        return ObjectStorage(self.fs, f"{self.root}/{folder}", TOKEN)

    def files(self, folder: str = "out") -> dict[str, bytes]:
        """Return all files below a folder with their bytes."""
        self.fs.invalidate_cache()
        found = self.fs.find(f"{self.root}/{folder}") if self.fs.exists(f"{self.root}/{folder}") else []
        return {name.removeprefix(f"{self.root}/{folder}").strip("/"): self.fs.cat_file(name) for name in found}

    def write(self, name: str, data: bytes) -> None:
        self.fs.makedirs(f"{self.root}/{name}".rpartition("/")[0], exist_ok=True)
        self.fs.pipe_file(f"{self.root}/{name}", data)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    with serving("lake") as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server) -> Iterator[S3Server]:
    s3_server.answered_500 = 0
    yield s3_server
    s3_server.faults.clear()


@pytest.fixture
def local(tmp_path: Path) -> Lake:
    return Lake(LocalFileSystem(), str(tmp_path), "local")


@pytest.fixture
def memory() -> Lake:
    return Lake(MemoryFileSystem(), f"/lake-{uuid4().hex}", "memory")


@pytest.fixture
def store(s3: S3Server) -> Lake:
    return Lake(s3.filesystem(), f"lake/{uuid4().hex}", "s3")


@pytest.fixture(params=["local", "memory"])
def near(request: pytest.FixtureRequest) -> Lake:
    """A lake of both implementations of a storage, without the time that a server takes."""
    found: Lake = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["local", "memory", "store"])
def lake(request: pytest.FixtureRequest) -> Lake:
    found: Lake = request.getfixturevalue(request.param)
    return found
