"""Credentials of a connection, some of which expire in mid-run: renewed once for all threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from copy import copy
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, Protocol, TypeAlias, TypeVar, runtime_checkable

import requests
from requests.utils import get_netrc_auth

from airflow_paginated.core.errors import (
    Cancelled,
    ConfigurationError,
    PaginatedApiError,
    PermanentError,
    RequestRefused,
)
from airflow_paginated.core.secrets import Scrubber
from airflow_paginated.core.values import PageRequest
from airflow_paginated.transport.attempt import Endpoint, Exchange, Response
from airflow_paginated.transport.body import DecodedBody
from airflow_paginated.transport.connections import SessionOptions, SessionPool
from airflow_paginated.transport.origin import origin_of
from airflow_paginated.transport.response import REDIRECTS, judge_trouble, phrase
from airflow_paginated.transport.retry import SERVER, AttemptState, RetryableError, RetryController, Throttled

EARLY_SHARE: Final = 0.1
"""A token is renewed when so much of its life is left,"""

EARLY_SECONDS: Final = 60.0
"""and at most so many seconds before its end."""

Auth: TypeAlias = Callable[[requests.PreparedRequest], requests.PreparedRequest]
"""Puts credentials on a request, as ``requests`` wants it; several threads may call it at once."""

Quote: TypeAlias = Callable[[str], str]
"""Quotes what a server said: short, and without secrets."""


@runtime_checkable
class Refreshable(Protocol):
    """Optional, of an ``Auth``: its credentials can be renewed.

    Called by one thread at a time, while others may put the old credentials on their requests. Whatever cannot be
    mended by another attempt is raised as a ``PermanentError``; an ``OSError`` (as all errors of ``requests`` are) is
    one of those that can. It has to bound its own time.
    """

    def refresh(self) -> None:
        """Get new credentials, which all later requests carry."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a grant was answered with; ``lifetime`` in seconds, where the answer says it."""

    value: str = field(repr=False)
    lifetime: float | None = None


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What is posted to get a token; ``headers`` and ``body`` hold secrets, which are for this URL's origin only."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@runtime_checkable
class Grant(Protocol):
    """How a token is asked for, read and used: a value, which does no I/O itself."""

    @property
    def name(self) -> str:
        """What asking for a token is called in messages: on which connection, and where."""

    def ask(self) -> TokenRequest:
        """Return the request for a token."""

    def read(self, status: int, reading: DecodedBody, quote: Quote) -> Token:
        """Return the token in an answer.

        Raises ``RetryableError`` for what another attempt may mend, a ``PermanentError`` for a
        refusal. 429 and the statuses that are retried do not come here.
        """

    def put_on(self, request: requests.PreparedRequest, token: str) -> None:
        """Let a request carry the token."""


class SupportsRenewal(Protocol):
    """Gets new credentials over the network, with all the attempts that the policies of a run allow."""

    def token(self, grant: Grant) -> Token:
        """Ask for a token."""

    def refresh(self, auth: Refreshable) -> None:
        """Let an ``Auth`` renew itself."""


