"""Tokens that are fetched and renewed once for all threads."""

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
    unobtained,
)
from airflow_paginated.transport.body import DecodedBody, Response
from airflow_paginated.transport.connections import SessionPool
from airflow_paginated.transport.origin import origin_of
from airflow_paginated.transport.response import REDIRECTS, judge_trouble, phrase
from airflow_paginated.transport.retry import AttemptState, RetryableError, RetryController, Throttled

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
            raise exc.with_message(f"{grant.name}: {self._scrub(str(exc))}") from None

    def _answer(self, request: TokenRequest, tries: AttemptState) -> Response:
        sent = PageRequest("", "POST", headers=request.headers, body=request.body)
        with self._pool.lease() as lease:
            ends = self._patience.attempt_ends(tries)
            return self._exchanges(request.url).attempt(sent, lease, ends, lambda answer: True, lambda: None)

    def _exchange(self, url: str) -> Exchange:
        """Return an exchange with a token URL; the connection's own headers are for its own origin."""
        own = origin_of(url) == origin_of(self._endpoint.base_url)
        endpoint = Endpoint(url, self._endpoint.headers if own else {})
        return Exchange(
            endpoint, Credentials(None), self._patience.timeouts, TOKEN_BYTES, "application/json", lambda secrets: None
        )
