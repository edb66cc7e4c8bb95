"""Pure values and decisions: requests, pages, strategies, the walk, completeness and the errors."""

from airflow_paginated.paging.incremental import Incremental
from airflow_paginated.paging.partitions import DateWindows, ParameterSets, Product, RowsOf
from airflow_paginated.paging.policies import Completeness, Limits, Timeouts
from airflow_paginated.paging.strategies import (
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
from airflow_paginated.paging.values import Page, PageRequest, Split, Stop, Total

__all__ = [
    "Completeness",
    "Cursor",
    "DateWindows",
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
    "ParameterSets",
    "Product",
    "RowsOf",
    "SinglePage",
    "Sliced",
    "Split",
    "Stop",
    "Timeouts",
    "Total",
]
