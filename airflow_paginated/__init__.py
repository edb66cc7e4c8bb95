"""Collects paginated HTTP APIs into complete datasets, from Apache Airflow.

The public names are imported on first use: a DAG file pays only for what it uses.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_paginated.core.policies import Completeness, Incremental, Limits, Timeouts
    from airflow_paginated.core.values import Page, PageRequest, Split, Stop, Total
    from airflow_paginated.hooks.paginated_api import PaginatedApiHook
    from airflow_paginated.operators.paginated_api import PaginatedApiOperator
    from airflow_paginated.pagination import (
        Cursor,
        HeaderCursor,
        HeaderLink,
        JsonLink,
        Keyset,
        Offset,
        PageNumber,
        SinglePage,
        Sliced,
    )
    from airflow_paginated.partitions import DateWindows, ParameterSets, Product, RowsOf
    from airflow_paginated.sinks import AddColumns, FileSink, XComSink
    from airflow_paginated.transport.retry import RateLimit, RequestRetry
    from airflow_paginated.transport.rules import ResponseAction, ResponseRules

__version__ = "0.1.0"

__all__ = [
    "AddColumns",
    "Completeness",
    "Cursor",
    "DateWindows",
    "FileSink",
    "HeaderCursor",
    "HeaderLink",
    "Incremental",
    "JsonLink",
    "Keyset",
    "Limits",
    "Offset",
    "Page",
    "PageNumber",
    "PageRequest",
    "PaginatedApiHook",
    "PaginatedApiOperator",
    "ParameterSets",
    "Product",
    "RateLimit",
    "RequestRetry",
    "ResponseAction",
    "ResponseRules",
    "RowsOf",
    "SinglePage",
    "Sliced",
    "Split",
    "Stop",
    "Timeouts",
    "Total",
    "XComSink",
]

_MODULES = {
    "airflow_paginated.core.policies": (
        "Completeness",
        "Incremental",
        "Limits",
        "Timeouts",
    ),
    "airflow_paginated.core.values": (
        "Page",
        "PageRequest",
        "Split",
        "Stop",
        "Total",
    ),
    "airflow_paginated.hooks.paginated_api": ("PaginatedApiHook",),
    "airflow_paginated.operators.paginated_api": ("PaginatedApiOperator",),
    "airflow_paginated.pagination": (
        "Cursor",
        "HeaderCursor",
        "HeaderLink",
        "JsonLink",
        "Keyset",
        "Offset",
        "PageNumber",
        "SinglePage",
        "Sliced",
    ),
    "airflow_paginated.partitions": (
        "DateWindows",
        "ParameterSets",
        "Product",
        "RowsOf",
    ),
    "airflow_paginated.sinks": (
        "AddColumns",
        "FileSink",
        "XComSink",
    ),
    "airflow_paginated.transport.retry": (
        "RateLimit",
        "RequestRetry",
    ),
    "airflow_paginated.transport.rules": (
        "ResponseAction",
        "ResponseRules",
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
