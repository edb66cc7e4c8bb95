"""Settings read from an Airflow connection: base URL, authentication, session options and policies."""

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
"""Extras of an ``http`` connection that HttpHook reads as options, not as headers."""


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """The settings of a connection; ``policies`` by name, as dicts. ``secrets`` must not appear in any message."""

    endpoint: Endpoint
    session: SessionOptions
    policies: Mapping[str, Mapping[str, Any]]
    secrets: tuple[str, ...] = field(repr=False)


def read_settings(connection: Connection) -> ConnectionSettings:
    """Read a ``paginated_api`` or a plain ``http`` connection.

    Raises ``ConfigurationError`` naming the field.
    """
    where = f"connection {connection.conn_id!r}"
    is_http = connection.conn_type == "http"
    # extra_dejson turns invalid JSON into an empty dict: the connection would lose its authentication.
    extra = connection.extra_dejson if is_http else json_object(connection.extra or {}, f"{where}: extra")
    base_url, headers = _base_url(connection, where), _headers(connection, extra, where)
    if is_http:
        auth = _http_authentication(connection, extra, where)
    else:
        check_keys(extra, EXTRAS, f"{where}: extra")
        auth = _authentication(connection, extra, base_url)
        _check_auth_header(auth, headers, where)
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
        raise ConfigurationError(f"{where}: host: must not contain a query: put a key into headers or the password")
    return url


def _authentication(connection: Connection, extra: Mapping[str, Any], base_url: str) -> Authentication:
    # A saved form also contains its empty fields.
    given = {name: extra[name] for name in AUTH_OPTIONS if extra.get(name) not in (None, "")}
    login, password = connection.login or "", connection.password or ""
    fields = AuthFields(f"connection {connection.conn_id!r}", base_url, login, password, given)
    return authentication(fields, extra.get("auth_type") or None)


def _http_authentication(connection: Connection, extra: Mapping[str, Any], where: str) -> Authentication:
    """Authenticate as HttpHook does: basic with a login, else not at all."""
    if "auth_type" in extra:
        raise ConfigurationError(f"{where}: auth_type requires a connection of type 'paginated_api'")
    fields = AuthFields(where, "", connection.login or "", connection.password or "")
    return authentication(fields, "basic" if connection.login else "none")


def _check_auth_header(auth: Authentication, headers: Mapping[str, str], where: str) -> None:
    """Raise ``ConfigurationError`` for a header that authentication would replace."""
    for name in headers:
        if auth.header and name.lower() == auth.header.lower():
            raise ConfigurationError(
                f"{where}: headers sets {name!r}, which authentication also sets: remove one of them"
            )


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
    """Yield each secret in every form in which a server may repeat it: without its scheme, or decoded."""
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
    # The string "false" would be true.
    check_flag(extra.get("trust_env", False), f"{where}: trust_env")
    return SessionOptions(
        verify=extra.get("verify", True),
        cert=tuple(cert) if isinstance(cert, list) else cert,
        proxies=json_object(extra.get("proxies") or {}, f"{where}: proxies"),
        trust_env=bool(extra.get("trust_env", False)),
    )
