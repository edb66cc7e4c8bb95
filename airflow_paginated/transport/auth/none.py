"""No authentication."""

from __future__ import annotations

from airflow_paginated.transport.auth.fields import Authentication, AuthFields


def build(fields: AuthFields) -> Authentication:
    """Send no credentials; a password that is set nevertheless stays secret."""
    return Authentication(secrets=(fields.password,))
