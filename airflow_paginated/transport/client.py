"""The client: one page request in, one page out, whatever it takes within the policies."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from requests.auth import HTTPBasicAuth
from requests.utils import get_netrc_auth

from airflow_paginated.paging.errors import (
    Cancelled,
    PageFailed,
    PaginatedApiError,
    PermanentError,
    QuotaExceeded,
    RequestRefused,
)
from airflow_paginated.paging.policies import Limits
from airflow_paginated.paging.values import Page, PageRequest
from airflow_paginated.transport.exchange import Answer, Endpoint, Exchange
from airflow_paginated.transport.faults import THROTTLE, Expired, Fault, Throttled
from airflow_paginated.transport.gate import Gate, RetryBudget
from airflow_paginated.transport.judge import Judge
from airflow_paginated.transport.lines import Columns
from airflow_paginated.transport.origin import shown_url
from airflow_paginated.transport.policies import EARLY, RateLimit, RequestRetry, backoff
from airflow_paginated.transport.quota import quota_wait
from airflow_paginated.transport.rules import ResponseRules
from airflow_paginated.transport.scrub import Scrubber
from airflow_paginated.transport.sessions import SessionOptions, SessionPool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """Everything a client has to know.

    ``secrets`` are kept out of messages; of query parameters, only the values of those in ``shown`` stand in them.
    """

    endpoint: Endpoint
    session: SessionOptions = field(default_factory=SessionOptions)
    retry: RequestRetry = field(default_factory=RequestRetry)
    rate_limit: RateLimit | None = None
    limits: Limits = field(default_factory=Limits)
    data_selector: str | None = None
    rules: ResponseRules = field(default_factory=ResponseRules)
    workers: int = 8
    shown: Collection[str] = ()
    secrets: Iterable[str] = field(default=(), repr=False)


@dataclass(slots=True)
class Traffic:
    """What went over the wire so far. Changed by all threads, under its lock."""

    requests: int = 0
    retries: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def sent(self, retry: bool) -> None:
        """Count a request."""
        with self._lock:
            self.requests += 1
            self.retries += retry


@dataclass(slots=True)
class _Tries:
    """The attempts at one page. Changed by the thread that fetches it."""

    deadline: float
    sent: int = 0
    sent_at: float = 0.0
    charged: int = 0
    throttled: int = 0
    stale: bool = False
    expired: int | None = None
    """The generation of the credentials that were refused."""
    renewed: bool = False


class PageClient:
    """Fetches pages from many threads, each with its own session, behind one gate and one retry budget.

    A context manager: leaving it ends all waits and shuts all sockets.
    """

    def __init__(self, options: ClientOptions) -> None:
        netrc = _netrc(options)
        endpoint = replace(options.endpoint, auth=HTTPBasicAuth(*netrc)) if netrc else options.endpoint
        self._options = options
        self._scrub = Scrubber([*options.secrets, *((netrc[1], ":".join(netrc)) if netrc else ())])
        self._exchange = Exchange(endpoint, options.limits, options.rules.accept, self._scrub.learn)
        self._pool = SessionPool(options.session)
        self._gate = Gate(options.rate_limit.interval if options.rate_limit else 0.0)
        self._budget = RetryBudget(options.retry.budget_for(options.workers))
        self._judge = Judge(
            options.rules,
            options.data_selector,
            options.retry,
            options.limits.page_bytes,
            self._scrub,
            self._exchange.credentials.refreshable,
        )
        self._columns = Columns()
        self.traffic = Traffic()

    def __enter__(self) -> PageClient:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()
        if isinstance(error, PaginatedApiError):
            # What a strategy says of an answer may hold a secret that the answer repeats.
            error.args = (self._scrub(str(error)),)

    @property
    def throttled_seconds(self) -> float:
        """How long the API kept everybody waiting."""
        return self._gate.paused_seconds

    def close(self) -> None:
        """End all waits, shut all sockets, close all sessions."""
        self._gate.close()
        self._pool.close()

    def fetch(self, request: PageRequest) -> Page:
        """Return the page that answers ``request``, after as many attempts as the policies allow.

        Raises a ``TransientError`` when they are used up, a ``PermanentError`` for what no attempt can mend.
        """
        self._gate.enter()
        started = time.monotonic()  # the wait for the first turn is nobody's fault
        tries = _Tries(deadline=started + self._options.limits.page_timeout)
        while True:
            try:
                page = self._attempt(request, tries, started)
            except (Throttled, Fault, Expired) as exc:
                trouble = exc
            except PaginatedApiError as exc:
                raise self._told(exc, request) from None
            except Exception as exc:
                self._check_open()
                raise PermanentError(f"{self._name(request)} failed: unexpected {type(exc).__name__}") from exc
            else:
                self._budget.earn()
                self._gate.served()
                return page
            # Out of the handler: an error raised here would show the trouble as its context.
            try:
                self._recover(trouble, request, tries)
            finally:
                del trouble  # it refers to this frame, which would keep the answer and its socket
            self._gate.enter()

    def _recover(self, trouble: Throttled | Fault | Expired, request: PageRequest, tries: _Tries) -> None:
        if isinstance(trouble, Throttled):
            self._pause(trouble, request, tries)
        elif isinstance(trouble, Expired):
            self._replay(trouble, request, tries)
        else:
            self._back_off(trouble, request, tries)

    def _attempt(self, request: PageRequest, tries: _Tries, started: float) -> Page:
        self._renew(tries)
        tries.sent += 1
        tries.sent_at = time.monotonic()
        self.traffic.sent(retry=tries.sent > 1)
        deadline = min(time.monotonic() + self._options.limits.attempt_timeout, tries.deadline)
        with self._pool.lease() as lease:
            if tries.stale:
                # Idle connections die together, and only the first death is free.
                lease.watch.drop()
            answer = self._exchange.attempt(request, lease, deadline, self._judge.settles, self._follow)
        content = self._judge.content(answer, request.method)
        self._heed_quota(answer)
        rows = content.parts
        if rows.columns is not None:
            self._columns.check(request.partition, rows.columns)
        return Page(
            request=request,
            lines=rows.lines,
            count=rows.count,
            sha256=hashlib.sha256(rows.lines).hexdigest(),
            envelope=rows.envelope,
            headers=answer.headers,
            attempts=tries.sent,
            bytes=content.size,
            seconds=time.monotonic() - started,
            url=answer.url,
            end=content.end,
            ignored=content.ignored,
        )

    def _heed_quota(self, answer: Answer) -> None:
        """Pause before the quota is exceeded, where the answer says that this page took the last of it."""
        retry = self._options.retry
        wait = quota_wait(answer.headers) if retry.respect_retry_after_header else None
        if not wait:
            return
        if wait <= retry.retry_after_max:
            self._gate.pause(wait)
        else:
            self._gate.exhaust(
                f"the API's quota is used up for {wait:.0f} s, more than"
                f" retry.retry_after_max={retry.retry_after_max:g}",
                wait,
            )

    def _follow(self) -> None:
        self._gate.enter()
        self.traffic.sent(retry=False)

    def _renew(self, tries: _Tries) -> None:
        if tries.expired is not None and not tries.renewed:
            self._exchange.credentials.renew(tries.expired)
            tries.renewed = True

    def _replay(self, expired: Expired, request: PageRequest, tries: _Tries) -> None:
        if tries.renewed:
            refusal = f"the credentials are refused, fresh ones as well: {expired.cause}; check those on the connection"
            raise self._told(RequestRefused(refusal, expired.status), request)
        tries.expired = expired.generation

    def _pause(self, throttled: Throttled, request: PageRequest, tries: _Tries) -> None:
        tries.throttled += 1
        retry = self._options.retry
        asked = throttled.seconds or 0.0
        if asked > retry.retry_after_max:
            raise QuotaExceeded(
                f"{self._name(request)}: {throttled.cause}; the API asks to wait {asked:.0f} s,"
                f" more than retry.retry_after_max={retry.retry_after_max:g}",
                asked,
            ) from None
        # Zero seconds, or a date that has passed, is no leave to hammer.
        seconds = asked or backoff(tries.throttled, retry.backoff_factor * THROTTLE, retry.backoff_max)
        self._check_time(throttled.cause, request, tries, seconds)
        self._gate.pause(seconds, refused=tries.sent_at)

    def _back_off(self, fault: Fault, request: PageRequest, tries: _Tries) -> None:
        self._check_open()
        retry = self._options.retry
        if not (fault.unsent or request.method in retry.allowed_methods):
            raise self._failed(
                f"{fault.cause}, and a {request.method} may have been acted on; if sending it twice is harmless,"
                " add its method to retry.allowed_methods",
                request,
                tries,
            )
        if fault.stale and not tries.stale:
            tries.stale = True
            return
        tries.charged += 1
        if tries.charged >= retry.max_attempts:
            raise self._failed(fault.cause, request, tries)
        self._budget.spend(f"{self._name(request)}: {fault.cause}")
        seconds = backoff(tries.charged, retry.backoff_factor * fault.weight, retry.backoff_max, first=EARLY)
        self._check_time(fault.cause, request, tries, seconds)
        self._gate.sleep(seconds)

    def _check_open(self) -> None:
        if self._gate.closed:
            raise Cancelled("the run was told to stop") from None

    def _check_time(self, cause: str, request: PageRequest, tries: _Tries, wait: float) -> None:
        if time.monotonic() + wait >= tries.deadline:
            limit = self._options.limits.page_timeout
            raise self._failed(f"{cause}; no time left within limits.page_timeout={limit:g} s", request, tries)

    def _failed(self, cause: str, request: PageRequest, tries: _Tries) -> PageFailed:
        plural = "attempt" if tries.sent == 1 else "attempts"
        return PageFailed(f"{self._name(request)} failed in {tries.sent} {plural}; last cause: {cause}")

    def _told(self, error: PaginatedApiError, request: PageRequest) -> PaginatedApiError:
        self._check_open()
        return error.told(f"{self._name(request)}: {self._scrub(str(error))}")

    def _name(self, request: PageRequest) -> str:
        partition = "" if request.partition == (0,) else f" of partition {'.'.join(map(str, request.partition))}"
        url = shown_url(self._exchange.url(request), request.query, self._options.shown)
        return f"page {request.index + 1}{partition} ({request.method} {self._scrub(url)})"


def _netrc(options: ClientOptions) -> tuple[str, str] | None:
    """Return login and password of the machine's netrc, where it is let in and the connection has no credentials."""
    named = any(name.lower() == "authorization" for name in options.endpoint.headers)
    if options.endpoint.auth is not None or named or not options.session.trust_env:
        return None
    return get_netrc_auth(options.endpoint.base_url)
