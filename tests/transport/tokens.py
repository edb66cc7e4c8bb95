"""An API that wants tokens, and what gives them out: by OAuth2, or to whoever logs in."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs

from airflow_paginated.transport import ClientOptions, PageClient
from airflow_paginated.transport.attempt import Endpoint
from airflow_paginated.transport.auth import authentication
from airflow_paginated.transport.auth.fields import AuthFields
from tests.servers import PagedApi, Reply, Request
from tests.transport.clients import ONCE, options

HERE = "connection 'hr'"
CLIENT = "robot"
CLIENT_SECRET = "s3cr3t/of+the house"
BASIC = b64encode(b"robot:s3cr3t%2Fof%2Bthe+house").decode()
USUAL = {"oauth2_client_credentials": {"token_url": "/token"}, "session_token": {"login_endpoint": "/login"}}
BIG = PagedApi(rows=2000, page_size=10)


def json_reply(value: Any, status: int = 200) -> Reply:
    return Reply(json.dumps(value).encode(), status)


@dataclass
class Tokens:
    """Gives out ``token-number-<n>``; the newest is the valid one. Changed by the server's thread."""

    lifetime: float | str | None = 3600
    known: str = BASIC
    issued: int = 0
    valid: str = "none yet"
    good: bool = True
    """Whether what is given out is valid."""
    before: Callable[[], object] = lambda: None

    def oauth2(self, request: Request) -> Reply:
        """Answer as RFC 6749 says."""
        self.before()
        form = parse_qs(request.body.decode())
        told = request.headers.get("authorization")
        if told != f"Basic {self.known}":
            return json_reply({"error": "invalid_client", "error_description": f"who is {told}?"}, 401)
        if form["grant_type"] != ["client_credentials"]:
            return json_reply({"error": "unsupported_grant_type"}, 400)
        answer = {"access_token": self.issue(), "token_type": "Bearer", "expires_in": self.lifetime}
        return json_reply({name: value for name, value in answer.items() if value is not None})

    def login(self, request: Request) -> Reply:
        """Answer to a user name and a password."""
        self.before()
        if json.loads(request.body) != {"username": CLIENT, "password": CLIENT_SECRET}:
            return json_reply({"error": "no such user"}, 400)
        return json_reply({"session": {"id": self.issue()}})

    def issue(self) -> str:
        self.issued += 1
        token = f"token-number-{self.issued}"
        self.valid = token if self.good else "none that is told"
        return token


@dataclass
class Guarded:
    """An API behind tokens, and ``/token`` and ``/login`` beside it; the server's thread changes it."""

    tokens: Tokens = field(default_factory=Tokens)
    api: PagedApi = BIG
    expires_at: set[int] = field(default_factory=set)
    """The token expires when one of these pages is seen for the first time."""
    refused: int = 0

    def __call__(self, request: Request) -> Reply:
        if request.path in ("/token", "/login"):
            return self.tokens.oauth2(request) if request.path == "/token" else self.tokens.login(request)
        number = int(request.query["page"])
        if number in self.expires_at:
            self.expires_at.remove(number)
            self.tokens.valid = "none any more"
        told = request.headers.get("authorization", "")
        if told != f"Bearer {self.tokens.valid}":
            self.refused += 1
            return json_reply({"error": f"expired: {told}"}, 401)
        return self.api(request)

    def page_of(self, request: Request) -> tuple[str, int] | None:
        return None if request.path in ("/token", "/login") else self.api.page_of(request)


def auth_options(url: str, kind: str = "oauth2_client_credentials", **given: Any) -> ClientOptions:
    """Return options of a client that authenticates as a connection says; ``auth`` are the connection's options."""
    options_of_kind = {**USUAL.get(kind, {}), **given.pop("auth", {})}
    fields = AuthFields(HERE, url, CLIENT, given.pop("password", CLIENT_SECRET), options_of_kind)
    auth = authentication(fields, kind)
    made = options(url, secrets=auth.secrets, **{"retry": ONCE, **given})
    return replace(made, endpoint=Endpoint(url, made.endpoint.headers, auth.auth, HERE, auth.signs))


def authenticated(url: str, kind: str = "oauth2_client_credentials", **given: Any) -> PageClient:
    """Return a client with these; a context manager."""
    return PageClient(auth_options(url, kind, **given))
