"""One page request in, one page out: sessions, retries, pauses, deadlines, the origin lock and decoding.

The names below are imported on first use: policies alone do not import an HTTP library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_paginated.transport.attempt import Endpoint
    from airflow_paginated.transport.client import ClientOptions, PageClient
    from airflow_paginated.transport.connections import SessionOptions
    from airflow_paginated.transport.retry import RateLimit, RequestRetry
    from airflow_paginated.transport.rules import ResponseAction, ResponseRules

__all__ = [
    "ClientOptions",
    "Endpoint",
    "PageClient",
    "RateLimit",
    "RequestRetry",
    "ResponseAction",
    "ResponseRules",
    "SessionOptions",
]

_MODULE_OF = {
    "ClientOptions": "client",
    "Endpoint": "attempt",
    "PageClient": "client",
    "RateLimit": "retry",
    "RequestRetry": "retry",
    "ResponseAction": "rules",
    "ResponseRules": "rules",
    "SessionOptions": "connections",
}


def __getattr__(name: str) -> Any:
    """Import a name from its module."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    return value
