"""A connection's authentication fields, and the authentication built from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import requests

from airflow_paginated.core.errors import ConfigurationError, OriginError
from airflow_paginated.core.validation import check_choice, json_object
from airflow_paginated.transport.auth.credentials import Auth, Grant
from airflow_paginated.transport.origin import join, origin_of


@dataclass(frozen=True, slots=True)
class Authentication:
    """The callable that authenticates requests, and the secrets to keep out of messages.

    ``header`` carries the credentials. With ``signs``, ``auth`` is called for each request, with its query and body
    in place, and its hooks may respond to a 401.
    """

    auth: Auth | Grant | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    header: str | None = None
    signs: bool = False


@dataclass(frozen=True, slots=True)
class AuthFields:
    """The fields of a connection; ``where`` names it in messages, ``options`` has no empty values."""

    where: str
    base_url: str
    login: str = ""
    password: str = field(default="", repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def error(self, text: str) -> ConfigurationError:
        """Return an error that names the connection."""
        return ConfigurationError(f"{self.where}: {text}")

    def need(self, auth_type: str, *, login: str | None = None, password: str | None = None) -> None:
        """Raise unless the fields are set whose meaning is given."""
        for name, meaning, given in (("login", login, self.login), ("password", password, self.password)):
            if meaning and not given:
                raise self.error(f"auth_type {auth_type!r} needs {meaning} as {name}")

    def text(self, name: str, default: str = "") -> str:
        """Return a string option."""
        given = self.options.get(name, default)
        if not isinstance(given, str):
            raise self.error(f"{name}: expected a string, got {type(given).__name__}")
        return given

    def required(self, name: str, auth_type: str) -> str:
        """Return a required string option."""
        given = self.text(name)
        if not given:
            raise self.error(f"auth_type {auth_type!r} needs {name!r}")
        return given

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """Return an option out of ``choices``, by default the first."""
        given = self.text(name, choices[0])
        check_choice(given, choices, f"{self.where}: {name}")
        return given

    def mapping(self, name: str, default: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return an option that is an object, or one in JSON."""
        return json_object(self.options.get(name, default or {}), f"{self.where}: {name}")

    def url(self, name: str, auth_type: str) -> str:
        """Return an option that is a URL, or a path on the connection's host."""
        url = join(self.base_url, self.required(name, auth_type))
        try:
            origin_of(url)
        except OriginError as exc:
            raise self.error(f"{name}: {exc}") from None
        return url


PLACEMENT_OPTIONS: Final = ("header_name", "header_prefix", "query_param")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a secret goes: into a header after a prefix, or into the query parameter ``parameter``."""

    header: str
    prefix: str = ""
    parameter: str | None = None

    def put_on(self, request: requests.PreparedRequest, secret: str) -> None:
        """Put a secret on a request."""
        if self.parameter is not None:
            request.prepare_url(str(request.url), {self.parameter: secret})
        else:
            request.headers[self.header] = f"{self.prefix} {secret}" if self.prefix else secret

    @property
    def own_header(self) -> str | None:
        """The header's name, or ``None`` for a query parameter."""
        return self.header if self.parameter is None else None


def placement(fields: AuthFields, header: str, prefix: str = "") -> Placement:
    """Read the placement options; ``header`` and ``prefix`` are the defaults.

    Another header has no default prefix: no API expects ``X-Api-Key: Bearer abc``.
    """
    parameter = fields.text("query_param") or None
    if parameter and ("header_name" in fields.options or "header_prefix" in fields.options):
        raise fields.error("'query_param' excludes header_name and header_prefix")
    named = fields.text("header_name", header)
    usual = prefix if named.lower() == header.lower() else ""
    return Placement(named, fields.text("header_prefix", usual), parameter)
