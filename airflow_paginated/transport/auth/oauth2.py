"""OAuth 2.0 client credentials (RFC 6749, 4.4)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, quote_plus, urlencode

import requests

from airflow_paginated.core.errors import RequestRefused, ResponseError
from airflow_paginated.core.paths import seen
from airflow_paginated.core.secrets import MIN_MASKED_CHARS
from airflow_paginated.core.values import Json
from airflow_paginated.transport.auth import fields as placement
from airflow_paginated.transport.auth.credentials import Quote, Token, TokenRequest
from airflow_paginated.transport.auth.fields import Authentication, AuthFields, Placement
from airflow_paginated.transport.body import DecodedBody
from airflow_paginated.transport.origin import origin_of
from airflow_paginated.transport.response import SUCCESS_STATUSES, phrase
from airflow_paginated.transport.retry import SERVER, RetryableError

OAUTH2_CLIENT_CREDENTIALS: Final = "oauth2_client_credentials"
OAUTH2_OPTIONS: Final = (
    "token_url",
    "client_auth_method",
    "scope",
    "audience",
    "oauth2_params",
    *placement.PLACEMENT_OPTIONS,
)
METHODS: Final = ("client_secret_basic", "client_secret_post")
FORM: Final = "application/x-www-form-urlencoded"
TRANSIENT: Final = ("server_error", "temporarily_unavailable")
CLIENT_ADVICE: Final[Mapping[str, str]] = {
    "invalid_client": "check login (client_id), password (client_secret) and client_auth_method: they may be revoked",
    "unauthorized_client": "this client may not use the grant 'client_credentials'",
    "unsupported_grant_type": "the server does not know the grant 'client_credentials'; check token_url",
    "invalid_scope": "check scope",
    "invalid_target": "check audience",
    "invalid_request": "check client_auth_method, scope, audience and oauth2_params",
}


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """A grant to a client that shows its id and its secret, at the token URL and nowhere else."""

    where: str
    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    place: Placement
    method: str = METHODS[0]
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """Name the connection and the server; the whole of a field called token_url is stars in Airflow's logs."""
        return f"{self.where}: asking {origin_of(self.token_url)} for a token"

    def ask(self) -> TokenRequest:
        """Return the request; the client's id and secret are encoded as RFC 6749, 2.3.1 says."""
        headers = {"Content-Type": FORM}
        form = {"grant_type": "client_credentials", **self.parameters}
        if self.method == "client_secret_basic":
            pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            form = {"client_id": self.client_id, "client_secret": self.client_secret, **form}
        return TokenRequest(self.token_url, headers, urlencode(form).encode())

    def read(self, status: int, reading: DecodedBody, quote: Quote) -> Token:
        """Return the token (RFC 6749, 5.1), or raise what the error is (5.2)."""
        # Some old servers send a form in place of JSON.
        answer = reading.value if isinstance(reading.value, dict) else dict(parse_qsl(reading.text))
        if status not in SUCCESS_STATUSES or answer.get("error"):
            said = f"; the server says: {quote(reading.text)}" if reading.text.strip() else ""
            raise _refused(status, str(answer.get("error")), said)
        token = answer.get("access_token")
        if isinstance(token, str) and token:
            return Token(token, _lifetime(answer.get("expires_in")))
        if isinstance(reading.value, dict):
            raise ResponseError(f"the answer has no access_token, it is {seen(reading.value)}; check token_url")
        raise RetryableError("the answer is no JSON object with an access_token; check token_url", SERVER)

    def put_on(self, request: requests.PreparedRequest, token: str) -> None:
        """Let a request carry the token."""
        self.place.put_on(request, token)


def build(fields: AuthFields) -> Authentication:
    """Return the grant: login and password are the client's id and secret."""
    fields.need(OAUTH2_CLIENT_CREDENTIALS, login="the client_id", password="the client_secret")  # noqa: S106 - what the field is for
    place = placement.placement(fields, "Authorization", "Bearer")
    grant = ClientCredentials(
        fields.where,
        fields.url("token_url", OAUTH2_CLIENT_CREDENTIALS),
        fields.login,
        fields.password,
        place,
        fields.choice("client_auth_method", METHODS),
        _parameters(fields),
    )
    coded = f"{quote_plus(fields.login)}:{quote_plus(fields.password)}"
    more = (value for value in fields.mapping("oauth2_params").values() if len(value) >= MIN_MASKED_CHARS)
    return Authentication(grant, (fields.password, coded, *more), place.own_header)


def _parameters(fields: AuthFields) -> dict[str, str]:
    """Return what is sent beside the client and its grant."""
    named = {name: fields.text(name) for name in ("scope", "audience")}
    more = fields.mapping("oauth2_params")
    for name, value in more.items():
        if not isinstance(value, str):
            raise fields.error(f"oauth2_params: {name!r} must be a text")
        if name in ("grant_type", "client_id", "client_secret", *named):
            raise fields.error(f"oauth2_params: {name!r} has a field of its own")
    return {name: value for name, value in {**named, **more}.items() if value}


def _lifetime(seconds: Json) -> float | None:
    """Return how long a token lasts, or ``None`` if the server does not say so: it is then used until it is refused."""
    try:
        lifetime = float(seconds)
    except (TypeError, ValueError, OverflowError):
        return None
    return lifetime if lifetime > 0 else None


def _refused(status: int, error: str, said: str) -> Exception:
    if error in TRANSIENT:
        return RetryableError(f"{phrase(status)}, {error}", SERVER)
    advice = CLIENT_ADVICE.get(error, CLIENT_ADVICE["invalid_client"] if status in (401, 403) else "check token_url")
    return RequestRefused(f"{phrase(status)}{f', {error}' if error in CLIENT_ADVICE else ''}: {advice}{said}")
