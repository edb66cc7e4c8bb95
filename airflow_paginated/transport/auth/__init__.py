"""Authentication: one module per ``auth_type``, and the table of their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.validation import check_choice
from airflow_paginated.transport.auth import api_key, basic, bearer, custom, none, oauth2, session_token
from airflow_paginated.transport.auth.fields import Authentication, AuthFields


class Kind(NamedTuple):
    """The builder of an authentication, and the options that it takes besides login and password."""

    build: Callable[[AuthFields], Authentication]
    options: tuple[str, ...] = ()


AUTH_TYPES: Final[Mapping[str, Kind]] = {
    "none": Kind(none.build),
    "basic": Kind(basic.build),
    "bearer": Kind(bearer.build),
    "api_key": Kind(api_key.build, api_key.API_KEY_OPTIONS),
    "oauth2_client_credentials": Kind(oauth2.build, oauth2.OAUTH2_OPTIONS),
    "session_token": Kind(session_token.build, session_token.SESSION_TOKEN_OPTIONS),
    "custom": Kind(custom.build, custom.CUSTOM_OPTIONS),
}
AUTH_OPTIONS: Final = tuple(dict.fromkeys(name for kind in AUTH_TYPES.values() for name in kind.options))
"""The options of all kinds."""


def authentication(fields: AuthFields, auth_type: object = None) -> Authentication:
    """Build the authentication; the default is basic with a login, bearer with only a password.

    Raises ``ConfigurationError``, which names the connection and the field.
    """
    if auth_type is None:
        for name in fields.options:
            takers = " or ".join(repr(kind) for kind in AUTH_TYPES if name in AUTH_TYPES[kind].options)
            raise ConfigurationError(f"{fields.where}: {name!r} goes with an auth_type: {takers}")
        auth_type = "basic" if fields.login else "bearer" if fields.password else "none"
    check_choice(auth_type, AUTH_TYPES, f"{fields.where}: auth_type")
    kind = AUTH_TYPES[str(auth_type)]
    for name in fields.options:
        if name not in kind.options:
            taken = f"it takes {', '.join(kind.options)}" if kind.options else "it takes no options"
            raise ConfigurationError(f"{fields.where}: auth_type {auth_type!r} does not take {name!r}; {taken}")
    return kind.build(fields)
