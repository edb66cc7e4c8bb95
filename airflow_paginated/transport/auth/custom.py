"""A ``requests.auth.AuthBase`` named by its import path."""

from __future__ import annotations

import importlib
from typing import Final

from requests.auth import AuthBase

from airflow_paginated.core.secrets import MIN_MASKED_CHARS
from airflow_paginated.transport.auth.fields import Authentication, AuthFields

CUSTOM_OPTIONS: Final = ("auth_class", "auth_kwargs")


def build(fields: AuthFields) -> Authentication:
    """Create it with login and password, if given, and ``auth_kwargs``."""
    kwargs = fields.mapping("auth_kwargs")
    given = [each for each in (fields.login, fields.password) if each]
    kind = _imported(fields, fields.required("auth_class", "custom"))
    try:
        auth = kind(*given, **kwargs)
    except Exception as exc:  # noqa: BLE001 - foreign code, whose message may quote its arguments
        called = ", ".join([*(name for name in ("login", "password") if getattr(fields, name)), *kwargs])
        raise fields.error(
            f"auth_class {fields.text('auth_class')!r} raises {type(exc).__name__} when called with ({called})"
        ) from None
    more = (value for value in kwargs.values() if isinstance(value, str) and len(value) >= MIN_MASKED_CHARS)
    return Authentication(auth, (fields.password, *more), signs=True)


def _imported(fields: AuthFields, path: str) -> type[AuthBase]:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as exc:  # noqa: BLE001 - importing runs foreign code
        raise fields.error(
            f"auth_class {path!r} cannot be imported ({type(exc).__name__}); it is 'package.module.Class'"
        ) from None
    # Checked before the call: the path must not allow calling any installed function.
    if not (isinstance(found, type) and issubclass(found, AuthBase)):
        raise fields.error(f"auth_class {path!r} is not a subclass of requests.auth.AuthBase")
    return found
