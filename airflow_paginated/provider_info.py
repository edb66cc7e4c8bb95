"""The provider's metadata for Airflow."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the modules, the connection type and the fields of its form."""
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
            "Empty: basic if there is a login, bearer if there is only a password.",
            enum=["none", "basic", "bearer", "api_key", "oauth2_client_credentials", "session_token", "custom"],
        ),
        **_placement(),
        **_oauth2(),
        **_login(),
        "auth_class": _field("Auth class", "Custom: import path of a subclass of requests.auth.AuthBase"),
        "auth_kwargs": _json_field("Auth class arguments", "keyword arguments in addition to login and password"),
        "headers": _json_field("Headers", 'sent to this host only, masked in logs: {"X-Api-Key": "..."}'),
        "retry": _json_field("Retry", '{"max_attempts": 5, "backoff_max": 20}'),
        "rate_limit": _json_field("Rate limit", '{"requests": 10, "per_seconds": 1}; tasks can only tighten it'),
        "timeouts": _json_field("Timeouts", '{"read": 60, "page": 600}, in seconds; tasks can only tighten run'),
        "limits": _json_field("Limits", '{"page_bytes": 67108864}; tasks can only tighten them'),
        "completeness": _json_field("Completeness", '{"min_rows": 1, "on_total_change": "fail"}'),
        "response": _json_field("Responses", '{"error_path": "errors", "null_rows": "empty"}'),
    }


def _placement() -> dict[str, Any]:
    return {
        "header_name": _field(
            "Header", "Header for the key or token. Empty: X-API-Key for a key, Authorization for a token"
        ),
        "header_prefix": _field("Header prefix", "Prefix of the value: Bearer, Token, ..."),
        "query_param": _field("Query parameter", "Query parameter for the key or token, instead of a header"),
    }


def _oauth2() -> dict[str, Any]:
    # Airflow masks fields with token or api_key in their names, in the saved form and in all logs. That is harmless
    # for a URL; a field whose value is a common word must not have such a name.
    return {
        "token_url": _field("Token URL", "OAuth2: https://login.example.com/oauth2/token; may be on another host"),
        "client_auth_method": _field(
            "Client authentication",
            "OAuth2: how to send client ID and secret. Empty: client_secret_basic",
            enum=["client_secret_basic", "client_secret_post"],
        ),
        "scope": _field("Scope", "OAuth2: scopes, separated by spaces"),
        "audience": _field("Audience", "OAuth2: audience, if the server requires one"),
        "oauth2_params": _json_field(
            "OAuth2 parameters", 'OAuth2: other parameters that the server requires: {"resource": "..."}'
        ),
    }


def _login() -> dict[str, Any]:
    return {
        "login_endpoint": _field("Login endpoint", "Session token: /login, or a full URL"),
        "login_body": _json_field(
            "Login body", 'session token. Empty: {"username": "{login}", "password": "{password}"}'
        ),
        "login_format": _field(
            "Login format", "Session token: encoding of the body. Empty: json", enum=["json", "form"]
        ),
        "session_path": _field("Path of the token", "Session token: path to the token in the response. Empty: token"),
    }


def _json_field(label: str, description: str) -> dict[str, Any]:
    return _field(label, f"JSON: {description}")


def _field(label: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["string", "null"], **schema}}
