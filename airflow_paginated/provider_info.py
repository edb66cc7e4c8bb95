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
        "relabeling": {"schema": "Scheme (https or http)", "password": "Password or bearer token"},
        "placeholders": {"host": "api.example.com/v2", "schema": "https"},
    }


def _fields() -> dict[str, Any]:
    return {
        "auth": _field(
            "Authentication",
            "Empty: basic with a login, bearer with a password alone.",
            type=["string", "null"],
            enum=["none", "basic", "bearer"],
        ),
        "headers": _json_field("Headers", 'Sent to this host only and masked: {"X-Api-Key": "..."}'),
        "retry": _json_field("Retry", '{"max_attempts": 5, "backoff_max": 20}'),
        "rate_limit": _json_field("Rate limit", '{"requests": 10, "per_seconds": 1}; tasks can only tighten it.'),
        "limits": _json_field("Limits", '{"read_timeout": 60, "page_bytes": 67108864}; tasks can only tighten caps.'),
        "completeness": _json_field("Completeness", '{"min_rows": 1, "on_total_change": "fail"}'),
        "response": _json_field("Responses", '{"error_path": "errors", "null_rows": "empty"}'),
    }


def _json_field(label: str, description: str) -> dict[str, Any]:
    return _field(label, f"JSON: {description}", type=["string", "null"])


def _field(label: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": schema}
