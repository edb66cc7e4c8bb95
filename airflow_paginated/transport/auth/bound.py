"""Credentials for a plain session, bound to the connection's origin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests
from requests.auth import AuthBase
from requests.utils import get_netrc_auth

from airflow_paginated.core.errors import (
    OriginError,
    TransientError,
)
from airflow_paginated.core.links import url_without_params
from airflow_paginated.transport.attempt import Endpoint
from airflow_paginated.transport.auth.credentials import Credentials
from airflow_paginated.transport.auth.signing import auth_params_of
from airflow_paginated.transport.connections import SessionOptions
from airflow_paginated.transport.origin import origin_of
from airflow_paginated.transport.retry import RetryableError


class BoundAuth(AuthBase):
    """Puts an endpoint's headers and credentials on requests to its origin only."""

    def __init__(self, endpoint: Endpoint, credentials: Credentials) -> None:
        self._endpoint = endpoint
        self._origin = origin_of(endpoint.base_url)
        self._credentials = credentials
        self._headers: set[str] = set()
        """Names of the headers put on requests; threads only add to it, and to the parameters."""
        self._parameters: set[str] = set()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Authenticate a request to the connection's origin; leave others unchanged."""
        try:
            if origin_of(str(request.url)) != self._origin:
                return request
        except OriginError:
            return request
        bare, hooks = request.copy(), tuple(request.hooks["response"])
        for name, value in self._endpoint.headers.items():
            request.headers.setdefault(name, value)
        try:
            self._credentials.put_on(request)
        except RetryableError as exc:
            raise TransientError(f"{self._endpoint.name}: {exc.cause}") from None
        self._headers.update(name for name, value in request.headers.items() if bare.headers.get(name) != value)
        self._parameters.update(auth_params_of(request, bare))
        added = [_AuthHook(hook) for hook in request.hooks["response"] if hook not in hooks]
        request.hooks = {**request.hooks, "response": [*hooks, *added]}
        return request

    def follow(self, request: requests.PreparedRequest) -> None:
        """Remove the credentials from a redirected request, and authenticate it again if it stays at the origin."""
        for name in tuple(self._headers):
            request.headers.pop(name, None)
        request.url = url_without_params(str(request.url), tuple(self._parameters))
        kept = [hook for hook in request.hooks["response"] if not isinstance(hook, _AuthHook)]
        request.hooks = {**request.hooks, "response": kept}
        request.prepare_auth(self)


class BoundSession(requests.Session):
    """A session whose credentials do not follow a redirect to another origin."""

    auth: BoundAuth

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Authenticate a redirected request again."""
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]  # requests is untyped here
        self.auth.follow(prepared_request)


class _AuthHook:
    """Marks a response hook of the authentication, which would send credentials to any origin that asks."""

    def __init__(self, hook: Callable[..., Any]) -> None:
        self._hook = hook

    def __call__(self, response: requests.Response, **options: Any) -> Any:
        return self._hook(response, **options)


def netrc_login(endpoint: Endpoint, session: SessionOptions) -> tuple[str, str] | None:
    """Return the netrc's login and password for the endpoint, if its settings use it."""
    named = any(name.lower() == "authorization" for name in endpoint.headers)
    if endpoint.auth is not None or named or not session.trust_env:
        return None
    return get_netrc_auth(endpoint.base_url)
