"""Cursors, and the base class of cursors, keys and links, where each page leads to the next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal
from urllib.parse import unquote

from airflow_paginated.core.errors import ConfigurationError, ResponseError
from airflow_paginated.core.injection import inject
from airflow_paginated.core.links import as_utf8
from airflow_paginated.core.paths import ABSENT, check_path, describe_envelope, quoted, select
from airflow_paginated.core.validation import check_choice, check_flag
from airflow_paginated.core.values import Json, Page, PageRequest, Stop
from airflow_paginated.pagination.common import Strategy, as_names, assign

EMPTY_VALUES: Final = (None, "", 0, False)
"""What APIs send instead of a cursor or a link when no page follows."""


@dataclass(frozen=True, kw_only=True)
class Sequential(Strategy, ABC):
    """Pages that are only found one after the other.

    ``page_size`` is sent in ``page_size_param``. ``missing_next``: a first response without the field of the cursor or
    link fails the run (``"fail"``), since a misspelled path looks the same, or is the only page (``"end"``). With
    ``stop_after_empty_page``, an empty page is the end, even if it has a cursor or a link.
    """

    page_size_param: str | None = None
    missing_next: Literal["fail", "end"] = "fail"
    stop_after_empty_page: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.missing_next, ("fail", "end"), "pagination: missing_next")
        check_flag(self.stop_after_empty_page, "pagination: stop_after_empty_page")
        if (self.page_size_param is None) != (self.page_size is None):
            raise ConfigurationError("pagination: page_size and page_size_param require each other")

    @abstractmethod
    def found(self, page: Page) -> Json:
        """Return the page's reference to the next one: a value, one of ``EMPTY_VALUES``, or ``ABSENT``."""

    @abstractmethod
    def missing(self, page: Page) -> str:
        """Describe what the page lacks, and what it has instead."""

    @abstractmethod
    def request(self, page: Page, found: Json) -> PageRequest | Stop:
        """Return the request that ``found`` leads to; the caller sets its index."""

    def first(self, request: PageRequest) -> PageRequest:
        """Return the request for the first page."""
        size = {self.page_size_param: self.page_size} if self.page_size_param else {}
        return inject(replace(request, index=0), self.inject_into, size)

    def follow(self, page: Page) -> PageRequest | Stop:
        """Return the request for the next page, or why this page is the last."""
        index = page.request.index + 1
        if index == 1 and self.total_is == "exact" and (self.total_path or self.total_header):
            self._expect_total(page)
        if page.ignored:
            raise ResponseError(f"page {index} is ignored, but only its response leads to the next page")
        if self.has_more_path:
            if not self._has_more(page):
                return Stop("no more pages")
        elif self.stop_after_empty_page and not page.count:
            return Stop("empty page")
        found = self.found(page)
        if found is ABSENT or found in EMPTY_VALUES:
            return self._stop_at_end(page, found)
        request = self.request(page, found)
        return request if isinstance(request, Stop) else replace(request, index=index)

    def _expect_total(self, page: Page) -> None:
        if self.declared(page) is None:
            raise self._missing_total_error(page)

    def _stop_at_end(self, page: Page, found: Json) -> Stop:
        if self.has_more_path:
            raise ResponseError(f"the API reports more pages, but {self.missing(page)}")
        if found is ABSENT and not page.request.index and self.missing_next == "fail":
            raise ResponseError(f"{self.missing(page)}; if the API omits it on the last page, set missing_next='end'")
        return Stop("no next page")


