"""Plain sessions of ``requests``, whose credentials go to the connection's origin only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import requests
from requests.auth import AuthBase

from airflow_paginated.paging.deadline import NEVER
from airflow_paginated.paging.errors import OriginError, TransientError
from airflow_paginated.paging.links import disowned_url
from airflow_paginated.paging.policies import Timeouts
from airflow_paginated.transport.credentials import Credentials, Grant, Refreshable, Renewing, Token
from airflow_paginated.transport.exchange import Endpoint
from airflow_paginated.transport.faults import Fault
from airflow_paginated.transport.gate import Gate, RetryBudget
from airflow_paginated.transport.origin import origin_of
from airflow_paginated.transport.patience import Patience
from airflow_paginated.transport.policies import RequestRetry
from airflow_paginated.transport.renewals import Renewals
from airflow_paginated.transport.scrub import Scrubber
from airflow_paginated.transport.sessions import SessionOptions, SessionPool
from airflow_paginated.transport.signing import owned_by


@dataclass(frozen=True, slots=True)
class LoneRenewals:
    """Gets credentials for who has no client: each time with a connection of its own."""

    endpoint: Endpoint
    session: SessionOptions
    retry: RequestRetry
    timeouts: Timeouts
    learn: Callable[[Iterable[str]], None]
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def token(self, grant: Grant) -> Token:
        """Ask for a token."""
        with self._renewals() as renewals:
            return renewals.token(grant)

    def refresh(self, auth: Refreshable) -> None:
        """Let an ``Auth`` renew itself."""
        with self._renewals() as renewals:
            renewals.refresh(auth)

    @contextmanager
    def _renewals(self) -> Iterator[Renewals]:
        patience = Patience(self.retry, self.timeouts, NEVER, Gate(), RetryBudget(self.retry.budget_for(1)))
        with closing(SessionPool(self.session)) as pool:
            yield Renewals(self.endpoint, pool, patience, Scrubber(self.secrets), self.learn, lambda: None)


class BoundAuth(AuthBase):
    """Puts headers and credentials of an endpoint on requests to its origin, and renews them once after a 401."""

    def __init__(self, endpoint: Endpoint, credentials: Credentials, renewing: Renewing) -> None:
        self._endpoint = endpoint
        self._origin = origin_of(endpoint.base_url)
        self._credentials = credentials
        self._renewing = renewing
        self._headers: set[str] = set()
        """The names of headers that were put on requests; threads only add, as to the next one."""
        self._parameters: set[str] = set()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Authenticate a request to the own origin; leave any other as it is."""
        url = str(request.url)
        if self._leads_elsewhere(url):
            return request
        bare = request.copy()
        for name, value in self._endpoint.headers.items():
            request.headers.setdefault(name, value)
        self._credentials.ready(self._renewing)
        replay = _Replay(self._credentials, self._renewing, self._credentials.generation, url)
        try:
            self._credentials.put_on(request)
        except Fault as exc:
            raise TransientError(f"{self._endpoint.name}: {exc.cause}") from None
        self._headers.update(name for name, value in request.headers.items() if bare.headers.get(name) != value)
        self._parameters.update(owned_by(request, bare))
        if self._credentials.refreshable:
            request.register_hook("response", replay)  # type: ignore[no-untyped-call]  # requests is untyped here
        return request

    def follow(self, request: requests.PreparedRequest) -> None:
        """Take off a redirected request what was put on it, and authenticate it anew if it stays."""
        for name in tuple(self._headers):
            request.headers.pop(name, None)
        request.url = disowned_url(str(request.url), tuple(self._parameters))
        kept = [each for each in request.hooks["response"] if not isinstance(each, _Replay)]
        request.hooks = {**request.hooks, "response": kept}
        request.prepare_auth(self)

    def _leads_elsewhere(self, url: str) -> bool:
        try:
            return origin_of(url) != self._origin
        except OriginError:
            return True


@dataclass(frozen=True, slots=True)
class _Replay:
    """A response hook: after a 401, new credentials and the same request once more."""

    credentials: Credentials
    renewing: Renewing
    generation: int
    url: str
    """Without what was put on it."""

    def __call__(self, response: requests.Response, **options: Any) -> requests.Response:
        again = response.request.copy()
        whole = isinstance(again.body, str | bytes | None)
        if response.status_code != HTTPStatus.UNAUTHORIZED or not whole:
            return response
        self.credentials.renew(self.generation, self.renewing)
        again.url = self.url
        again.hooks = {**again.hooks, "response": []}
        self.credentials.put_on(again)
        response.close()
        answer = response.connection.send(again, **options)
        answer.history.append(response)
        answer.request = again
        return answer


class BoundSession(requests.Session):
    """A session whose credentials do not follow a redirect to another origin."""

    auth: BoundAuth

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Authenticate a redirected request, if it stays on the own origin."""
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]  # requests is untyped here
        self.auth.follow(prepared_request)
