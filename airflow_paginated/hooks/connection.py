"""From an Airflow connection to values: where to, as whom, and by which policies."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from airflow_paginated.core.errors import ConfigurationError, OriginError
from airflow_paginated.core.secrets import MIN_MASKED_CHARS, SENSITIVE
from airflow_paginated.core.validation import check_flag, check_keys, json_object
from airflow_paginated.transport.attempt import Endpoint
from airflow_paginated.transport.auth import AUTH_OPTIONS, authentication
from airflow_paginated.transport.auth.fields import Authentication, AuthFields
from airflow_paginated.transport.connections import SessionOptions
from airflow_paginated.transport.origin import origin_of

if TYPE_CHECKING:
    from airflow.sdk import Connection

POLICIES: Final = ("retry", "rate_limit", "timeouts", "limits", "completeness", "response")
SESSION: Final = ("verify", "cert", "proxies", "trust_env")
EXTRAS: Final = ("auth_type", "headers", *AUTH_OPTIONS, *SESSION, *POLICIES)
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


def settings_of(connection: Connection) -> ConnectionSettings:
    """Read a ``paginated_api`` or a plain ``http`` connection.

    Raises ``ConfigurationError``, which names the field.
    """
    where = f"connection {connection.conn_id!r}"
    plain = connection.conn_type == "http"
    # Of what is no JSON, extra_dejson makes an empty dict: a connection without authentication.
    extra = connection.extra_dejson if plain else json_object(connection.extra or {}, f"{where}: extra")
    base_url, headers = _base_url(connection, where), _headers(connection, extra, where)
    if plain:
        auth = _http_authentication(connection, extra, where)
    else:
        check_keys(extra, EXTRAS, f"{where}: extra")
        auth = _authentication(connection, extra, base_url)
        _check_header(auth, headers, where)
    session = _session(extra, where)
    return ConnectionSettings(
        endpoint=Endpoint(base_url, headers, auth.auth, where, auth.signs),
        session=session,
        policies={name: json_object(extra[name], f"{where}: {name}") for name in POLICIES if extra.get(name)},
        secrets=tuple(filter(None, (*auth.secrets, *_secrets_in(headers, session)))),
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


def _authentication(connection: Connection, extra: Mapping[str, Any], base_url: str) -> Authentication:
    # A form that was saved has its empty fields, too.
    given = {name: extra[name] for name in AUTH_OPTIONS if extra.get(name) not in (None, "")}
    login, password = connection.login or "", connection.password or ""
    fields = AuthFields(f"connection {connection.conn_id!r}", base_url, login, password, given)
    return authentication(fields, extra.get("auth_type") or None)


def _http_authentication(connection: Connection, extra: Mapping[str, Any], where: str) -> Authentication:
    """Do what HttpHook does: basic with a login, else nothing."""
    if "auth_type" in extra:
        raise ConfigurationError(f"{where}: auth_type needs a connection of the type 'paginated_api'")
    fields = AuthFields(where, "", connection.login or "", connection.password or "")
    return authentication(fields, "basic" if connection.login else "none")


def _check_header(auth: Authentication, headers: Mapping[str, str], where: str) -> None:
    """Refuse a header that authentication would replace."""
    for name in headers:
        if auth.header and name.lower() == auth.header.lower():
            raise ConfigurationError(f"{where}: headers has {name!r}, which login and password make, too: give one")


def _headers(connection: Connection, extra: Mapping[str, Any], where: str) -> dict[str, str]:
    headers = json_object(extra.get("headers") or {}, f"{where}: headers")
    if connection.conn_type == "http":
        known = {"headers", *SESSION, *POLICIES, *HTTP_HOOK_EXTRAS}
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
            yield from (each for each in value.split() if len(each) >= MIN_MASKED_CHARS)
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
        proxies=json_object(extra.get("proxies") or {}, f"{where}: proxies"),
        trust_env=bool(extra.get("trust_env", False)),
    )
