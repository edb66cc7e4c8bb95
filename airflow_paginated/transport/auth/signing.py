"""What authentication adds to a request, and requests that are signed one by one."""

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
    """What goes over the wire, but for the framing."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Signed:
    """A request with its credentials on it: its secrets, and the query parameters that they are in."""

    request: requests.PreparedRequest
    secrets: tuple[str, ...]
    owned: frozenset[str]


def sign(url: str, wire: Wire, put_on: Callable[[requests.PreparedRequest], None]) -> Signed:
    """Return a whole request after ``put_on`` has seen it, with its query and its body."""
    request = requests.Request(wire.method, url, headers=wire.headers, data=wire.body).prepare()
    bare = request.copy()
    put_on(request)
    owned = owned_by(request, bare)
    return Signed(request, tuple(added_to(request, bare, owned)), frozenset(owned))


def wire_of(request: requests.PreparedRequest) -> Wire:
    """Return what a request of ``requests`` comes to."""
    headers = {name: value for name, value in request.headers.items() if name.lower() != "content-length"}
    body = request.body.encode() if isinstance(request.body, str) else request.body
    if not isinstance(body, bytes | None):
        raise ConfigurationError("auth_class makes a body that is neither text nor bytes")
    return Wire(str(request.method), request.path_url, headers, body)


def with_hooks(request: requests.PreparedRequest, send: Callable[[requests.PreparedRequest], Response]) -> Response:
    """Send a request and let its response hooks act, as in ``requests``: some authentication answers a challenge."""
    response = _Connection(send).send(request)
    answered: object = dispatch_hook("response", request.hooks, response)  # type: ignore[no-untyped-call]  # untyped
    return answered.answer if isinstance(answered, _ReplayedResponse) else response.answer


class _ReplayedResponse(requests.Response):
    """An answer as a hook knows it."""

    def __init__(self, answer: Response, request: requests.PreparedRequest, connection: Any) -> None:
        super().__init__()
        self.answer = answer
        self.status_code = answer.status
        self.headers = CaseInsensitiveDict(answer.headers)
        self._content = answer.body
        self.url = str(request.url)
        self.request = request
        self.connection = connection


class _Connection:
    """Where a hook sends what it says to a challenge."""

    def __init__(self, send: Callable[[requests.PreparedRequest], Response]) -> None:
        self._send = send

    def send(self, request: requests.PreparedRequest, **options: object) -> _ReplayedResponse:
        return _ReplayedResponse(self._send(request), request, self)


def owned_by(request: requests.PreparedRequest, bare: requests.PreparedRequest) -> dict[str, str]:
    """Return the query parameters that authentication has put on a request."""
    known = parse_qsl(urlsplit(str(bare.url)).query)
    return {name: value for name, value in parse_qsl(urlsplit(str(request.url)).query) if (name, value) not in known}


def added_to(
    request: requests.PreparedRequest, bare: requests.PreparedRequest, owned: Mapping[str, str]
) -> Iterator[str]:
    """Yield what authentication has put on a request, as far as it is long enough to be a secret."""
    changed = [value for name, value in request.headers.items() if bare.headers.get(name) != value]
    for value in (*changed, *owned.values()):
        yield from (word for word in value.split() if len(word) >= MIN_MASKED_CHARS)
