"""Classes of ``requests`` by their import path: signatures over whole requests, challenges, tokens of their own."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import requests
from requests.auth import AuthBase

from airflow_paginated.core.errors import PermanentError, RequestRefused
from airflow_paginated.core.values import PageRequest
from tests.servers import FaultServer, Given, Redirect, Reply, Request, ResetInBody
from tests.transport.clients import API, QUICK, lines, page
from tests.transport.tokens import CLIENT, CLIENT_SECRET, HERE, authenticated

THREADS = 16


def of_class(name: str, **kwargs: Any) -> dict[str, Any]:
    path = name if "." in name else f"{__name__}.{name}"
    return {"kind": "custom", "auth": {"auth_class": path, **({"auth_kwargs": kwargs} if kwargs else {})}}


class Signature(AuthBase):
    """Signs method, target and body, and adds a parameter of its own to the query."""

    def __init__(self, key: str, secret: str) -> None:
        self.key, self.secret = key, secret

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.prepare_url(str(request.url), {"signed_by": self.key})
        request.headers["X-Signature"] = signature(
            str(request.method), request.path_url, request.body or b"", self.secret
        )
        return request


def signature(method: str, target: str, body: Any, secret: str) -> str:
    text = f"{method} {target} ".encode() + body
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def signed_api(request: Request) -> Reply:
    """Answer whoever signs right; say what was said."""
    told = request.headers.get("x-signature", "")
    if told != signature(request.method, request.target, request.body, CLIENT_SECRET):
        return Reply(json.dumps({"error": f"bad signature {told}"}).encode(), 403)
    return API(request)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(signed_api) as running:
        yield running


def test_every_request_is_signed_as_it_is_sent(server: FaultServer) -> None:
    server.faults = lambda request, nth: ResetInBody() if nth == 1 else None
    with authenticated(server.url, retry=QUICK, **of_class("Signature")) as client:
        for number in (1, 2, 3):
            assert client.fetch(page(number, query={"q": "ä/b c"})).lines == lines(number)
    assert [each.request.query["signed_by"] for each in server.log.requests] == [CLIENT] * 6


def test_a_body_is_signed_too(server: FaultServer) -> None:
    with authenticated(server.url, **of_class("Signature")) as client:
        got = client.fetch(PageRequest("employees?x=%2F&y=a+b", "POST", query={"page": 2}, body={"a": "ü"}))
    assert got.lines == lines(2)
    assert got.auth_params == {"signed_by"}
    assert server.log.requests[0].request.target == f"/employees?x=%2F&y=a+b&page=2&signed_by={CLIENT}"


def test_a_redirect_is_signed_anew(server: FaultServer) -> None:
    server.faults = lambda request, nth: Redirect(f"/v2{request.target}", 307) if request.path == "/employees" else None
    with authenticated(server.url, **of_class("Signature")) as client:
        assert client.fetch(page(1)).lines == lines(1)
    assert [each.request.target.count("signed_by") for each in server.log.requests] == [1, 1]


def test_what_it_puts_on_requests_is_not_repeated(server: FaultServer) -> None:
    wrong = authenticated(server.url, **of_class("Signature"), password="wr0ng s3cr3t")
    with wrong as client, pytest.raises(RequestRefused) as caught:
        client.fetch(page(1))
    assert "bad signature ***" in str(caught.value)


class Wrong(AuthBase):
    """Does what a class can do wrong."""

    def __init__(self, login: str, password: str, *, how: str) -> None:
        self.how, self.password = how, password

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.how == "header":
            request.headers["X-Key"] = f"{self.password}\n"
        elif self.how == "origin":
            request.url = str(request.url).replace("127.0.0.1", "evil.test")
        elif self.how == "body":
            request.body = iter([b"x"])  # type: ignore[assignment]
        else:
            raise KeyError(self.password)
        return request


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("header", "the name or value of 'X-Key' contains characters that HTTP headers cannot carry"),
        ("origin", "away from the connection's origin"),
        ("body", "auth_class sets a body that is neither a string nor bytes"),
        ("error", "unexpected KeyError"),
    ],
)
def test_a_class_that_does_wrong(server: FaultServer, how: str, told: str) -> None:
    with authenticated(server.url, **of_class("Wrong", how=how)) as client, pytest.raises(PermanentError) as caught:
        client.fetch(page(1))
    assert told in str(caught.value)
    assert CLIENT_SECRET not in str(caught.value)
    assert not server.log.requests


@dataclass
class DigestApi:
    """An API behind digest authentication (RFC 7616); a nonce is good for some requests."""

    user: ClassVar = (CLIENT, CLIENT_SECRET)
    api: ClassVar = API
    good_for: int = 1000
    nonces: dict[str, int] = field(default_factory=dict)
    challenges: int = 0

    def __call__(self, request: Request) -> Reply:
        said = dict(re.findall(r'(\w+)="?([^",]+)"?', request.headers.get("authorization", "")))
        nonce = said.get("nonce", "")
        if self.nonces.get(nonce, 0) < 1 or said["response"] != self._right(request, said):
            self.challenges += 1
            fresh = f"nonce{self.challenges}"
            self.nonces[fresh] = self.good_for
            challenge = f'Digest realm="all of us", nonce="{fresh}", qop="auth", algorithm=SHA-256'
            return Reply(b'{"error": "who are you?"}', 401, (("WWW-Authenticate", challenge),))
        self.nonces[nonce] -= 1
        return self.api(request)

    def _right(self, request: Request, said: dict[str, str]) -> str:
        def digest(*parts: str) -> str:
            return hashlib.sha256(":".join(parts).encode()).hexdigest()

        user = digest(self.user[0], "all of us", self.user[1])
        asked = digest(request.method, request.target)
        return digest(user, said["nonce"], said["nc"], said["cnonce"], "auth", asked)


@pytest.mark.parametrize("good_for", [1000, 2])
def test_digest_authentication_answers_its_challenges(good_for: int) -> None:
    app = DigestApi(good_for)
    with FaultServer(app) as server:
        digest = authenticated(server.url, **of_class("requests.auth.HTTPDigestAuth"))
        with digest as client, ThreadPoolExecutor(THREADS) as threads:
            pages = list(threads.map(client.fetch, [page(number % 3 + 1) for number in range(60)]))
        assert [each.lines for each in pages] == [lines(number % 3 + 1) for number in range(60)]
        assert len(server.log.requests) == 60 + app.challenges
        assert client.traffic.requests == len(server.log.requests)
    if good_for == 1000:
        assert app.challenges <= THREADS


def test_a_digest_that_is_refused_fails_at_once() -> None:
    app = DigestApi()
    with FaultServer(app) as server:
        digest = of_class("requests.auth.HTTPDigestAuth")
        with authenticated(server.url, password="another", **digest) as client, pytest.raises(RequestRefused) as caught:
            client.fetch(page(1))
    assert f"401 Unauthorized: check the credentials on {HERE}; the API says: " in str(caught.value)
    assert app.challenges == 2


class Renewed(AuthBase):
    """Gets a new token when it is told to refresh."""

    def __init__(self, login: str, password: str) -> None:
        self.token = 0

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer a-token-{self.token}"
        return request

    def refresh(self) -> None:
        self.token += 1


def test_a_class_that_can_refresh_is_asked_to() -> None:
    def app(request: Request) -> Reply:
        told = request.headers["authorization"]
        return API(request) if told == "Bearer a-token-1" else Reply(told.encode(), 401)

    with FaultServer(app) as server:
        with authenticated(server.url, **of_class("Renewed")) as client:
            assert [client.fetch(page(number)).attempts for number in (1, 2)] == [2, 1]
        server.faults = lambda request, nth: Given(401, request.headers["authorization"].encode())
        with authenticated(server.url, **of_class("Renewed")) as client, pytest.raises(RequestRefused) as caught:
            client.fetch(page(1))
    assert "a-token" not in str(caught.value)


def test_its_class_is_named_on_the_connection_only() -> None:
    from airflow_paginated.hooks.paginated_api import PaginatedApiHook
    from airflow_paginated.operators.paginated_api import PaginatedApiOperator

    for kind in (PaginatedApiHook, PaginatedApiOperator):
        names = set(kind.__init__.__code__.co_varnames)
        assert not [name for name in names if "auth" in name]
