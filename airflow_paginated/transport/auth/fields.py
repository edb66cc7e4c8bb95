"""What a connection says of its authentication, and what is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_paginated.paging.dicts import check_choice, json_object
from airflow_paginated.paging.errors import ConfigurationError, OriginError
from airflow_paginated.transport.credentials import Auth, Grant
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
