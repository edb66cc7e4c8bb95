"""``Authorization: Basic`` (RFC 7617)."""

from __future__ import annotations

from requests.auth import HTTPBasicAuth

from airflow_paginated.transport.auth.fields import Authentication, AuthFields


def build(fields: AuthFields) -> Authentication:
    """Send login and password in UTF-8; the password may be empty."""
    fields.need("basic", login="a user name")
    auth = HTTPBasicAuth(fields.login.encode(), fields.password.encode())
    return Authentication(auth, (fields.password, f"{fields.login}:{fields.password}"), "Authorization")
