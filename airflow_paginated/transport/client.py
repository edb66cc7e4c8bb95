"""The client: one page request in, one page out, within the run's policies."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from requests.auth import HTTPBasicAuth

from airflow_paginated.core.deadline import NEVER, Deadline
from airflow_paginated.core.errors import PaginatedApiError, PermanentError, RequestRefused
from airflow_paginated.core.policies import Limits, Timeouts
from airflow_paginated.core.secrets import MIN_MASKED_CHARS, Scrubber
from airflow_paginated.core.values import Page, PageRequest
from airflow_paginated.transport.attempt import Endpoint, Exchange
from airflow_paginated.transport.auth.bound import netrc_login
from airflow_paginated.transport.auth.credentials import Credentials
from airflow_paginated.transport.auth.tokens import TokenFetcher
from airflow_paginated.transport.body import Response
from airflow_paginated.transport.connections import SessionOptions, SessionPool
from airflow_paginated.transport.decode import CsvColumnsCheck
from airflow_paginated.transport.gate import Gate, RetryBudget, quota_wait
from airflow_paginated.transport.origin import shown_url
from airflow_paginated.transport.response import ResponseClassifier, phrase
from airflow_paginated.transport.retry import (
    AttemptState,
    Expired,
    RateLimit,
    RequestRetry,
    RetryableError,
    RetryController,
    Throttled,
)
from airflow_paginated.transport.rules import ResponseRules

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """The client's configuration.

    No attempt and no wait passes ``deadline``, the end of the run. ``secrets`` are kept out of messages, which show
    the values of the query parameters in ``shown`` only. ``shared`` are the credentials of ``endpoint`` when several
    clients use them. ``learned`` receives, in any thread and possibly more than once, each secret that authentication
    puts on requests.
    """

    endpoint: Endpoint
    session: SessionOptions = field(default_factory=SessionOptions)
    retry: RequestRetry = field(default_factory=RequestRetry)
    rate_limit: RateLimit | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    deadline: Deadline = NEVER
    data_selector: str | None = None
    rules: ResponseRules = field(default_factory=ResponseRules)
    workers: int = 8
    shown: Collection[str] = ()
    secrets: Iterable[str] = field(default=(), repr=False)
    shared: Credentials | None = field(default=None, repr=False)
    learned: Callable[[str], None] = lambda secret: None


@dataclass(slots=True)
class Traffic:
    """Requests sent so far. Changed by all threads, under its lock."""

    requests: int = 0
    retries: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def sent(self, retry: bool) -> None:
        """Count a request."""
        with self._lock:
            self.requests += 1
            self.retries += retry


@dataclass(slots=True)
class _PageAttemptState(AttemptState):
    """Retry state of one page. Changed by the thread that fetches it."""

    expired: int | None = None
    """The generation of the refused credentials."""
    renewed: bool = False


class PageClient:
    """Fetches pages from many threads, each with its own session, behind one gate and one retry budget.

    A context manager: leaving it ends all waits and shuts all sockets.
    """

    def __init__(self, options: ClientOptions) -> None:
        netrc = netrc_login(options.endpoint, options.session)
        endpoint = options.endpoint
        self._options = options
        self._scrub = Scrubber([*options.secrets, *((netrc[1], ":".join(netrc)) if netrc else ())])
        self._scrub.learn(text for each in endpoint.query.values() if len(text := str(each)) >= MIN_MASKED_CHARS)
        shared = options.shared or Credentials(endpoint.auth)
        self._credentials = Credentials(HTTPBasicAuth(*netrc)) if netrc else shared
        page_bytes = options.limits.page_bytes
        self._exchange = Exchange(
            endpoint, self._credentials, options.timeouts, page_bytes, options.rules.accept, self._learn
        )
        self._pool = SessionPool(options.session)
        self._gate = Gate(options.rate_limit.interval if options.rate_limit else 0.0)
        budget = RetryBudget(options.retry.budget_for(options.workers))
        self._controller = RetryController(options.retry, options.timeouts, options.deadline, self._gate, budget)
        self.traffic = Traffic()
        self._token_fetcher = TokenFetcher(endpoint, self._pool, self._controller, self._scrub, self._learn, self._sent)
        self._classifier = ResponseClassifier(
            options.rules,
            options.data_selector,
            options.retry,
            page_bytes,
            self._scrub,
            self._credentials.refreshable,
            endpoint.name,
            self._controller.check_open,
        )
        self._columns = CsvColumnsCheck()

    def __enter__(self) -> PageClient:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()
        if isinstance(error, PaginatedApiError):
            # A strategy's message may quote a secret that the response repeats.
            error.args = (self._scrub(str(error)),)

    @property
    def throttled_seconds(self) -> float:
        """Seconds for which the gate was closed to all workers."""
        return self._gate.paused_seconds

    def authenticated(self) -> Credentials:
        """Return the credentials with a valid token, if they need one; raises what ``fetch`` raises."""
        self._credentials.ready(self._token_fetcher)
        return self._credentials

    def close(self) -> None:
        """End all waits, shut all sockets, close all sessions."""
        self._gate.close()
        self._pool.close()

    def fetch(self, request: PageRequest) -> Page:
        """Return the page for ``request``, with as many attempts as the policies allow.

        Raises a ``TransientError`` when they are used up, a ``PermanentError`` when a retry cannot help.
        """
        self._gate.enter()
        started = time.monotonic()  # waiting for the first slot does not count against the page
        state = _PageAttemptState(deadline=started + self._options.timeouts.page)
        while True:
            try:
                page = self._attempt(request, state, started)
            except (Throttled, RetryableError, Expired, PaginatedApiError) as exc:
                error = exc
            except Exception as exc:
                self._controller.check_open()
                raise PermanentError(f"{self._name(request)} failed: unexpected {type(exc).__name__}") from exc
            else:
                self._controller.budget.earn()
                self._gate.served()
                return page
            # Outside the handler: an error raised there would have this one, with its text, as its context.
            try:
                self._recover(error, request, state)
            finally:
                del error  # its traceback would keep this frame, the response and its socket alive
            self._gate.enter()

    def _recover(
        self,
        error: Throttled | RetryableError | Expired | PaginatedApiError,
        request: PageRequest,
        state: _PageAttemptState,
    ) -> None:
        if isinstance(error, PaginatedApiError):
            raise self._with_message(error, request)
        if isinstance(error, Expired):
            self._replay(error, request, state)
        else:
            once = None if request.method in self._options.retry.allowed_methods else request.method
            self._controller.wait(error, state, lambda: self._name(request), once)

    def _attempt(self, request: PageRequest, state: _PageAttemptState, started: float) -> Page:
        self._options.deadline.check()
        if state.expired is not None and not state.renewed:
            self._credentials.renew(state.expired, self._token_fetcher)
            state.renewed = True
        self._credentials.ready(self._token_fetcher)
        state.sent += 1
        state.sent_at = time.monotonic()
        self.traffic.sent(retry=state.sent > 1)
        deadline = self._controller.attempt_ends(state)
        with self._pool.lease() as lease:
            if state.stale:
                # Idle connections die together, and only the first stale one is not charged.
                lease.registry.drop()
            response = self._exchange.attempt(request, lease, deadline, self._classifier.is_final, self._before_resend)
        return self._page(request, response, state.sent, started)

    def _page(self, request: PageRequest, response: Response, attempts: int, started: float) -> Page:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s: %s, %d bytes", self._name(request), phrase(response.status), len(response.body))
        content = self._classifier.content(response, request.behind)
        # Pause before the quota is exceeded, where the response says that this page used up the last of it.
        if self._options.retry.respect_retry_after_header and (wait := quota_wait(response.headers)):
            if limit := self._controller.exceeded_limit(wait):
                self._gate.exhaust(f"the API's quota is used up for {wait:.0f} s, more than {limit}", wait)
            else:
                self._gate.pause(wait)
        rows = content.parts
        if rows.columns is not None:
            self._columns.check(request.partition, rows.columns)
        return Page(
            request=request,
            lines=rows.lines,
            count=rows.count,
            sha256=hashlib.sha256(rows.lines).hexdigest(),
            envelope=rows.envelope,
            headers=response.headers,
            attempts=attempts,
            bytes=content.size,
            seconds=time.monotonic() - started,
            url=response.url,
            end=content.end,
            ignored=content.ignored,
            auth_params=response.auth_params,
        )

    def _before_resend(self) -> None:
        self._gate.enter()
        self._sent()

    def _replay(self, expired: Expired, request: PageRequest, state: _PageAttemptState) -> None:
        if state.renewed:
            advice = f"check those on {self._options.endpoint.name}"
            refusal = f"the API refuses the credentials, even after renewal: {expired.cause}; {advice}"
            raise self._with_message(RequestRefused(refusal, expired.status), request)
        state.expired = expired.generation

    def _sent(self) -> None:
        self.traffic.sent(retry=False)

    def _learn(self, secrets: Iterable[str]) -> None:
        learned = list(secrets)
        self._scrub.learn(learned)
        for secret in learned:
            self._options.learned(secret)

    def _with_message(self, error: PaginatedApiError, request: PageRequest) -> PaginatedApiError:
        self._controller.check_open()
        return error.with_message(f"{self._name(request)}: {self._scrub(str(error))}")

    def _name(self, request: PageRequest) -> str:
        partition = "" if request.partition == (0,) else f" of partition {'.'.join(map(str, request.partition))}"
        query = {**self._options.endpoint.query, **request.query}
        url = shown_url(self._exchange.url(request), query, self._options.shown)
        return f"page {request.index + 1}{partition} ({request.method} {self._scrub(url)})"
