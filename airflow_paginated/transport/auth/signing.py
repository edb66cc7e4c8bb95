"""What authentication adds to a request, and requests that are signed one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.auth import AuthBase
from requests.hooks import dispatch_hook
from requests.structures import CaseInsensitiveDict

from airflow_paginated.core.errors import ConfigurationError, OriginError, TransientError
from airflow_paginated.core.links import disowned_url
from airflow_paginated.core.secrets import MIN_MASKED_CHARS
from airflow_paginated.transport.attempt import Endpoint, Response
from airflow_paginated.transport.auth.credentials import Credentials
from airflow_paginated.transport.origin import origin_of
from airflow_paginated.transport.retry import RetryableError


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


class BoundAuth(AuthBase):
    """Puts headers and credentials of an endpoint on requests to its origin, and on no other."""

    def __init__(self, endpoint: Endpoint, credentials: Credentials) -> None:
        self._endpoint = endpoint
        self._origin = origin_of(endpoint.base_url)
        self._credentials = credentials
        self._headers: set[str] = set()
        """The names of headers that were put on requests; threads only add, as to the next one."""
        self._parameters: set[str] = set()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Authenticate a request to the connection's origin; leave any other as it is."""
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
        self._parameters.update(owned_by(request, bare))
        added = [_AuthHook(hook) for hook in request.hooks["response"] if hook not in hooks]
        request.hooks = {**request.hooks, "response": [*hooks, *added]}
        return request

    def follow(self, request: requests.PreparedRequest) -> None:
        """Take the credentials off a redirected request, and authenticate it anew if it stays at the origin."""
        for name in tuple(self._headers):
            request.headers.pop(name, None)
        request.url = disowned_url(str(request.url), tuple(self._parameters))
        kept = [hook for hook in request.hooks["response"] if not isinstance(hook, _AuthHook)]
        request.hooks = {**request.hooks, "response": kept}
        request.prepare_auth(self)


class _AuthHook:
    """A response hook of the authentication, which would answer the challenge of any origin."""

    def __init__(self, hook: Callable[..., Any]) -> None:
        self._hook = hook

    def __call__(self, response: requests.Response, **options: Any) -> Any:
        return self._hook(response, **options)


class BoundSession(requests.Session):
    """A session whose credentials do not follow a redirect to another origin."""

    auth: BoundAuth

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Authenticate a redirected request anew."""
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]  # requests is untyped here
        self.auth.follow(prepared_request)
