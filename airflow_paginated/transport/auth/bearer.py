"""``Authorization: Bearer`` (RFC 6750), with a token that is renewed elsewhere."""

from __future__ import annotations

from airflow_paginated.transport.auth.api_key import KeyAuth
from airflow_paginated.transport.auth.fields import Authentication, AuthFields, Placement


def build(fields: AuthFields) -> Authentication:
    """Send the password as the token."""
    fields.need("bearer", password="the token")  # noqa: S106 - what the field is for, not what is in it
    place = Placement("Authorization", "Bearer")
    return Authentication(KeyAuth(place, fields.password), (fields.password,), place.own_header)
