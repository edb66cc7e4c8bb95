"""What cursors, keys and links have in common: only a page tells where the next one is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Final, Literal

from airflow_paginated.paging.dicts import check_choice, check_flag
from airflow_paginated.paging.errors import ConfigurationError, ResponseError
from airflow_paginated.paging.injection import placed
from airflow_paginated.paging.selectors import ABSENT
from airflow_paginated.paging.strategies.common import Strategy
from airflow_paginated.paging.values import Json, Page, PageRequest, Stop

NOTHING: Final = (None, "", 0, False)
"""What APIs put in the place of a cursor or a link where there is none."""


@dataclass(frozen=True, kw_only=True)
class Sequential(Strategy, ABC):
    """Pages that are found one after the other.

    ``page_size`` is sent in ``page_size_param``. ``missing_next="fail"``: an answer to the first request that lacks
    the place of the next one fails, since a name that is written wrong looks the same as the end; ``"end"``: it is the
    end. With ``stop_after_empty_page`` an empty page is the end, whatever link or cursor it has.
    """

    page_size_param: str | None = None
    missing_next: Literal["fail", "end"] = "fail"
    stop_after_empty_page: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.missing_next, ("fail", "end"), "pagination: missing_next")
        check_flag(self.stop_after_empty_page, "pagination: stop_after_empty_page")
        if (self.page_size_param is None) != (self.page_size is None):
            raise ConfigurationError("pagination: page_size and page_size_param go together")

    @abstractmethod
    def found(self, page: Page) -> Json:
        """Return what the page says of the next one: something, one of ``NOTHING``, or ``ABSENT``."""

    @abstractmethod
    def missing(self, page: Page) -> str:
        """Say what is absent from the page, and what is there instead."""

    @abstractmethod
    def request(self, page: Page, found: Json) -> PageRequest | Stop:
        """Return the request that ``found`` stands for; its index is set by the caller."""

    def first(self, request: PageRequest) -> PageRequest:
        """Return the request for the first page."""
        size = {self.page_size_param: self.page_size} if self.page_size_param else {}
        return placed(replace(request, index=0), self.inject_into, size)

    def follow(self, page: Page) -> PageRequest | Stop:
        """Return the next page's request, or why this page was the last."""
        index = page.request.index + 1
        if index == 1 and self.total_is == "exact" and (self.total_path or self.total_header):
            self._expect_total(page)
        if page.ignored:
            raise ResponseError(f"page {index} is ignored, and only it can say where the next one is")
        if self.has_more_path:
            if not self._more(page):
                return Stop("no more pages")
        elif self.stop_after_empty_page and not page.count:
            return Stop("empty page")
        found = self.found(page)
        if found is ABSENT or found in NOTHING:
            return self._ended(page, found)
        # Where an empty page is the end, the page to come may be that one.
        self._check_max(index + (self.has_more_path is not None or not self.stop_after_empty_page))
        request = self.request(page, found)
        return request if isinstance(request, Stop) else replace(request, index=index)

    def _expect_total(self, page: Page) -> None:
        if self.declared(page) is None:
            raise self._no_total(page)

    def _ended(self, page: Page, found: Json) -> Stop:
        if self.has_more_path:
            raise ResponseError(f"the API says that there are more pages, but {self.missing(page)}")
        if found is ABSENT and not page.request.index and self.missing_next == "fail":
            raise ResponseError(
                f"{self.missing(page)}; if the API leaves it out on its last page, set missing_next='end'"
            )
        return Stop("no next page")
