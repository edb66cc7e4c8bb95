"""The operator: every row of a paginated API, in XCom or in files, complete or not there at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from copy import copy
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, XComArg

from airflow_paginated.collect.collection import Collection, split_credentials
from airflow_paginated.collect.collector import Collector, StopSignal
from airflow_paginated.collect.progress import ProgressSnapshot
from airflow_paginated.collect.watermark import Watermark
from airflow_paginated.core.paths import check_path
from airflow_paginated.core.policies import (
    Completeness,
    Incremental,
    combined_limits,
    combined_timeouts,
    incremental_from,
)
from airflow_paginated.core.validation import check_number, override
from airflow_paginated.core.values import Json, PageRequest
from airflow_paginated.hooks.files import parent_at, resolve
from airflow_paginated.hooks.paginated_api import PaginatedApiHook
from airflow_paginated.operators.errors import airflow_errors, run_deadline, warn_of_local_target
from airflow_paginated.operators.state import check_possible, store_of
from airflow_paginated.pagination import pagination_from
from airflow_paginated.pagination.protocols import overlapped
from airflow_paginated.partitions import partitions_from, resolved, templates_in
from airflow_paginated.sinks import FileSink, sink_from
from airflow_paginated.sinks.protocol import Existing, Owner, Run, Sink
from airflow_paginated.sinks.rows import AddColumns, Columns, RowFunctions, columns_from
from airflow_paginated.transport.retry import combined_rate_limit, combined_retry
from airflow_paginated.transport.rules import combined_response

if TYPE_CHECKING:
    from airflow.sdk import Context
    from urllib3.util import Retry

    from airflow_paginated.core.policies import Limits, Timeouts
    from airflow_paginated.transport import RateLimit, RequestRetry, ResponseRules


class PaginatedApiOperator(BaseOperator):
    """Collects every row of a paginated API, fast, and publishes them at once when they are proved complete.

    A retried task goes on where the last try stopped.

    :param endpoint: path below the connection's base URL. Templated.
    :param pagination: a strategy, or a dict ``{"type": "page_number", ...}``.
    :param http_conn_id: a ``paginated_api`` or a plain ``http`` connection.
    :param method: the HTTP method.
    :param query: query parameters. Templated.
    :param headers: headers beside the connection's. Templated; secrets belong on the connection.
    :param body: a JSON body. Templated.
    :param data_selector: path to the rows, ``[*]`` allowed; ``None`` when the body is the list.
    :param partitions: parameter sets, each collected from its first page to its last: a list of dicts, ``RowsOf`` an
        earlier collection, or ``DateWindows``; or the dict of one. Templated.
    :param add_columns: columns that tell where a row comes from, as ``{"order_id": "partition.order_id", "_page":
        "page", "_fetched_at": "fetched_at"}``, or an ``AddColumns``; the next two see them.
    :param row_filter: a function of a decoded row that says whether it is published.
    :param row_map: a function of a decoded row that returns what is published in its place. Both see numbers with a
        fraction as ``decimal.Decimal``, and run when all rows are there and counted.
    :param incremental: an ``Incremental`` or a dict: collect what has changed since the last run.
    :param sink: ``"xcom"``, a path, or a sink such as ``FileSink(...)``. Its path is templated.
    :param max_workers: threads, sessions and connections, at most.
    :param retry: a ``RequestRetry`` or a dict, over the connection's.
    :param rate_limit: a ``RateLimit`` or a dict; only tighter than the connection's.
    :param completeness: a ``Completeness`` or a dict, over the connection's.
    :param timeouts: a ``Timeouts`` or a dict, over the connection's; ``run`` only tighter.
    :param limits: a ``Limits`` or a dict; only tighter than the connection's.
    :param response: a ``ResponseRules`` or a dict, over the connection's: the format of the answers, where they say
        errors, what their statuses mean.

    Returns the rows with ``sink="xcom"``; with files a dict of ``path, manifest, files, rows, pages, bytes, requests,
    retries, throttled_seconds, seconds, stop_reason, watermark, resumed_pages``. Wrong arguments raise
    ``ConfigurationError`` when the DAG is parsed, or when the task starts where they are templated.
    """

    template_fields: Sequence[str] = ("endpoint", "query", "headers", "body", "partitions", "sink")
    template_fields_renderers = {  # noqa: RUF012 - Airflow declares it as an instance attribute
        "query": "json",
        "headers": "json",
        "body": "json",
        "partitions": "json",
    }

    def __init__(
        self,
        *,
        endpoint: str,
        pagination: Any,
        http_conn_id: str = PaginatedApiHook.default_conn_name,
        method: str = "GET",
        query: Mapping[str, Json] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Json = None,
        data_selector: str | None = None,
        partitions: Any = None,
        add_columns: AddColumns | Mapping[str, Any] | None = None,
        row_filter: Callable[[Any], object] | None = None,
        row_map: Callable[[Any], Json] | None = None,
        incremental: Incremental | Mapping[str, Any] | None = None,
        sink: Any = "xcom",
        max_workers: int = 8,
        retry: RequestRetry | Retry | Mapping[str, Any] | None = None,
        rate_limit: RateLimit | Mapping[str, Any] | None = None,
        completeness: Completeness | Mapping[str, Any] | None = None,
        timeouts: Timeouts | Mapping[str, Any] | None = None,
        limits: Limits | Mapping[str, Any] | None = None,
        response: ResponseRules | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.endpoint = endpoint
        self.pagination = pagination_from(pagination)
        self.http_conn_id = http_conn_id
        self.method = method.upper()
        self.query = query
        self.headers = headers
        self.body = body
        self.data_selector = data_selector
        # Rendering writes into it; mapped tasks, which share the arguments, must each have their own.
        self.partitions = partitions_from(partitions)
        # Airflow looks for outputs of tasks in lists and dicts only.
        XComArg.apply_upstream_relationship(self, templates_in(self.partitions))
        self.add_columns = columns_from(add_columns)
        self.row_filter = row_filter
        self.row_map = row_map
        self.incremental = incremental_from(incremental)
        # Rendering writes into this, too.
        self.sink = copy(sink_from(sink))
        self.max_workers = max_workers
        self.retry = retry
        self.rate_limit = rate_limit
        self.completeness = completeness
        self.timeouts = timeouts
        self.limits = limits
        self.response = response
        self._stop: StopSignal | None = None
        self._check()

    def execute(self, context: Context) -> Any:
        """Collect, prove and publish. Raises ``AirflowFailException`` for what a retry cannot mend."""
        self._stop = StopSignal()
        with airflow_errors(resumable=isinstance(self.sink, FileSink), log=self.log):
            hook = self._hook()
            deadline = self._stop.deadline = run_deadline(hook.timeouts.run, self.execution_timeout)
            watermark = self._watermark(context)
            collection = self._collection(hook, watermark)
            run = self._run(collection, hook, context, watermark)
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
                    stop=self._stop,
                    report=lambda standing: self._report(standing, hook),
                )
                if watermark is not None:
                    collector.published = watermark.published
                return collector.run()

    def on_kill(self) -> None:
        """Stop; ``execute`` then raises and publishes nothing."""
        if self._stop is not None:
            self._stop.ask()

    def _check(self) -> None:
        """Refuse at parse time what is wrong whatever the connection says."""
        check_number(self.max_workers, "max_workers", least=1, whole=True)
        check_path(self.data_selector, "data_selector", optional=True)
        RowFunctions(self.row_filter, self.row_map)
        check_possible(self.incremental, self.outlets, self.sink)
        combined_retry(None, self.retry)
        combined_rate_limit(None, self.rate_limit)
        combined_timeouts(None, self.timeouts)
        combined_limits(None, self.limits)
        overlapped(self.pagination, override(Completeness(), self.completeness, "completeness").overlap)
        combined_response(None, self.response).check_selector(self.data_selector)

    def _report(self, standing: ProgressSnapshot, hook: PaginatedApiHook) -> None:
        # Every few seconds, in the main thread: the time to mask what the others have learned.
        hook.masks.catch_up()
        self.log.info("%s", standing)

    def _hook(self) -> PaginatedApiHook:
        return PaginatedApiHook(
            self.http_conn_id,
            max_workers=self.max_workers,
            retry=self.retry,
            rate_limit=self.rate_limit,
            timeouts=self.timeouts,
            limits=self.limits,
            completeness=self.completeness,
            response=self.response,
        )

    def _watermark(self, context: Context) -> Watermark | None:
        if self.incremental is None:
            return None
        asked = [self.endpoint, self.query, self.body, self.partitions]
        store = store_of(self.incremental, self.outlets, context, _owner(context), asked, self.log)
        return Watermark(self.incremental, store, _owner(context), self.endpoint)

    def _collection(self, hook: PaginatedApiHook, watermark: Watermark | None) -> Collection:
        request = PageRequest(self.endpoint, self.method, self.query or {}, self.headers or {}, self.body)
        collection = Collection(
            request=request if watermark is None else watermark.asked(request),
            pagination=overlapped(self.pagination, hook.completeness.overlap),
            data_selector=self.data_selector,
            partitions=resolved(self.partitions, parent_at),
            sample_pages=hook.limits.sample_pages,
            response=hook.response.described(),
        )
        return split_credentials(collection, hook.settings.secrets)

    def _run(
        self, collection: Collection, hook: PaginatedApiHook, context: Context, watermark: Watermark | None
    ) -> Run:
        stop = self._stop or StopSignal()
        plan = collection.plan(hook.settings.endpoint.base_url, self.http_conn_id)
        return Run(
            owner=_owner(context),
            plan=plan if watermark is None else plan | watermark.plan,
            base=collection.request,
            rows=RowFunctions(
                self.row_filter,
                self.row_map,
                changes=None if watermark is None else watermark.changes,
                add=self._columns(collection),
            ),
            resume_max_age=hook.limits.resume_max_age,
            xcom_bytes=hook.limits.xcom_bytes,
            check_cancelled=stop.check,
            credentials_fingerprint=collection.credentials_fingerprint,
        )

    def _columns(self, collection: Collection) -> Columns | None:
        if self.add_columns is None:
            return None
        if collection.partitions is None or collection.parameter_names:
            self.add_columns.check(collection.parameter_names)
        return Columns(self.add_columns, collection.parameter_sets)

    def _target(self) -> Sink:
        sink: Sink | FileSink = self.sink
        if not isinstance(sink, FileSink):
            return sink
        warn_of_local_target(sink.path, self.log)
        return sink.resolved(resolve)


def _owner(context: Context) -> Owner:
    ti: Any = context["ti"]
    return Owner(ti.dag_id, ti.task_id, ti.run_id, -1 if ti.map_index is None else ti.map_index)