class Credentials:
    """What requests to one origin authenticate with. Threads, and the clients of one connection, share it."""

    def __init__(self, auth: Auth | Grant | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._auth = auth
        self._grant = auth if isinstance(auth, Grant) else None
        self._clock = clock
        self._lock = threading.Lock()
        self._token: Token | None = None
        """Changed under the lock, as the next two are."""
        self._expires_at = 0.0
        self._flight: Future[None] | None = None
        """The renewal that is under way, in one of the threads; the others wait for what comes of it. One that is
        refused for good stays: to ask again could lock an account."""
        self.generation = 0
        """How often they were renewed; changed under the lock, and only after they were."""

    @property
    def refreshable(self) -> bool:
        """Whether they can be renewed."""
        return isinstance(self._auth, Refreshable | Grant)

    def put_on(self, request: requests.PreparedRequest) -> None:
        """Authenticate a request; ``ready`` comes before.

        Raises ``RetryableError`` where that takes the network and fails, ``ConfigurationError`` for what HTTP cannot
        carry.
        """
        try:
            if self._grant is not None:
                self._grant.put_on(request, self._token.value if self._token else "")
            else:
                request.prepare_auth(self._auth, str(request.url))
        except OSError as exc:
            raise unobtained(exc) from None
        except UnicodeError:
            raise ConfigurationError("the credentials are none that HTTP can carry") from None

    def ready(self, renewing: SupportsRenewal) -> None:
        """Get a token where there is none that will last; while another thread does, the old one serves until it ends.

        Raises what ``renewing`` raises.
        """
        if self._grant is None:
            return
        with self._lock:
            used, token, left = self.generation, self._token, self._expires_at - self._clock()
            renewed_by_another = self._flight is not None and left > 0
        if token is None or not (left > _early(token) or renewed_by_another):
            self.renew(used, renewing)

    def renew(self, used: int, renewing: SupportsRenewal) -> None:
        """Renew them, unless that was done since generation ``used``; where another thread is at it, wait for it.

        Raises what ``renewing`` raises, in all threads that wait.
        """
        with self._lock:
            if used != self.generation:
                return
            mine = self._flight is None
            flight = self._flight = self._flight or Future()
        if mine:
            self._fly(flight, renewing)
            return
        try:
            flight.result()
        except Cancelled:
            # It may have been another client's run that ended.
            self.renew(used, renewing)

    def _fly(self, flight: Future[None], renewing: SupportsRenewal) -> None:
        asked_at = self._clock()
        try:
            token = self._renewed(renewing)
        except BaseException as exc:
            if not isinstance(exc, PermanentError):
                with self._lock:
                    self._flight = None
            # A copy: the error itself refers to this frame, and the flight would keep both.
            flight.set_exception(copy(exc) if isinstance(exc, PaginatedApiError) else exc)
            raise
        with self._lock:
            if token is not None:
                self._token = token
                self._expires_at = asked_at + (float("inf") if token.lifetime is None else token.lifetime)
            self.generation += 1
            self._flight = None
        flight.set_result(None)

    def _renewed(self, renewing: SupportsRenewal) -> Token | None:
        if self._grant is not None:
            return renewing.token(self._grant)
        if isinstance(self._auth, Refreshable):
            renewing.refresh(self._auth)
        return None


def unobtained(error: OSError) -> RetryableError:
    """Return what it means for an attempt that credentials could not be had."""
    # The text of the error is left out: it may hold what was sent.
    return RetryableError(f"no credentials could be obtained ({type(error).__name__})", SERVER, unsent=True)


def _early(token: Token) -> float:
    """Return how many seconds before its end a token is renewed."""
    return 0.0 if token.lifetime is None else min(EARLY_SECONDS, token.lifetime * EARLY_SHARE)


T = TypeVar("T")

TOKEN_BYTES: Final = 1024 * 1024
"""No answer with a token is larger."""


class TokenFetcher:
    """Gets credentials for the requests to an endpoint. All threads use it.

    A token request carries the secrets of its grant to the grant's URL and to nowhere else: it follows no redirect.
    ``learn`` is told each token, ``sent`` that a request is about to go out.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        pool: SessionPool,
        patience: RetryController,
        scrub: Scrubber,
        learn: Callable[[Iterable[str]], None],
        sent: Callable[[], None],
    ) -> None:
        self._endpoint = endpoint
        self._pool = pool
        self._patience = patience
        self._scrub = scrub
        self._learn = learn
        self._sent = sent
        self._exchanges = lru_cache(maxsize=4)(self._exchange)

    def token(self, grant: Grant) -> Token:
        """Ask for a token until there is one.

        Raises a ``TransientError`` when the attempts are used up, a ``PermanentError`` for a refusal.
        """
        token = self._persist(lambda tries: self._ask(grant, tries), lambda: grant.name)
        self._learn([token.value])
        return token

    def refresh(self, auth: Refreshable) -> None:
        """Let an ``Auth`` renew itself, until it has; raises as ``token`` does."""
        self._persist(lambda tries: auth.refresh(), lambda: f"{self._endpoint.name}: refreshing the credentials")

    def _persist(self, attempt: Callable[[AttemptState], T], name: Callable[[], str]) -> T:
        self._patience.gate.enter()
        tries = self._patience.tries()
        while True:
            tries.sent += 1
            try:
                return attempt(tries)
            except (Throttled, RetryableError) as exc:
                trouble = exc
            except OSError as exc:
                trouble = unobtained(exc)
            # Out of the handler: an error raised here would show the trouble as its context.
            try:
                self._patience.wait(trouble, tries, name)
            finally:
                del trouble
            self._patience.gate.enter()

    def _ask(self, grant: Grant, tries: AttemptState) -> Token:
        request = grant.ask()
        self._sent()
        try:
            answer = self._answer(request, tries)
            if answer.status in REDIRECTS:
                raise RequestRefused(f"{phrase(answer.status)}: no secret is sent on; give the final URL")
            judge_trouble(answer.status, answer.headers, self._patience.retry)
            # A refusal of a grant carries no status: it says nothing of the page.
            return grant.read(answer.status, DecodedBody(answer, TOKEN_BYTES), self._scrub.quote)
        except PaginatedApiError as exc:
            self._patience.check_open()
            raise exc.told(f"{grant.name}: {self._scrub(str(exc))}") from None

    def _answer(self, request: TokenRequest, tries: AttemptState) -> Response:
        sent = PageRequest("", "POST", headers=request.headers, body=request.body)
        with self._pool.lease() as lease:
            ends = self._patience.attempt_ends(tries)
            return self._exchanges(request.url).attempt(sent, lease, ends, lambda answer: True, lambda: None)

    def _exchange(self, url: str) -> Exchange:
        """Return an exchange with a token URL; the connection's own headers are for its own origin."""
        own = origin_of(url) == origin_of(self._endpoint.base_url)
        endpoint = Endpoint(url, self._endpoint.headers if own else {})
        limits = replace(self._patience.limits, page_bytes=TOKEN_BYTES)
        return Exchange(endpoint, Credentials(None), limits, "application/json", lambda secrets: None)


def netrc_login(endpoint: Endpoint, session: SessionOptions) -> tuple[str, str] | None:
    """Return login and password that the machine's netrc has for the endpoint."""
    named = any(name.lower() == "authorization" for name in endpoint.headers)
    if endpoint.auth is not None or named or not session.trust_env:
        return None
    return get_netrc_auth(endpoint.base_url)
