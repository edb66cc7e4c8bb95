"""Credentials of a connection, some of which expire in mid-run: renewed once for all threads."""

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
from airflow_paginated.transport.retry import SERVER, RetryableError

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
