"""No authentication."""

from __future__ import annotations

from airflow_paginated.transport.auth.fields import Authentication, AuthFields


def build(fields: AuthFields) -> Authentication:
    """Return nothing to send; a password that is there all the same stays a secret."""
    return Authentication(secrets=(fields.password,))
