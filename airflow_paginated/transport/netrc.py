"""Credentials of the machine, for a connection that has none and lets them in."""

from __future__ import annotations

from requests.utils import get_netrc_auth

from airflow_paginated.transport.exchange import Endpoint
from airflow_paginated.transport.sessions import SessionOptions


def netrc_login(endpoint: Endpoint, session: SessionOptions) -> tuple[str, str] | None:
    """Return login and password that the machine's netrc has for the endpoint."""
    named = any(name.lower() == "authorization" for name in endpoint.headers)
    if endpoint.auth is not None or named or not session.trust_env:
        return None
    return get_netrc_auth(endpoint.base_url)
