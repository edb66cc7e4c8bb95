"""``?offset=200&limit=100``: pages that begin at a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow_paginated.paging.dicts import check_number
from airflow_paginated.paging.strategies.numbered import Numbered
from airflow_paginated.paging.values import Json


@dataclass(frozen=True, kw_only=True)
class Offset(Numbered):
    """Begin each page at a row, counted from ``base_offset``, in the query parameter ``offset_param``.

    ``page_size`` is sent in ``limit_param``, unless that is ``None``. A server may serve fewer rows than it is asked
    for: the offsets follow what page 1 really served.

    Example::

        Offset(page_size=500, total_path="total")
    """

    page_size: int | None = 100
    offset_param: str = "offset"
    limit_param: str | None = "limit"
    base_offset: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.page_size, "pagination: page_size", least=1, whole=True)
        check_number(self.base_offset, "pagination: base_offset", whole=True)

    def place(self, index: int, step: int) -> Mapping[str, Json]:
        """Return the page's offset, and the limit where it has a parameter."""
        limit = {self.limit_param: self.page_size} if self.limit_param else {}
        return {self.offset_param: self.base_offset + index * step, **limit}
