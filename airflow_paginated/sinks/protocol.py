"""The protocols of sinks and datasets; implementations need not inherit from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any, Protocol

from airflow_paginated.core.values import CollectionReport, Json, PageRecord, PageRequest
from airflow_paginated.sinks.rows import RowFunctions


@dataclass(frozen=True, slots=True)
class Owner:
    """The task that collects, in one run of a DAG."""

    dag: str
    task: str
    run: str
    map_index: int = -1


@dataclass(frozen=True, slots=True)
class Run:
    """What a sink needs to know about the run it stores.

    ``plan`` describes what is collected, without secrets; ``credentials_fingerprint`` is a digest of the credentials it
    leaves out. A change in either makes a different collection. ``base`` is the request that all pages share: stored
    pages record only how they differ from it. ``rows`` are applied when the rows are published. ``check_cancelled`` is
    called before each step of publishing, up to the commit, and raises ``Cancelled`` or ``RunTimeout`` to end the run.
    """

    owner: Owner
    plan: Mapping[str, Json]
    base: PageRequest = field(default_factory=lambda: PageRequest(path=""))
    resume_max_age: float = 24 * 3600.0
    xcom_bytes: int = 1024 * 1024
    check_cancelled: Callable[[], None] = lambda: None
    rows: RowFunctions = field(default_factory=RowFunctions)
    credentials_fingerprint: str = ""

    @property
    def fingerprint(self) -> str:
        """A digest of the plan and of what it leaves out, in hex."""
        return sha256(
            f"{json.dumps(self.plan, sort_keys=True, default=str)}{self.credentials_fingerprint}".encode()
        ).hexdigest()

    @property
    def key(self) -> str:
        """The name of this collection's staging folder: 16 hex digits that depend on owner and plan."""
        text = json.dumps([asdict(self.owner), self.fingerprint], sort_keys=True)
        return sha256(text.encode()).hexdigest()[:16]


class Dataset(Protocol):
    """An open sink: it stores pages, then publishes them in one step. Used by one thread.

    ``keeps`` says whether stored pages survive for the next try.
    """

    keeps: bool

    def unfinished(self) -> Iterator[PageRecord]:
        """Yield the newest stored page of each partition whose end is not stored."""

    def records(self) -> Iterator[PageRecord]:
        """Yield every stored page, sorted by partition and index."""

    def lines(self, record: PageRecord) -> bytes:
        """Return the rows of a stored page, as JSON Lines."""

    def last(self, partition: tuple[int, ...]) -> PageRecord | None:
        """Return the newest stored page of a partition."""

    def store_page(self, record: PageRecord, lines: bytes) -> None:
        """Store a page, replacing a stored page with the same partition and index."""

    def restart(self, partition: tuple[int, ...]) -> None:
        """Forget the stored pages of a partition."""

    def publish(self, report: CollectionReport) -> Any:
        """Make all stored rows visible at once and return what the task returns."""

    def discard(self) -> None:
        """Forget everything stored, so that the next try starts from scratch."""

    def close(self) -> None:
        """Store what is still in memory and release all resources; nothing becomes visible."""


@dataclass(frozen=True, slots=True)
class Existing:
    """A published dataset that makes collecting unnecessary; the task returns ``result``."""

    result: Any


class Sink(Protocol):
    """A destination for rows, as the user configures it."""

    def open(self, run: Run) -> Dataset | Existing:
        """Start or resume the collection of ``run``, or return the existing dataset if there is nothing to do.

        Raises ``TargetError`` if publishing would replace data that it must not replace.
        """
