"""One collection, run as a task runs it, but without Airflow."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from airflow_paginated import Completeness, Incremental, PageNumber, PageRequest
from airflow_paginated.collect.collection import Collection
from airflow_paginated.collect.collector import Collector, StopSignal
from airflow_paginated.collect.scheduler import Window
from airflow_paginated.collect.watermark import FolderStore, Watermark
from airflow_paginated.core.deadline import Deadline
from airflow_paginated.core.policies import Limits
from airflow_paginated.pagination.protocols import Pagination, overlapped
from airflow_paginated.partitions.__init__ import resolved
from airflow_paginated.sinks import AddColumns, FileSink
from airflow_paginated.sinks.files.file_sink import Location, Resolve, local_or_fsspec
from airflow_paginated.sinks.files.published import published
from airflow_paginated.sinks.protocol import Existing, Owner, Run
from airflow_paginated.sinks.rows import Columns, RowFunctions
from airflow_paginated.transport import ClientOptions, Endpoint, PageClient, RequestRetry
from tests.collect.disk import folder_of
from tests.sinks.s3_client import filesystem_at

BY_ITEMS = PageNumber(total_path="meta.total")

# Faults shall cost little time: what is tested here is not how long a backoff is.
RETRY = RequestRetry(backoff_factor=0.02)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a task is configured with; it can be sent to another process."""

    url: str
    path: str
    pagination: Pagination = BY_ITEMS
    partitions: Any = None
    workers: int = 8
    run: str = "run-1"
    resume_max_age: float = 24 * 3600.0
    sink: Mapping[str, Any] = field(default_factory=dict)
    completeness: Completeness = field(default_factory=Completeness)
    request: PageRequest = field(default_factory=lambda: PageRequest("/employees"))
    rows: RowFunctions = field(default_factory=RowFunctions)
    add_columns: AddColumns | None = None
    data_selector: str | None = "data"
    limits: Limits = field(default_factory=Limits)
    store: str = ""
    """The URL of an S3 server, for a path that begins with ``s3://``."""
    client: Mapping[str, Any] = field(default_factory=dict)
    """More for the client: ``retry``, ``rules`` and so on; ``headers`` and ``auth`` are the endpoint's."""
    incremental: Incremental | None = None

    @property
    def collection(self) -> Collection:
        return Collection(
            request=self.request,
            pagination=overlapped(self.pagination, self.completeness.overlap),
            data_selector=self.data_selector,
            partitions=resolved(self.partitions, lambda path: published(path, self.resolve)),
            sample_pages=self.limits.sample_pages,
        )

    @property
    def options(self) -> ClientOptions:
        """What the client is made of."""
        given = dict(self.client)
        endpoint = Endpoint(self.url, given.pop("headers", {}), given.pop("auth", None))
        known = {"endpoint": endpoint, "data_selector": self.data_selector, "workers": self.workers}
        return ClientOptions(**{"retry": RETRY, "limits": self.limits, "shown": {"page"}, **known, **given})

    @property
    def watermark(self) -> Watermark | None:
        """What an incremental run begins with, read at this moment."""
        if self.incremental is None:
            return None
        fs, root = local_or_fsspec(str(self.incremental.state_path))
        store = FolderStore(Location(fs, root).storage(f"{'0' * 16}-{os.urandom(4).hex()}"))
        return Watermark(self.incremental, store, self.identity.owner, self.request.path)

    @property
    def resolve(self) -> Resolve:
        """How a path becomes a file system."""
        if not self.store:
            return local_or_fsspec
        return lambda path: (filesystem_at(self.store), path.removeprefix("s3://"))

    @property
    def staging(self) -> Path:
        """Where pages lie until they are published."""
        return folder_of(self.path) / "_staging" / self.identity.key

    @property
    def identity(self) -> Run:
        collection = self.collection
        plan = collection.plan(self.url, "hr_api")
        owner = Owner("dag", "collect", self.run)
        add = None if self.add_columns is None else Columns(self.add_columns, collection.parameter_sets)
        rows = replace(self.rows, add=add)
        return Run(owner, plan, collection.request, resume_max_age=self.resume_max_age, rows=rows)


def collect(
    job: Job, stop: StopSignal | None = None, check_cancelled: Callable[[], None] | None = None
) -> dict[str, Any]:
    """Collect and publish; ``check_cancelled`` runs before each step of publishing, after ``stop``'s own check."""
    stop = stop or StopSignal()

    def go_on() -> None:
        if check_cancelled is not None:
            check_cancelled()
        stop.check()

    options = replace(job.options, deadline=Deadline.of(job.options.timeouts.run))
    stop.deadline = options.deadline
    sink = FileSink(job.path, **job.sink).resolved(job.resolve)
    watermark, known = job.watermark, {}
    if watermark is not None:
        job = replace(job, request=watermark.build_request(job.request))
        known = {
            "plan": {**job.identity.plan, **watermark.plan},
            "rows": replace(job.identity.rows, changes=watermark.changes),
        }
    run = replace(job.identity, check_cancelled=go_on, **known)
    opened = sink.open(run)
    if isinstance(opened, Existing):
        kept: dict[str, Any] = opened.result
        return kept
    with closing(opened) as dataset, PageClient(options) as client:
        result: dict[str, Any] = Collector(
            collection=job.collection,
            client=client,
            dataset=dataset,
            workers=job.workers,
            window=Window(4 * job.workers),
            completeness=job.completeness,
            limits=job.limits,
            stop=stop,
            **({} if watermark is None else {"published": watermark.published}),
        ).run()
        return result
