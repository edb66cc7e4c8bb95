"""``?page=3``: pages that are numbered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow_paginated.paging.dicts import check_number
from airflow_paginated.paging.errors import ConfigurationError
from airflow_paginated.paging.strategies.numbered import Numbered
from airflow_paginated.paging.values import Json


@dataclass(frozen=True, kw_only=True)
class PageNumber(Numbered):
    """Number the pages from ``base_page`` in the parameter ``page_param``.

    ``page_size`` is sent only where ``page_size_param`` names its parameter.

    Example::

        PageNumber(total_path="meta.total_pages", total_kind="pages", page_size=100, page_size_param="per_page")
    """

    page_param: str = "page"
    base_page: int = 1
    page_size_param: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.base_page, "pagination: base_page", whole=True)
        if self.page_size_param and self.page_size is None:
            raise ConfigurationError("pagination: page_size_param needs page_size")

    def place(self, index: int, step: int) -> Mapping[str, Json]:
        """Return the page's number, and the page size where it has a parameter."""
        size = {self.page_size_param: self.page_size} if self.page_size_param else {}
        return {self.page_param: self.base_page + index, **size}
