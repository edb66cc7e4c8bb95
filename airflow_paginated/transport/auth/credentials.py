"""A connection's credentials; those that expire during a run are renewed once for all threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from copy import copy
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias, runtime_checkable

import requests

from airflow_paginated.core.errors import (
    Cancelled,
    ConfigurationError,
    PaginatedApiError,
    PermanentError,
)
from airflow_paginated.transport.body import DecodedBody
from airflow_paginated.transport.retry import SERVER_WEIGHT, RetryableError

RENEW_BEFORE_SHARE: Final = 0.1
"""A token is renewed when this share of its lifetime is left,"""

RENEW_BEFORE_SECONDS: Final = 60.0
"""but at most this long before it expires."""

Auth: TypeAlias = Callable[[requests.PreparedRequest], requests.PreparedRequest]
"""Puts credentials on a request, as in ``requests``; several threads may call it at once."""

Quote: TypeAlias = Callable[[str], str]
"""Quotes a server's message, shortened and without secrets."""


@runtime_checkable
class Refreshable(Protocol):
    """An ``Auth`` whose credentials can be renewed.

    One thread at a time calls ``refresh``, while others may still use the old credentials. It raises
    ``PermanentError`` when a retry cannot help; an ``OSError``, such as any error of ``requests``, is retried. It must
    limit its own time.
    """

    def refresh(self) -> None:
        """Obtain new credentials for all later requests."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token; ``lifetime`` in seconds, if the server states it."""

    value: str = field(repr=False)
    lifetime: float | None = None


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A POST for a token; the secrets in ``headers`` and ``body`` are for this URL's origin only."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@runtime_checkable
class Grant(Protocol):
    """How a token is requested, read and used: a value without I/O."""

    @property
    def name(self) -> str:
        """What messages call the token request: its connection and its place."""

    def ask(self) -> TokenRequest:
        """Return the request for a token."""

    def read(self, status: int, reading: DecodedBody, quote: Quote) -> Token:
        """Return the token in a response; 429 and the retried statuses never get here.

        Raises ``RetryableError`` if a retry may help, a ``PermanentError`` for a refusal.
        """

    def put_on(self, request: requests.PreparedRequest, token: str) -> None:
        """Put the token on a request."""


class SupportsRenewal(Protocol):
    """Obtains new credentials over the network, with the retries that a run's policies allow."""

    def token(self, grant: Grant) -> Token:
        """Request a token."""

    def refresh(self, auth: Refreshable) -> None:
        """Refresh an ``Auth``."""


class Credentials:
    """The credentials for one origin, shared by the threads and clients of a connection."""

    def __init__(self, auth: Auth | Grant | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._auth = auth
        self._grant = auth if isinstance(auth, Grant) else None
        self._clock = clock
        self._lock = threading.Lock()
        self._token: Token | None = None
        """Changed under the lock, like the next two."""
        self._expires_at = 0.0
        self._renewal: Future[None] | None = None
        """The renewal in progress in one thread, for which the others wait. A permanent refusal stays: another attempt
        could lock an account."""
        self.generation = 0
        """The number of renewals; changed under the lock, after each of them."""

    @property
    def refreshable(self) -> bool:
        """Whether they can be renewed."""
        return isinstance(self._auth, Refreshable | Grant)

    def put_on(self, request: requests.PreparedRequest) -> None:
        """Authenticate a request, after ``ready``.

        Raises ``RetryableError`` if an ``Auth`` fails on the network, ``ConfigurationError`` for characters that HTTP
        cannot carry.
        """
        try:
            if self._grant is not None:
                self._grant.put_on(request, self._token.value if self._token else "")
            else:
                request.prepare_auth(self._auth, str(request.url))
        except OSError as exc:
            raise no_credentials(exc) from None
        except UnicodeError:
            raise ConfigurationError("the credentials contain characters that HTTP headers cannot carry") from None

    def ready(self, fetcher: SupportsRenewal) -> None:
        """Ensure a valid token. While another thread renews it, the old one is used until it expires.

        Raises what ``fetcher`` raises.
        """
        if self._grant is None:
            return
        with self._lock:
            used, token, left = self.generation, self._token, self._expires_at - self._clock()
            renewed_elsewhere = self._renewal is not None and left > 0
        if token is None or not (left > _renew_before(token) or renewed_elsewhere):
            self.renew(used, fetcher)

    def renew(self, used: int, fetcher: SupportsRenewal) -> None:
        """Renew the credentials of generation ``used``, or wait for the thread that is renewing them.

        Raises what ``fetcher`` raises, in all threads that wait.
        """
        with self._lock:
            if used != self.generation:
                return
            is_first = self._renewal is None
            renewal = self._renewal = self._renewal or Future()
        if is_first:
            self._run_renewal(renewal, fetcher)
            return
        try:
            renewal.result()
        except Cancelled:
            # The run that ended may be another client's.
            self.renew(used, fetcher)

    def _run_renewal(self, renewal: Future[None], fetcher: SupportsRenewal) -> None:
        requested_at = self._clock()
        try:
            token = self._fetch(fetcher)
        except BaseException as exc:
            if not isinstance(exc, PermanentError):
                with self._lock:
                    self._renewal = None
            # A copy: the error refers to this frame, and the future would keep both alive.
            renewal.set_exception(copy(exc) if isinstance(exc, PaginatedApiError) else exc)
            raise
        with self._lock:
            if token is not None:
                self._token = token
                self._expires_at = requested_at + (float("inf") if token.lifetime is None else token.lifetime)
            self.generation += 1
            self._renewal = None
        renewal.set_result(None)

    def _fetch(self, fetcher: SupportsRenewal) -> Token | None:
        if self._grant is not None:
            return fetcher.token(self._grant)
        if isinstance(self._auth, Refreshable):
            fetcher.refresh(self._auth)
        return None


def no_credentials(error: OSError) -> RetryableError:
    """Return the error of an attempt without credentials."""
    # The error's text is omitted: it may quote the request.
    return RetryableError(f"no credentials could be obtained ({type(error).__name__})", SERVER_WEIGHT, unsent=True)


def _renew_before(token: Token) -> float:
    """Return how many seconds before it expires a token is renewed."""
    return 0.0 if token.lifetime is None else min(RENEW_BEFORE_SECONDS, token.lifetime * RENEW_BEFORE_SHARE)
