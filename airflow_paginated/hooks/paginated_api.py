"""The hook: turns a connection into sessions, pages and rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from functools import cached_property
from typing import Any

import msgspec
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from airflow_paginated.collect.collection import Collection, shown_of, split_credentials
from airflow_paginated.collect.collector import Collector, StopSignal
from airflow_paginated.collect.scheduler import Window
from airflow_paginated.core.deadline import NEVER, Deadline
from airflow_paginated.core.errors import PaginatedApiError
from airflow_paginated.core.policies import Completeness, Limits, Timeouts, combined_limits, combined_timeouts
from airflow_paginated.core.validation import check_number, override
from airflow_paginated.core.values import Json, Page, PageRequest
from airflow_paginated.hooks import DEFAULT_CONN_ID
from airflow_paginated.hooks.compat import BaseHook, known_vulnerabilities
from airflow_paginated.hooks.connection import ConnectionSettings, read_settings
from airflow_paginated.hooks.files import parent_at
from airflow_paginated.hooks.masking import Masks
from airflow_paginated.pagination import pagination_from, shown_parameters
from airflow_paginated.pagination.protocols import Pagination, overlapped
from airflow_paginated.partitions import Partitions, resolved
from airflow_paginated.partitions.protocol import UnresolvedPartitions
from airflow_paginated.transport import ClientOptions, PageClient, RateLimit, RequestRetry, ResponseRules
from airflow_paginated.transport.auth.bound import BoundAuth, BoundSession
from airflow_paginated.transport.auth.credentials import Credentials
from airflow_paginated.transport.origin import join
from airflow_paginated.transport.response import phrase
from airflow_paginated.transport.retry import combined_rate_limit, combined_retry, retry_after_cap
from airflow_paginated.transport.rules import combined_response

PAGES_PER_WORKER = 4
"""Prefetched pages per worker: with fewer, one page that backs off stalls all workers."""


class PaginatedApiHook(BaseHook):
    """Reads whole tables through a paginated HTTP API.

    :param http_conn_id: a ``paginated_api`` or a plain ``http`` connection.
    :param max_workers: maximum number of threads, sessions and connections.
    :param retry: a ``RequestRetry``, a ``urllib3.util.Retry`` or a dict that overrides the connection's field by field.
    :param rate_limit: a ``RateLimit`` or a dict; it can only tighten the connection's.
    :param timeouts: a ``Timeouts`` or a dict; overrides the connection's, ``run`` can only be tightened.
    :param limits: a ``Limits`` or a dict; can only tighten the connection's.
    :param completeness: a ``Completeness`` or a dict; overrides the connection's.
    :param response: a ``ResponseRules`` or a dict that overrides the connection's field by field.

    Example::

        hook = PaginatedApiHook("hr_api")
        for row in hook.rows("/employees", pagination=PageNumber(total_path="meta.total"), data_selector="data"):
            ...
    """

    conn_name_attr = "http_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = "paginated_api"
    hook_name = "Paginated API"

    def __init__(
        self,
        http_conn_id: str = DEFAULT_CONN_ID,
        *,
        max_workers: int = 8,
        retry: RequestRetry | Retry | Mapping[str, Any] | None = None,
        rate_limit: RateLimit | Mapping[str, Any] | None = None,
        timeouts: Timeouts | Mapping[str, Any] | None = None,
        limits: Limits | Mapping[str, Any] | None = None,
        completeness: Completeness | Mapping[str, Any] | None = None,
        response: ResponseRules | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_number(max_workers, "max_workers", least=1, whole=True)
        self.http_conn_id = http_conn_id
        self.max_workers = max_workers
        self._retry = retry
        self._rate_limit = rate_limit
        self._timeouts = timeouts
        self._limits = limits
        self._completeness = completeness
        self._response = response

    @cached_property
    def settings(self) -> ConnectionSettings:
        """The connection's settings. Read in the main thread: only it may call Airflow."""
        settings = read_settings(self.get_connection(self.http_conn_id))
        self.masks.learn(settings.secrets)
        if advice := "; ".join(known_vulnerabilities()):
            self.log.warning("%s; see SECURITY.md of airflow-provider-paginated-api", advice)
        return settings

    @cached_property
    def masks(self) -> Masks:
        """The secrets to mask in Airflow's logs. Created in the main thread, like the settings."""
        return Masks()

    @cached_property
    def credentials(self) -> Credentials:
        """The credentials that all clients and sessions of this hook share: a token is requested once."""
        return Credentials(self.settings.endpoint.auth)

    @cached_property
    def retry(self) -> RequestRetry:
        """The retry policy: default < connection < argument."""
        return combined_retry(self.settings.policies.get("retry"), self._retry)

    @cached_property
    def timeouts(self) -> Timeouts:
        """The timeouts: default < connection < argument, ``run`` only tighter."""
        return combined_timeouts(self.settings.policies.get("timeouts"), self._timeouts)

    @cached_property
    def limits(self) -> Limits:
        """The limits: default < connection < argument, only tighter."""
        return combined_limits(self.settings.policies.get("limits"), self._limits)

    @cached_property
    def completeness(self) -> Completeness:
        """The completeness policy: default < connection < argument."""
        granted = override(
            Completeness(), self.settings.policies.get("completeness"), "completeness (on the connection)"
        )
        return override(granted, self._completeness, "completeness")

    @cached_property
    def response(self) -> ResponseRules:
        """The rules for reading responses: default < connection < argument."""
        return combined_response(self.settings.policies.get("response"), self._response)

    @property
    def window(self) -> Window:
        """How many pages and bytes may be prefetched."""
        return Window(PAGES_PER_WORKER * self.max_workers, self.limits.buffer_bytes)

    def get_conn(self) -> requests.Session:
        """Return a plain ``requests`` session with the connection's credentials and urllib3's retries.

        For requests other than pages. Of this package's guarantees it keeps one: credentials go to the connection's
        origin only. This requests a token unless the hook has a valid one, and never renews it; raises a
        ``PermanentError`` if the token endpoint refuses, a ``TransientError`` if it fails.
        """
        settings = self.settings
        if retry_after_cap() is None and self.retry.respect_retry_after_header:
            self.log.info(
                "this urllib3 cannot cap Retry-After (2.6.3 can): the session waits as long as the API requests"
            )
        options = ClientOptions(
            endpoint=settings.endpoint,
            session=settings.session,
            retry=self.retry,
            timeouts=self.timeouts,
            limits=self.limits,
            secrets=settings.secrets,
            shared=self.credentials,
            learned=lambda secret: self.masks.learn([secret]),
        )
        session = settings.session.prepared(BoundSession())
        with PageClient(options) as client:
            session.auth = BoundAuth(settings.endpoint, client.authenticated())
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=self.retry.to_urllib3(), pool_maxsize=self.max_workers))
        return session

    def url(self, endpoint: str) -> str:
        """Return the URL of an endpoint below the connection's base URL, for ``get_conn``."""
        return join(self.settings.endpoint.base_url, endpoint)

    def client(self, collection: Collection, deadline: Deadline = NEVER) -> PageClient:
        """Return a client for the pages of a collection; a context manager."""
        return PageClient(
            ClientOptions(
                endpoint=replace(self.settings.endpoint, query=collection.secret_query),
                session=self.settings.session,
                retry=self.retry,
                rate_limit=combined_rate_limit(self.settings.policies.get("rate_limit"), self._rate_limit),
                timeouts=self.timeouts,
                limits=self.limits,
                deadline=deadline,
                data_selector=collection.data_selector,
                rules=self.response,
                workers=self.max_workers,
                shown=shown_parameters(collection.pagination) | shown_of(collection),
                secrets=self.settings.secrets,
                shared=self.credentials,
                learned=lambda secret: self.masks.learn([secret]),
            )
        )

    def pages(
        self,
        endpoint: str,
        *,
        pagination: Pagination | Mapping[str, Any],
        method: str = "GET",
        query: Mapping[str, Json] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Json = None,
        data_selector: str | None = None,
        partitions: Sequence[Mapping[str, Json]] | Mapping[str, Any] | UnresolvedPartitions | Partitions | None = None,
    ) -> Iterator[Page]:
        """Yield the pages of an endpoint as they arrive, in order within their partition.

        Raises when a page fails permanently, and at the end when the pages are not complete: the rows of earlier pages
        are then only part of the table. ``timeouts.run`` starts with the first ``next()``.
        """
        collection = Collection(
            request=PageRequest(endpoint, method.upper(), query or {}, headers or {}, body),
            pagination=overlapped(pagination_from(pagination), self.completeness.overlap),
            data_selector=data_selector,
            partitions=resolved(partitions, parent_at),
            sample_pages=self.limits.sample_pages,
            response=self.response.described(),
        )
        return self._collect(split_credentials(collection, self.settings.secrets))

    def rows(
        self,
        endpoint: str,
        *,
        pagination: Pagination | Mapping[str, Any],
        method: str = "GET",
        query: Mapping[str, Json] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Json = None,
        data_selector: str | None = None,
        partitions: Sequence[Mapping[str, Json]] | Mapping[str, Any] | UnresolvedPartitions | Partitions | None = None,
        decimals: bool = False,
    ) -> Iterator[Json]:
        """Yield the decoded rows of an endpoint; takes the arguments of ``pages`` and raises the same errors.

        With ``decimals``, numbers with a fraction become ``decimal.Decimal`` and keep all their digits.
        """
        pages = self.pages(
            endpoint,
            pagination=pagination,
            method=method,
            query=query,
            headers=headers,
            body=body,
            data_selector=data_selector,
            partitions=partitions,
        )
        decode = msgspec.json.Decoder(float_hook=Decimal if decimals else None).decode
        return (decode(row) for page in pages for row in page.rows)

    def _collect(self, collection: Collection) -> Iterator[Page]:
        deadline = Deadline.of(self.timeouts.run)
        with self.client(collection, deadline) as client:
            collector = Collector(
                collection=collection,
                client=client,
                workers=self.max_workers,
                window=self.window,
                completeness=self.completeness,
                limits=self.limits,
                stop=StopSignal(deadline),
                report=lambda snapshot: self.log.info("%s", snapshot),
            )
            with closing(collector.pages()) as pages:
                for page in pages:
                    self.masks.catch_up()
                    yield page

    def test_connection(self) -> tuple[bool, str]:
        """Request the base URL once; every response succeeds unless it rejects the credentials."""
        try:
            with self.get_conn() as session:
                response = session.get(
                    self.settings.endpoint.base_url,
                    timeout=(self.timeouts.connect, self.timeouts.read),
                    allow_redirects=False,
                )
        except PaginatedApiError as exc:
            return False, str(exc)
        except requests.RequestException as exc:
            return False, f"no response from {self.settings.endpoint.base_url}: {type(exc).__name__}"
        if response.status_code in (401, 403):
            return False, f"the API rejected the credentials: {phrase(response.status_code)}"
        return True, f"the API responded: {phrase(response.status_code)}"
