"""From an Airflow connection to values: where to, as whom, and by which policies."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from airflow_paginated.paging.dicts import check_choice, check_flag, check_keys
from airflow_paginated.paging.errors import ConfigurationError, OriginError
from airflow_paginated.paging.withheld import SENSITIVE, SHORTEST
from airflow_paginated.transport.exchange import Endpoint
from airflow_paginated.transport.origin import origin_of
from airflow_paginated.transport.sessions import SessionOptions

if TYPE_CHECKING:
    from airflow.sdk import Connection

POLICIES: Final = ("retry", "rate_limit", "limits", "completeness", "response")
SESSION: Final = ("verify", "cert", "proxies", "trust_env")
EXTRAS: Final = ("auth", "headers", *SESSION, *POLICIES)
HTTP_HOOK_EXTRAS: Final = frozenset(
    {"timeout", "allow_redirects", "proxy", "stream", "check_response", "max_redirects", "srv_lookup"}
)
"""What HttpHook reads from the extras of an ``http`` connection; no headers."""


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """What a connection says; ``policies`` by name, as dicts. ``secrets`` must not stand in any message."""

    endpoint: Endpoint
    session: SessionOptions
    policies: Mapping[str, Mapping[str, Any]]
    secrets: tuple[str, ...] = field(repr=False)


class BearerAuth(AuthBase):
    """Sends ``Authorization: Bearer`` (RFC 6750)."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def settings_of(connection: Connection) -> ConnectionSettings:
    """Read a ``paginated_api`` or a plain ``http`` connection.

    Raises ``ConfigurationError``, which names the field.
    """
    extra = connection.extra_dejson
    where = f"connection {connection.conn_id!r}"
    if connection.conn_type != "http":
        check_keys(extra, EXTRAS, f"{where}: extra")
    headers = _headers(connection, extra, where)
    session = _session(extra, where)
    auth, secrets = _auth(connection, extra, where)
    return ConnectionSettings(
        endpoint=Endpoint(_base_url(connection, where), headers, auth),
        session=session,
        policies={name: _mapping(extra[name], f"{where}: {name}") for name in POLICIES if extra.get(name)},
        secrets=(*secrets, *filter(None, _secrets_in(headers, session))),
    )


def _base_url(connection: Connection, where: str) -> str:
    host = connection.host or ""
    schema = connection.schema or ("http" if connection.conn_type == "http" else "https")
    url = host if "://" in host else f"{schema}://{host}"
    if not host:
        raise ConfigurationError(f"{where}: the host is missing")
    if connection.port:
        scheme, _, rest = url.partition("://")
        name, slash, path = rest.partition("/")
        url = f"{scheme}://{name}:{connection.port}{slash}{path}"
    try:
        origin_of(url)
    except OriginError as exc:
        raise ConfigurationError(f"{where}: host: {exc}") from None
    if "?" in url or "#" in url:
        raise ConfigurationError(f"{where}: host: it must have no query: a key belongs in headers, or in the password")
    return url


def _auth(connection: Connection, extra: Mapping[str, Any], where: str) -> tuple[AuthBase | None, tuple[str, ...]]:
    login, password = connection.login, connection.password
    kind = extra.get("auth") or ("basic" if login else "bearer" if password else "none")
    check_choice(kind, ("none", "basic", "bearer"), f"{where}: auth")
    if kind == "none":
        return None, (password,) if password else ()
    if kind == "bearer":
        if not password:
            raise ConfigurationError(f"{where}: auth 'bearer' needs the token as password")
        return BearerAuth(password), (password,)
    if not login:
        raise ConfigurationError(f"{where}: auth 'basic' needs a login")
    password = password or ""
    return HTTPBasicAuth(login.encode(), password.encode()), (password, f"{login}:{password}")


def _headers(connection: Connection, extra: Mapping[str, Any], where: str) -> dict[str, str]:
    headers = _mapping(extra.get("headers") or {}, f"{where}: headers")
    if connection.conn_type == "http":
        known = {*EXTRAS, *HTTP_HOOK_EXTRAS}
        headers |= {name: value for name, value in extra.items() if name not in known and isinstance(value, str)}
    for name, value in headers.items():
        if not isinstance(value, str):
            raise ConfigurationError(f"{where}: headers: {name!r} must be a string")
    return headers


def _secrets_in(headers: Mapping[str, str], session: SessionOptions) -> Iterator[str]:
    """Yield what must not be shown: a server may repeat a token without its scheme, or decode it."""
    for name, value in headers.items():
        yield value
        scheme, _, rest = value.partition(" ")
        if SENSITIVE.fullmatch(name):
            yield from (each for each in value.split() if len(each) >= SHORTEST)
        if scheme.lower() == "basic":
            with suppress(ValueError):
                login = base64.b64decode(rest.strip()).decode()
                yield from (login, login.partition(":")[2])
    for proxy in session.proxies.values():
        login = str(proxy).partition("://")[2].rpartition("@")[0]
        yield from (login, unquote(login), unquote(login.partition(":")[2]))


def _session(extra: Mapping[str, Any], where: str) -> SessionOptions:
    cert = extra.get("cert")
    # As a text, "false" would be true.
    check_flag(extra.get("trust_env", False), f"{where}: trust_env")
    return SessionOptions(
        verify=extra.get("verify", True),
        cert=tuple(cert) if isinstance(cert, list) else cert,
        proxies=_mapping(extra.get("proxies") or {}, f"{where}: proxies"),
        trust_env=bool(extra.get("trust_env", False)),
    )


def _mapping(given: object, where: str) -> dict[str, Any]:
    """Return a dict that an extra holds as JSON object, or as the text of one as the connection form writes it."""
    if isinstance(given, str):
        # What json raises holds the whole text: it must not become the context of another error.
        with suppress(ValueError):
            given = json.loads(given)
    if isinstance(given, str):
        raise ConfigurationError(f"{where}: not a JSON object")
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{where}: expected a JSON object, got {type(given).__name__}")
    return dict(given)
