"""Requests for tokens, with retries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, TypeVar

from airflow_paginated.core.errors import (
    PaginatedApiError,
    RequestRefused,
)
from airflow_paginated.core.secrets import Scrubber
from airflow_paginated.core.values import PageRequest
from airflow_paginated.transport.attempt import Endpoint, Exchange
from airflow_paginated.transport.auth.credentials import (
    Credentials,
    Grant,
    Refreshable,
    Token,
    TokenRequest,
    no_credentials,
)
from airflow_paginated.transport.body import DecodedBody, Response
from airflow_paginated.transport.connections import SessionPool
from airflow_paginated.transport.origin import origin_of
from airflow_paginated.transport.response import REDIRECTS, check_retryable, phrase
from airflow_paginated.transport.retry import AttemptState, RetryableError, RetryController, Throttled

T = TypeVar("T")

TOKEN_BYTES: Final = 1024 * 1024
"""Size limit of a token response."""


class TokenFetcher:
    """Obtains credentials for an endpoint. Shared by all threads.

    A token request follows no redirect, so the grant's secrets reach its own URL only. ``learn`` receives each token;
    ``sent`` is called before each request.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        pool: SessionPool,
        controller: RetryController,
        scrub: Scrubber,
        learn: Callable[[Iterable[str]], None],
        sent: Callable[[], None],
    ) -> None:
        self._endpoint = endpoint
        self._pool = pool
        self._controller = controller
        self._scrub = scrub
        self._learn = learn
        self._sent = sent
        self._exchanges = lru_cache(maxsize=4)(self._exchange)

    def token(self, grant: Grant) -> Token:
        """Request a token, with retries.

        Raises a ``TransientError`` when the attempts are used up, a ``PermanentError`` for a refusal.
        """
        token = self._retry(lambda state: self._fetch_once(grant, state), lambda: grant.name)
        self._learn([token.value])
        return token

    def refresh(self, auth: Refreshable) -> None:
        """Refresh an ``Auth``, with retries; raises as ``token`` does."""
        self._retry(lambda state: auth.refresh(), lambda: f"{self._endpoint.name}: refreshing the credentials")

    def _retry(self, attempt: Callable[[AttemptState], T], name: Callable[[], str]) -> T:
        self._controller.gate.enter()
        state = self._controller.new_state()
        while True:
            state.sent += 1
            try:
                return attempt(state)
            except (Throttled, RetryableError) as exc:
                error = exc
            except OSError as exc:
                error = no_credentials(exc)
            # Outside the handler: an error raised there would have this one as its context.
            try:
                self._controller.wait(error, state, name)
            finally:
                del error
            self._controller.gate.enter()

    def _fetch_once(self, grant: Grant, state: AttemptState) -> Token:
        request = grant.ask()
        self._sent()
        try:
            response = self._send(request, state)
            if response.status in REDIRECTS:
                raise RequestRefused(
                    f"{phrase(response.status)}: secrets are not sent to another URL; give the final one"
                )
            check_retryable(response.status, response.headers, self._controller.retry)
            # A refused grant carries no status, since it is not the page's.
            return grant.read(response.status, DecodedBody(response, TOKEN_BYTES), self._scrub.quote)
        except PaginatedApiError as exc:
            self._controller.check_open()
            raise exc.with_message(f"{grant.name}: {self._scrub(str(exc))}") from None

    def _send(self, request: TokenRequest, state: AttemptState) -> Response:
        sent = PageRequest("", "POST", headers=request.headers, body=request.body)
        with self._pool.lease() as lease:
            ends = self._controller.attempt_ends(state)
            return self._exchanges(request.url).attempt(sent, lease, ends, lambda response: True, lambda: None)

    def _exchange(self, url: str) -> Exchange:
        """Return an exchange for a token URL; the connection's headers go to its own origin only."""
        own = origin_of(url) == origin_of(self._endpoint.base_url)
        endpoint = Endpoint(url, self._endpoint.headers if own else {})
        return Exchange(
            endpoint,
            Credentials(None),
            self._controller.timeouts,
            TOKEN_BYTES,
            "application/json",
            lambda secrets: None,
        )
