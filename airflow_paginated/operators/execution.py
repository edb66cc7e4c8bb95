"""One try of the task, from its rendered arguments to the published dataset."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_paginated.collect.collection import Collection, split_credentials
from airflow_paginated.collect.collector import Collector, StopSignal
from airflow_paginated.collect.progress import ProgressSnapshot
from airflow_paginated.collect.watermark import Watermark
from airflow_paginated.core.values import PageRequest
from airflow_paginated.hooks.files import parent_at, resolve
from airflow_paginated.hooks.paginated_api import PaginatedApiHook
from airflow_paginated.operators.errors import airflow_errors, run_deadline, warn_of_local_target
from airflow_paginated.operators.state import watermark_store
from airflow_paginated.pagination.protocols import overlapped
from airflow_paginated.partitions import resolved
from airflow_paginated.sinks.files.file_sink import FileSink
from airflow_paginated.sinks.protocol import Existing, Owner, Run, Sink
from airflow_paginated.sinks.rows import Columns, RowFunctions

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_paginated.operators.paginated_api import PaginatedApiOperator


class Execution:
    """Runs the operator once."""

    def __init__(self, task: PaginatedApiOperator, context: Context, stop: StopSignal) -> None:
        ti: Any = context["ti"]
        self.task = task
        self.context = context
        self.stop = stop
        self.owner = Owner(ti.dag_id, ti.task_id, ti.run_id, -1 if ti.map_index is None else ti.map_index)
        self.hook = PaginatedApiHook(
            task.http_conn_id,
            max_workers=task.max_workers,
            retry=task.retry,
            rate_limit=task.rate_limit,
            timeouts=task.timeouts,
            limits=task.limits,
            completeness=task.completeness,
            response=task.response,
        )

    def run(self) -> Any:
        """Collect, prove and publish."""
        task, hook = self.task, self.hook
        with airflow_errors(resumable=isinstance(task.sink, FileSink), log=task.log):
            deadline = self.stop.deadline = run_deadline(hook.timeouts.run, task.execution_timeout)
            watermark = self._watermark()
            collection = self._collection(watermark)
            run = self._run(collection, watermark)
            opened = self._target().open(run)
            if isinstance(opened, Existing):
                return opened.result
            with closing(opened) as dataset, hook.client(collection, deadline) as client:
                collector = Collector(
                    collection=collection,
                    client=client,
                    dataset=dataset,
                    workers=hook.max_workers,
                    window=hook.window,
                    completeness=hook.completeness,
                    limits=hook.limits,
                    stop=self.stop,
                    report=self._report,
                )
                if watermark is not None:
                    collector.published = watermark.published
                return collector.run()

    def _watermark(self) -> Watermark | None:
        task = self.task
        policy = task.incremental_policy()
        if policy is None:
            return None
        request = [task.endpoint, task.query, task.body, task.partitions]
        store = watermark_store(policy, task.outlets, self.context, self.owner, request, task.log)
        return Watermark(policy, store, self.owner, task.endpoint)

    def _collection(self, watermark: Watermark | None) -> Collection:
        task, hook = self.task, self.hook
        request = PageRequest(task.endpoint, task.method, task.query or {}, task.headers or {}, task.body)
        collection = Collection(
            request=request if watermark is None else watermark.build_request(request),
            pagination=overlapped(task.pagination, hook.completeness.overlap),
            data_selector=task.data_selector,
            partitions=resolved(task.partitions, parent_at),
            sample_pages=hook.limits.sample_pages,
            response=hook.response.described(),
        )
        return split_credentials(collection, hook.settings.secrets)

    def _run(self, collection: Collection, watermark: Watermark | None) -> Run:
        task, hook = self.task, self.hook
        plan = collection.plan(hook.settings.endpoint.base_url, task.http_conn_id)
        columns = None
        if task.add_columns is not None:
            if collection.partitions is None or collection.parameter_names:
                task.add_columns.check(collection.parameter_names)
            columns = Columns(task.add_columns, collection.parameter_sets)
        return Run(
            owner=self.owner,
            plan=plan if watermark is None else plan | watermark.plan,
            base=collection.request,
            rows=RowFunctions(
                task.row_filter,
                task.row_map,
                changes=None if watermark is None else watermark.changes,
                add=columns,
            ),
            resume_max_age=hook.limits.resume_max_age,
            xcom_bytes=hook.limits.xcom_bytes,
            check_cancelled=self.stop.check,
            credentials_fingerprint=collection.credentials_fingerprint,
        )

    def _target(self) -> Sink:
        sink: Sink | FileSink = self.task.sink
        if not isinstance(sink, FileSink):
            return sink
        warn_of_local_target(sink.path, self.task.log)
        return sink.resolved(resolve)

    def _report(self, snapshot: ProgressSnapshot) -> None:
        # Called every few seconds in the main thread, which masks the secrets that other threads have learned.
        self.hook.masks.catch_up()
        self.task.log.info("%s", snapshot)