@dataclass(frozen=True, kw_only=True)
class Tokens(Sequential):
    """Send each page's token, or several, in ``cursor_param`` of the next request.

    ``first_cursor`` is what the first request sends: ``""`` for a parameter that must be present but empty, a list for
    several tokens. Tokens are percent-encoded, unless ``cursor_encoded=True`` says that the API has already done so. A
    token that is not a string is sent as JSON.
    """

    cursor_param: str | Sequence[str] = "cursor"
    first_cursor: Json = None
    cursor_encoded: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag(self.cursor_encoded, "pagination: cursor_encoded")
        if len(self._sources) != len(self._params):
            raise ConfigurationError(
                f"pagination: cursor_param names {len(self._params)} parameters for {len(self._sources)} tokens"
            )

    @property
    @abstractmethod
    def _sources(self) -> tuple[str, ...]:
        """The path or header of each token."""

    @abstractmethod
    def token(self, page: Page, source: str) -> Json:
        """Return the token at one path or in one header, or ``ABSENT``."""

    @property
    def _params(self) -> tuple[str, ...]:
        return as_names(self.cursor_param)

    def first(self, request: PageRequest) -> PageRequest:
        """Return the request for the first page."""
        first = super().first(request)
        if self.first_cursor is None:
            return first
        return self._inject_tokens(first, assign(self._params, self.first_cursor))

    def found(self, page: Page) -> Json:
        """Return the page's tokens by parameter; ``None`` or ``ABSENT`` if it has none."""
        given = [self.token(page, source) for source in self._sources]
        tokens = {name: self._decode(each) for name, each in zip(self._params, given, strict=True) if _is_token(each)}
        if tokens:
            return tokens
        return ABSENT if all(each is ABSENT for each in given) else None

    def request(self, page: Page, found: Json) -> PageRequest:
        """Return the request with new tokens instead of the previous ones."""
        return self._inject_tokens(page.request, found)

    def _inject_tokens(self, request: PageRequest, tokens: Mapping[str, Json]) -> PageRequest:
        # A token that the page no longer has must not be sent again.
        return inject(request, self.inject_into, {name: tokens.get(name) for name in self._params})

    def _decode(self, token: Json) -> Json:
        if not (self.cursor_encoded and isinstance(token, str)):
            return token
        try:
            return unquote(token, errors="strict")
        except UnicodeDecodeError:
            raise ResponseError("a cursor is percent-encoded but not UTF-8, so it cannot be sent back") from None


@dataclass(frozen=True, kw_only=True)
class Cursor(Tokens):
    """Send the token at ``cursor_path`` of the body in ``cursor_param`` of the next request.

    Example::

        Cursor(cursor_path="meta.next_cursor", cursor_param="cursor")
        Cursor.relay("data.users")
    """

    cursor_path: str | Sequence[str]

    @classmethod
    def relay(cls, connection: str, cursor_param: str = "variables.after", **fields: Any) -> Cursor:
        """Return the strategy for a GraphQL query with a Relay connection at a path of the response.

        Source: GraphQL Cursor Connections Specification, section "PageInfo".
        """
        info = f"{connection}.pageInfo"
        known = {"cursor_path": f"{info}.endCursor", "has_more_path": f"{info}.hasNextPage", "inject_into": "body"}
        return cls(**{"cursor_param": cursor_param, **known, **fields})

    def __post_init__(self) -> None:
        for path in as_names(self.cursor_path) or (self.cursor_path,):
            check_path(path, "pagination: cursor_path")
        super().__post_init__()

    @property
    def _sources(self) -> tuple[str, ...]:
        return as_names(self.cursor_path)

    def token(self, page: Page, source: str) -> Json:
        """Return the value at a path of the body."""
        return select(page.envelope, source)

    def missing(self, page: Page) -> str:
        """Name the path, and describe the body."""
        where = " and ".join(repr(path) for path in self._sources)
        return f"cursor_path {where} does not lead to a cursor; {describe_envelope(page.envelope, *self._sources)}"


def _is_token(given: Json) -> bool:
    return given is not ABSENT and given not in EMPTY_VALUES and given != {} and given != []


@dataclass(frozen=True, kw_only=True)
class HeaderCursor(Tokens):
    """Send the value of the header ``cursor_header`` in ``cursor_param`` of the next request.

    Example::

        HeaderCursor(cursor_header="X-Next-Cursor", cursor_param="cursor")
        HeaderCursor(cursor_header=["x-ms-continuation-NextPartitionKey", "x-ms-continuation-NextRowKey"],
                     cursor_param=["NextPartitionKey", "NextRowKey"])
    """

    cursor_header: str | Sequence[str]

    @property
    def _sources(self) -> tuple[str, ...]:
        return as_names(self.cursor_header)

    def token(self, page: Page, source: str) -> Json:
        """Return the value of a header."""
        found = page.headers.get(source.lower())
        # From header to header, the bytes stay unchanged.
        return ABSENT if found is None else found if self.inject_into == "header" else as_utf8(found)

    def missing(self, page: Page) -> str:
        """Name the header, and list those of the response."""
        where = " and ".join(repr(name) for name in self._sources)
        names = ", ".join(quoted(name) for name in sorted(page.headers))
        return f"cursor_header {where} is missing from the response; its headers are {names}"
