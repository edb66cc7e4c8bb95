"""A login: user name and password are posted, and the response contains a token for all other requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
import requests

from airflow_paginated.core.errors import RequestRefused, ResponseError
from airflow_paginated.core.paths import ABSENT, ALL, check_path, describe_path, parse_path, select
from airflow_paginated.core.values import Json
from airflow_paginated.transport.auth import fields as placement
from airflow_paginated.transport.auth.credentials import Quote, Token, TokenRequest
from airflow_paginated.transport.auth.fields import Authentication, AuthFields, Placement
from airflow_paginated.transport.body import DecodedBody
from airflow_paginated.transport.origin import shown_url
from airflow_paginated.transport.response import SUCCESS_STATUSES, phrase
from airflow_paginated.transport.retry import SERVER_WEIGHT, RetryableError

SESSION_TOKEN: Final = "session_token"  # noqa: S105  # the name of an auth type
SESSION_TOKEN_OPTIONS: Final = (
    "login_endpoint",
    "login_body",
    "login_format",
    "session_path",
    *placement.PLACEMENT_OPTIONS,
)
LOGIN_FORMATS: Final[Mapping[str, str]] = {"json": "application/json", "form": "application/x-www-form-urlencoded"}
DEFAULT_LOGIN_BODY: Final = {"username": "{login}", "password": "{password}"}


@dataclass(frozen=True, slots=True)
class Login:
    """A grant for a user's login and password, sent to the login URL only; the token lasts until it is refused."""

    where: str
    url: str
    body: Json = field(repr=False)
    session_path: str
    place: Placement
    format: str = "json"

    @property
    def name(self) -> str:
        """The connection and the login URL."""
        return f"{self.where}: logging in at {shown_url(self.url, {}, ())}"

    def ask(self) -> TokenRequest:
        """Return the request."""
        encoded = urlencode(self.body).encode() if self.format == "form" else msgspec.json.encode(self.body)
        return TokenRequest(self.url, {"Content-Type": LOGIN_FORMATS[self.format]}, encoded)

    def read(self, status: int, body: DecodedBody, quote: Quote) -> Token:
        """Return the token at ``session_path``."""
        if status not in SUCCESS_STATUSES:
            excerpt = f"; the API says: {quote(body.text)}" if body.text.strip() else ""
            advice = "login and password" if status in (400, 401, 403, 422) else "login_endpoint"
            raise RequestRefused(f"{phrase(status)}: check {advice} on the connection{excerpt}")
        if body.value is ABSENT:
            raise RetryableError("the response is not JSON; check login_endpoint", SERVER_WEIGHT)
        token = select(body.value, self.session_path)
        if not isinstance(token, str) or not token:
            there = describe_path(body.value, "the response", self.session_path)
            raise ResponseError(f"session_path {self.session_path!r} does not lead to a string; {there}")
        return Token(token)

    def put_on(self, request: requests.PreparedRequest, token: str) -> None:
        """Put the token on a request."""
        self.place.put_on(request, token)


def build(fields: AuthFields) -> Authentication:
    """Return the grant."""
    fields.need(SESSION_TOKEN, login="a user name", password="the password")  # noqa: S106 - what the field is for
    place = placement.placement(fields, "Authorization", "Bearer")
    path = fields.text("session_path", "token")
    check_path(path, f"{fields.where}: session_path")
    if ALL in parse_path(path):
        raise fields.error("session_path must lead to a single token: it cannot contain [*]")
    grant = Login(
        fields.where,
        fields.url("login_endpoint", SESSION_TOKEN),
        _body(fields),
        path,
        place,
        fields.choice("login_format", tuple(LOGIN_FORMATS)),
    )
    return Authentication(grant, (fields.password,), place.own_header)


def _body(fields: AuthFields) -> Json:
    """Return the body; ``{login}`` and ``{password}`` are placeholders for the connection's fields."""
    body = fields.mapping("login_body", DEFAULT_LOGIN_BODY)
    if fields.text("login_format") == "form" and not all(isinstance(value, str) for value in body.values()):
        raise fields.error("login_body: form values must be strings")
    if "{password}" not in _strings(body):
        raise fields.error("login_body: one value must be exactly '{password}', for the password")
    return _filled(body, {"{login}": fields.login, "{password}": fields.password})


def _filled(value: Any, known: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {name: _filled(each, known) for name, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, known) for each in value]
    return known.get(value, value) if isinstance(value, str) else value


def _strings(value: Any) -> set[str]:
    if isinstance(value, Mapping | list):
        return set().union(*map(_strings, value.values() if isinstance(value, Mapping) else value))
    return {value} if isinstance(value, str) else set()
