"""OAuth 2.0 client credentials (RFC 6749, 4.4)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, quote_plus, urlencode

import requests

from airflow_paginated.core.errors import RequestRefused, ResponseError
from airflow_paginated.core.paths import describe_shape
from airflow_paginated.core.secrets import MIN_MASKED_CHARS
from airflow_paginated.core.values import Json
from airflow_paginated.transport.auth import fields as placement
from airflow_paginated.transport.auth.credentials import Quote, Token, TokenRequest
from airflow_paginated.transport.auth.fields import Authentication, AuthFields, Placement
from airflow_paginated.transport.body import DecodedBody
from airflow_paginated.transport.origin import origin_of
from airflow_paginated.transport.response import SUCCESS_STATUSES, phrase
from airflow_paginated.transport.retry import SERVER_WEIGHT, RetryableError

OAUTH2_CLIENT_CREDENTIALS: Final = "oauth2_client_credentials"
OAUTH2_OPTIONS: Final = (
    "token_url",
    "client_auth_method",
    "scope",
    "audience",
    "oauth2_params",
    *placement.PLACEMENT_OPTIONS,
)
CLIENT_AUTH_METHODS: Final = ("client_secret_basic", "client_secret_post")
FORM_TYPE: Final = "application/x-www-form-urlencoded"
TRANSIENT_ERRORS: Final = ("server_error", "temporarily_unavailable")
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
    """A grant for a client's id and secret, which are sent to the token URL only."""

    where: str
    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    place: Placement
    method: str = CLIENT_AUTH_METHODS[0]
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """The connection and the server; Airflow masks the value of a field named token_url in its logs."""
        return f"{self.where}: requesting a token from {origin_of(self.token_url)}"

    def ask(self) -> TokenRequest:
        """Return the request; the client's id and secret are encoded as in RFC 6749, 2.3.1."""
        headers = {"Content-Type": FORM_TYPE}
        form = {"grant_type": "client_credentials", **self.parameters}
        if self.method == "client_secret_basic":
            pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            form = {"client_id": self.client_id, "client_secret": self.client_secret, **form}
        return TokenRequest(self.token_url, headers, urlencode(form).encode())

    def read(self, status: int, body: DecodedBody, quote: Quote) -> Token:
        """Return the token (RFC 6749, 5.1), or raise the server's error (5.2)."""
        # Some old servers send a form instead of JSON.
        payload = body.value if isinstance(body.value, dict) else dict(parse_qsl(body.text))
        if status not in SUCCESS_STATUSES or payload.get("error"):
            excerpt = f"; the server says: {quote(body.text)}" if body.text.strip() else ""
            raise _refused(status, str(payload.get("error")), excerpt)
        token = payload.get("access_token")
        if isinstance(token, str) and token:
            return Token(token, _lifetime(payload.get("expires_in")))
        if isinstance(body.value, dict):
            raise ResponseError(
                f"the response has no access_token, it is {describe_shape(body.value)}; check token_url"
            )
        raise RetryableError("the response is not a JSON object with an access_token; check token_url", SERVER_WEIGHT)

    def put_on(self, request: requests.PreparedRequest, token: str) -> None:
        """Put the token on a request."""
        self.place.put_on(request, token)


def build(fields: AuthFields) -> Authentication:
    """Return the grant, with login and password as the client's id and secret."""
    fields.need(OAUTH2_CLIENT_CREDENTIALS, login="the client_id", password="the client_secret")  # noqa: S106 - what the field is for
    place = placement.placement(fields, "Authorization", "Bearer")
    grant = ClientCredentials(
        fields.where,
        fields.url("token_url", OAUTH2_CLIENT_CREDENTIALS),
        fields.login,
        fields.password,
        place,
        fields.choice("client_auth_method", CLIENT_AUTH_METHODS),
        _parameters(fields),
    )
    coded = f"{quote_plus(fields.login)}:{quote_plus(fields.password)}"
    more = (value for value in fields.mapping("oauth2_params").values() if len(value) >= MIN_MASKED_CHARS)
    return Authentication(grant, (fields.password, coded, *more), place.own_header)


def _parameters(fields: AuthFields) -> dict[str, str]:
    """Return the additional form fields."""
    named = {name: fields.text(name) for name in ("scope", "audience")}
    more = fields.mapping("oauth2_params")
    for name, value in more.items():
        if not isinstance(value, str):
            raise fields.error(f"oauth2_params: {name!r} must be a string")
        if name in ("grant_type", "client_id", "client_secret", *named):
            raise fields.error(f"oauth2_params: {name!r} has a field of its own")
    return {name: value for name, value in {**named, **more}.items() if value}


def _lifetime(seconds: Json) -> float | None:
    """Return a token's lifetime, or ``None`` if unknown: it is then used until it is refused."""
    try:
        lifetime = float(seconds)
    except (TypeError, ValueError, OverflowError):
        return None
    return lifetime if lifetime > 0 else None


def _refused(status: int, error: str, excerpt: str) -> Exception:
    if error in TRANSIENT_ERRORS:
        return RetryableError(f"{phrase(status)}, {error}", SERVER_WEIGHT)
    advice = CLIENT_ADVICE.get(error, CLIENT_ADVICE["invalid_client"] if status in (401, 403) else "check token_url")
    return RequestRefused(f"{phrase(status)}{f', {error}' if error in CLIENT_ADVICE else ''}: {advice}{excerpt}")
