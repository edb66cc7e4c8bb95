"""What a connection says of its authentication, and what is made of it."""

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
    """Who puts credentials on requests, and the texts that must not stand in any message.

    ``header`` is the one that carries them. ``signs``: ``auth`` is asked for every single request, with its query and
    its body, and may have an answer to a 401.
    """

    auth: Auth | Grant | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    header: str | None = None
    signs: bool = False


@dataclass(frozen=True, slots=True)
class AuthFields:
    """The fields of a connection; ``where`` names it in messages, ``options`` has what is given and not empty."""

    where: str
    base_url: str
    login: str = ""
    password: str = field(default="", repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def error(self, text: str) -> ConfigurationError:
        """Return an error that names the connection."""
        return ConfigurationError(f"{self.where}: {text}")

    def need(self, auth_type: str, *, login: str | None = None, password: str | None = None) -> None:
        """Refuse a connection without what is needed; the arguments say what the field is for."""
        for name, meaning, given in (("login", login, self.login), ("password", password, self.password)):
            if meaning and not given:
                raise self.error(f"auth_type {auth_type!r} needs {meaning} as {name}")

    def text(self, name: str, default: str = "") -> str:
        """Return an option that is a text."""
        given = self.options.get(name, default)
        if not isinstance(given, str):
            raise self.error(f"{name}: expected a text, got {type(given).__name__}")
        return given

    def required(self, name: str, auth_type: str) -> str:
        """Return an option that must be there."""
        given = self.text(name)
        if not given:
            raise self.error(f"auth_type {auth_type!r} needs {name!r}")
        return given

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """Return an option that is one of ``choices``; the first one is the default."""
        given = self.text(name, choices[0])
        check_choice(given, choices, f"{self.where}: {name}")
        return given

    def mapping(self, name: str, default: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return an option that is a JSON object, or the text of one."""
        return json_object(self.options.get(name, default or {}), f"{self.where}: {name}")

    def url(self, name: str, auth_type: str) -> str:
        """Return an option that is a URL, or a path below the host of the connection."""
        url = join(self.base_url, self.required(name, auth_type))
        try:
            origin_of(url)
        except OriginError as exc:
            raise self.error(f"{name}: {exc}") from None
        return url


PLACEMENT_OPTIONS: Final = ("header_name", "header_prefix", "query_param")


@dataclass(frozen=True, slots=True)
class Placement:
    """In a header, behind a prefix; or in the query, where ``parameter`` names one."""

    header: str
    prefix: str = ""
    parameter: str | None = None

    def put_on(self, request: requests.PreparedRequest, secret: str) -> None:
        """Let a request carry a secret."""
        if self.parameter is not None:
            request.prepare_url(str(request.url), {self.parameter: secret})
        else:
            request.headers[self.header] = f"{self.prefix} {secret}" if self.prefix else secret

    @property
    def own_header(self) -> str | None:
        """The name of the header, if it is one."""
        return self.header if self.parameter is None else None


def placement(fields: AuthFields, header: str, prefix: str = "") -> Placement:
    """Read the options for it; the arguments are the defaults.

    A header that is named has no prefix but the one that is given: ``X-Api-Key: Bearer abc`` is nobody's custom.
    """
    parameter = fields.text("query_param") or None
    if parameter and ("header_name" in fields.options or "header_prefix" in fields.options):
        raise fields.error("'query_param' says that the query carries it: give no header_name and no header_prefix")
    named = fields.text("header_name", header)
    usual = prefix if named.lower() == header.lower() else ""
    return Placement(named, fields.text("header_prefix", usual), parameter)
