"""Any ``requests.auth.AuthBase``, named by its import path."""

from __future__ import annotations

import importlib
from typing import Final

from requests.auth import AuthBase

from airflow_paginated.core.secrets import MIN_MASKED_CHARS
from airflow_paginated.transport.auth.fields import Authentication, AuthFields

CUSTOM_OPTIONS: Final = ("auth_class", "auth_kwargs")


def build(fields: AuthFields) -> Authentication:
    """Make one from login and password, as far as they are given, and ``auth_kwargs``."""
    kwargs = fields.mapping("auth_kwargs")
    given = [each for each in (fields.login, fields.password) if each]
    kind = _imported(fields, fields.required("auth_class", "custom"))
    try:
        auth = kind(*given, **kwargs)
    except Exception as exc:  # noqa: BLE001 - foreign code, whose messages may repeat what it was given
        called = ", ".join([*(name for name in ("login", "password") if getattr(fields, name)), *kwargs])
        raise fields.error(
            f"auth_class {fields.text('auth_class')!r} raises {type(exc).__name__} when it is made with ({called})"
        ) from None
    more = (value for value in kwargs.values() if isinstance(value, str) and len(value) >= MIN_MASKED_CHARS)
    return Authentication(auth, (fields.password, *more), signs=True)


def _imported(fields: AuthFields, path: str) -> type[AuthBase]:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as exc:  # noqa: BLE001 - a foreign module runs when it is imported
        raise fields.error(
            f"auth_class {path!r} cannot be imported ({type(exc).__name__}); it is 'package.module.Class'"
        ) from None
    # Checked before anything is called: a path must not be a way to call whatever is installed.
    if not (isinstance(found, type) and issubclass(found, AuthBase)):
        raise fields.error(f"auth_class {path!r} is no class derived from requests.auth.AuthBase")
    return found
