"""Pure values and decisions: requests, pages, strategies, the walk, completeness and the errors."""

from airflow_paginated.paging.policies import Completeness, Limits
from airflow_paginated.paging.strategies import Offset, PageNumber, SinglePage
from airflow_paginated.paging.values import Page, PageRequest, Stop, Total

__all__ = ["Completeness", "Limits", "Offset", "Page", "PageNumber", "PageRequest", "SinglePage", "Stop", "Total"]
