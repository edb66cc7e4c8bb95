"""Credentials that authentication adds to a request, and requests that are signed one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.hooks import dispatch_hook
from requests.structures import CaseInsensitiveDict

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.secrets import MIN_MASKED_CHARS
from airflow_paginated.transport.body import Response


class Wire(NamedTuple):
    """A request as sent, without its framing."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Signed:
    """An authenticated request, its secrets, and the names of their query parameters."""

    request: requests.PreparedRequest
    secrets: tuple[str, ...]
    auth_params: frozenset[str]


def sign(url: str, wire: Wire, put_on: Callable[[requests.PreparedRequest], None]) -> Signed:
    """Return a request that ``put_on`` has authenticated, with its query and body in place."""
    request = requests.Request(wire.method, url, headers=wire.headers, data=wire.body).prepare()
    bare = request.copy()
    put_on(request)
    auth_params = auth_params_of(request, bare)
    return Signed(request, tuple(added_to(request, bare, auth_params)), frozenset(auth_params))


def wire_of(request: requests.PreparedRequest) -> Wire:
    """Return a prepared request as it is sent."""
    headers = {name: value for name, value in request.headers.items() if name.lower() != "content-length"}
    body = request.body.encode() if isinstance(request.body, str) else request.body
    if not isinstance(body, bytes | None):
        raise ConfigurationError("auth_class sets a body that is neither a string nor bytes")
    return Wire(str(request.method), request.path_url, headers, body)


def with_hooks(request: requests.PreparedRequest, send: Callable[[requests.PreparedRequest], Response]) -> Response:
    """Send a request and run its response hooks, as in ``requests``: some respond to a challenge."""
    response = _Connection(send).send(request)
    answered: object = dispatch_hook("response", request.hooks, response)  # type: ignore[no-untyped-call]  # untyped
    return answered.response if isinstance(answered, _ReplayedResponse) else response.response


class _ReplayedResponse(requests.Response):
    """A response as hooks expect it."""

    def __init__(self, response: Response, request: requests.PreparedRequest, connection: Any) -> None:
        super().__init__()
        self.response = response
        self.status_code = response.status
        self.headers = CaseInsensitiveDict(response.headers)
        self._content = response.body
        self.url = str(request.url)
        self.request = request
        self.connection = connection


class _Connection:
    """The connection through which a hook sends another request."""

    def __init__(self, send: Callable[[requests.PreparedRequest], Response]) -> None:
        self._send = send

    def send(self, request: requests.PreparedRequest, **options: object) -> _ReplayedResponse:
        return _ReplayedResponse(self._send(request), request, self)


def auth_params_of(request: requests.PreparedRequest, bare: requests.PreparedRequest) -> dict[str, str]:
    """Return the query parameters that authentication added."""
    known = parse_qsl(urlsplit(str(bare.url)).query)
    return {name: value for name, value in parse_qsl(urlsplit(str(request.url)).query) if (name, value) not in known}


def added_to(
    request: requests.PreparedRequest, bare: requests.PreparedRequest, auth_params: Mapping[str, str]
) -> Iterator[str]:
    """Yield the values that authentication added and that are long enough to be secrets."""
    changed = [value for name, value in request.headers.items() if bare.headers.get(name) != value]
    for value in (*changed, *auth_params.values()):
        yield from (word for word in value.split() if len(word) >= MIN_MASKED_CHARS)
