"""What Airflow asks of a provider."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata: its modules, its connection type and the form for it."""
    return {
        "package-name": "airflow-provider-paginated-api",
        "name": "Paginated API",
        "description": "Collects paginated HTTP APIs into complete datasets.",
        "integrations": [{"integration-name": "Paginated API", "tags": ["protocol"]}],
        "operators": [
            {"integration-name": "Paginated API", "python-modules": ["airflow_paginated.operators.paginated_api"]}
        ],
        "hooks": [{"integration-name": "Paginated API", "python-modules": ["airflow_paginated.hooks.paginated_api"]}],
        "connection-types": [
            {
                "connection-type": "paginated_api",
                "hook-class-name": "airflow_paginated.hooks.paginated_api.PaginatedApiHook",
                "hook-name": "Paginated API",
                "ui-field-behaviour": _field_behaviour(),
                "conn-fields": _fields(),
            }
        ],
    }


def _field_behaviour() -> dict[str, Any]:
    return {
        "hidden-fields": [],
        "relabeling": {
            "schema": "Scheme (https or http)",
            "login": "Login or client ID",
            "password": "Password, token, API key or client secret",
        },
        "placeholders": {"host": "api.example.com/v2", "schema": "https"},
    }


def _fields() -> dict[str, Any]:
    return {
        "auth_type": _field(
            "Authentication",
            "Empty: basic with a login, bearer with a password alone.",
            enum=["none", "basic", "bearer", "api_key", "oauth2_client_credentials", "session_token", "custom"],
        ),
        **_places(),
        **_oauth2(),
        **_login(),
        "auth_class": _field("Auth class", "custom: import path of a class derived from requests.auth.AuthBase"),
        "auth_kwargs": _json_field("Auth class arguments", "what it is made with, beside login and password"),
        "headers": _json_field("Headers", 'Sent to this host only and masked: {"X-Api-Key": "..."}'),
        "retry": _json_field("Retry", '{"max_attempts": 5, "backoff_max": 20}'),
        "rate_limit": _json_field("Rate limit", '{"requests": 10, "per_seconds": 1}; tasks can only tighten it.'),
        "timeouts": _json_field("Timeouts", '{"read": 60, "page": 600}, in seconds; tasks can only tighten run.'),
        "limits": _json_field("Limits", '{"page_bytes": 67108864}; tasks can only tighten them.'),
        "completeness": _json_field("Completeness", '{"min_rows": 1, "on_total_change": "fail"}'),
        "response": _json_field("Responses", '{"error_path": "errors", "null_rows": "empty"}'),
    }


def _places() -> dict[str, Any]:
    return {
        "header_name": _field("Header", "Where a key or token goes. Empty: X-API-Key, or Authorization for a token"),
        "header_prefix": _field("Header prefix", "What stands before it: Bearer, Token, ..."),
        "query_param": _field("Query parameter", "Where a key or token goes, if not into a header"),
    }


def _oauth2() -> dict[str, Any]:
    # Airflow takes for a secret what is called token or api_key: its value is stars, in the saved form and in all
    # logs. A URL may be; a word, as in an api_key_in, must not.
    return {
        "token_url": _field("Token URL", "OAuth2: https://login.example.com/oauth2/token; may be another host"),
        "client_auth_method": _field(
            "Client authentication",
            "OAuth2: how client ID and secret are sent. Empty: client_secret_basic",
            enum=["client_secret_basic", "client_secret_post"],
        ),
        "scope": _field("Scope", "OAuth2: with spaces between several"),
        "audience": _field("Audience", "OAuth2, where the server asks for it"),
        "oauth2_params": _json_field("OAuth2 parameters", 'OAuth2, what else the server asks for: {"resource": "..."}'),
    }


def _login() -> dict[str, Any]:
    return {
        "login_endpoint": _field("Login endpoint", "Session token: /login, or a whole URL"),
        "login_body": _json_field(
            "Login body", 'Session token. Empty: {"username": "{login}", "password": "{password}"}'
        ),
        "login_format": _field(
            "Login format", "Session token: how the body is sent. Empty: json", enum=["json", "form"]
        ),
        "session_path": _field("Path of the token", "Session token: where it is in the answer. Empty: token"),
    }


def _json_field(label: str, description: str) -> dict[str, Any]:
    return _field(label, f"JSON: {description}")


def _field(label: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["string", "null"], **schema}}
