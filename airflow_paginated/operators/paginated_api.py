"""The operator: every row of a paginated API, in XCom or in files, complete or not there at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, XComArg

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.paths import check_path
from airflow_paginated.core.policies import (
    Completeness,
    Incremental,
    combined_limits,
    combined_timeouts,
    incremental_from,
)
from airflow_paginated.core.validation import check_number, override
from airflow_paginated.core.values import Json
from airflow_paginated.hooks import DEFAULT_CONN_ID
from airflow_paginated.hooks.compat import HAS_ASSET_STATE
from airflow_paginated.pagination import pagination_from
from airflow_paginated.pagination.protocols import Pagination, overlapped
from airflow_paginated.partitions import partitions_from, templates_in
from airflow_paginated.sinks.choice import sink_from
from airflow_paginated.sinks.files.layout import check_rendered
from airflow_paginated.sinks.rows import AddColumns, RowFunctions, columns_from
from airflow_paginated.sinks.xcom import XComSink
from airflow_paginated.transport.retry import combined_rate_limit, combined_retry
from airflow_paginated.transport.rules import combined_response

if TYPE_CHECKING:
    from airflow.sdk import Context
    from urllib3.util import Retry

    from airflow_paginated.collect.collector import StopSignal
    from airflow_paginated.core.policies import Limits, Timeouts
    from airflow_paginated.partitions.protocol import Partitions, UnresolvedPartitions
    from airflow_paginated.sinks.files.file_sink import FileSink
    from airflow_paginated.sinks.protocol import Sink
    from airflow_paginated.transport.retry import RateLimit, RequestRetry
    from airflow_paginated.transport.rules import ResponseRules

STATE_REQUIRED = "give the task an outlet asset (Airflow 3.3), or a state_path"


class PaginatedApiOperator(BaseOperator):
    """Collects every row of a paginated API with several workers, and publishes them at once when they are complete.

    A retry resumes where the last try stopped. Every templated argument but ``sink`` also takes the output of a task.

    :param endpoint: path below the connection's base URL. Templated.
    :param pagination: a strategy, or a dict ``{"type": "page_number", ...}``.
    :param sink: ``"xcom"``, a path, or a sink such as ``FileSink(...)``. Its path is templated.
    :param http_conn_id: a ``paginated_api`` or a plain ``http`` connection. Templated.
    :param method: the HTTP method.
    :param query: query parameters. Templated.
    :param headers: headers in addition to the connection's. Templated; secrets belong on the connection.
    :param body: a JSON body. Templated.
    :param data_selector: path to the rows, ``[*]`` allowed; ``None`` when the body is the list. Templated.
    :param partitions: parameter sets, each collected from its first page to its last: a list of dicts, ``RowsOf`` an
        earlier collection, or ``DateWindows``; or the dict form of one. Templated.
    :param add_columns: columns that record where a row comes from, as ``{"order_id": "partition.order_id", "_page":
        "page", "_fetched_at": "fetched_at"}``, or an ``AddColumns``; the next two see them.
    :param row_filter: a function that takes a decoded row and returns whether to publish it.
    :param row_map: a function that takes a decoded row and returns what to publish instead. Both get numbers with a
        fraction as ``decimal.Decimal``, and run after all rows have been fetched and counted.
    :param incremental: an ``Incremental`` or a dict: collect what has changed since the last run. Templated.
    :param max_workers: maximum number of threads, sessions and connections.
    :param retry: a ``RequestRetry`` or a dict; overrides the connection's.
    :param rate_limit: a ``RateLimit`` or a dict; can only tighten the connection's.
    :param completeness: a ``Completeness`` or a dict; overrides the connection's.
    :param timeouts: a ``Timeouts`` or a dict; overrides the connection's, ``run`` can only be tightened.
    :param limits: a ``Limits`` or a dict; can only tighten the connection's.
    :param response: a ``ResponseRules`` or a dict; overrides the connection's: the format of responses, where they
        carry errors, what their statuses mean.

    Returns the rows with ``sink="xcom"``; with files a dict of ``path, manifest, files, rows, pages, bytes, requests,
    retries, throttled_seconds, seconds, stop_reason, watermark, resumed_pages``. Invalid arguments raise
    ``ConfigurationError`` when the DAG is parsed; arguments that contain templates, when the task starts.
    """

    template_fields: Sequence[str] = (
        "endpoint",
        "http_conn_id",
        "query",
        "headers",
        "body",
        "data_selector",
        "partitions",
        "incremental",
        "sink",
    )
    template_fields_renderers = {  # noqa: RUF012 - Airflow declares it as an instance attribute
        "query": "json",
        "headers": "json",
        "body": "json",
        "partitions": "json",
        "incremental": "json",
    }

    def __init__(
        self,
        *,
        endpoint: str | XComArg,
        pagination: Pagination | Mapping[str, Any],
        sink: str | os.PathLike[str] | FileSink | Sink,
        http_conn_id: str | XComArg = DEFAULT_CONN_ID,
        method: str = "GET",
        query: Mapping[str, Json] | XComArg | None = None,
        headers: Mapping[str, str] | XComArg | None = None,
        body: Json = None,
        data_selector: str | XComArg | None = None,
        partitions: Sequence[Mapping[str, Json]]
        | Mapping[str, Any]
        | UnresolvedPartitions
        | Partitions
        | XComArg
        | str
        | None = None,
        add_columns: AddColumns | Mapping[str, Any] | None = None,
        row_filter: Callable[[Any], object] | None = None,
        row_map: Callable[[Any], Json] | None = None,
        incremental: Incremental | Mapping[str, Any] | XComArg | None = None,
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
        # Rendering replaces templates and outputs of tasks in these.
        self.endpoint: Any = endpoint
        self.http_conn_id: Any = http_conn_id
        self.query: Any = query
        self.headers: Any = headers
        self.body = body
        self.data_selector: Any = data_selector
        # Rendering writes into it; mapped tasks, which share the arguments, must each have their own.
        self.partitions = partitions_from(partitions)
        # Airflow looks for outputs of tasks in lists and dicts only.
        XComArg.apply_upstream_relationship(self, templates_in(self.partitions))
        # As a dict, which Airflow can render; a frozen value again once the task runs.
        self.incremental: Any = _fields_of(incremental) if isinstance(incremental, Incremental) else incremental
        # Rendering writes into this, too.
        self.sink = copy(sink_from(sink))
        self.pagination = pagination_from(pagination)
        self.method = method.upper()
        self.add_columns = columns_from(add_columns)
        self.row_filter = row_filter
        self.row_map = row_map
        self.max_workers = max_workers
        self.retry = retry
        self.rate_limit = rate_limit
        self.completeness = completeness
        self.timeouts = timeouts
        self.limits = limits
        self.response = response
        # Limits where the templates in it may lead.
        self._state_path = self.incremental.get("state_path") if isinstance(self.incremental, Mapping) else None
        self._stop: StopSignal | None = None
        self._check()

    def execute(self, context: Context) -> Any:
        """Collect, prove and publish. Raises ``AirflowFailException`` for errors that a retry cannot fix."""
        # These import requests, which a DAG file does not need.
        from airflow_paginated.collect.collector import StopSignal
        from airflow_paginated.operators.execution import Execution

        self._stop = StopSignal()
        return Execution(self, context, self._stop).run()

    def on_kill(self) -> None:
        """Stop; ``execute`` then raises and publishes nothing."""
        if self._stop is not None:
            self._stop.request()

    def incremental_policy(self) -> Incremental | None:
        """Return ``incremental`` as a value. Raises ``ConfigurationError`` if the watermark has no reliable place."""
        policy = incremental_from(self.incremental)
        if policy is None:
            return None
        if isinstance(self.sink, XComSink):
            raise ConfigurationError(
                "incremental: Airflow stores an XCom after the task has ended, too late for the watermark to rely on:"
                ' write files, with sink=FileSink("...")'
            )
        if policy.state_path is None and not (self.outlets and HAS_ASSET_STATE):
            raise ConfigurationError(f"incremental: the watermark needs a place: {STATE_REQUIRED}")
        if policy.state_path is not None:
            check_rendered(policy.state_path, self._state_path or policy.state_path, "incremental: state_path")
        return policy

    def _check(self) -> None:
        """Raise at parse time for what is invalid with any connection; what contains templates is checked later."""
        check_number(self.max_workers, "max_workers", least=1, whole=True)
        RowFunctions(self.row_filter, self.row_map)
        combined_retry(None, self.retry)
        combined_rate_limit(None, self.rate_limit)
        combined_timeouts(None, self.timeouts)
        combined_limits(None, self.limits)
        overlapped(self.pagination, override(Completeness(), self.completeness, "completeness").overlap)
        rules = combined_response(None, self.response)
        if not _has_template(self.data_selector):
            check_path(self.data_selector, "data_selector", optional=True)
            rules.check_selector(self.data_selector)
        if not _has_template(self.incremental):
            self.incremental_policy()


def _fields_of(policy: Incremental) -> dict[str, Any]:
    return {each.name: getattr(policy, each.name) for each in fields(policy)}


def _has_template(value: object) -> bool:
    if isinstance(value, str):
        return any(mark in value for mark in ("{{", "{%", "{#"))
    if isinstance(value, Mapping):
        return any(_has_template(each) for each in value.values())
    return hasattr(value, "iter_references")  # outputs of tasks, and DAG parameters
