"""``X-Next-Cursor: abc``: a token in a header of the answer, to be sent back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from airflow_paginated.paging.links import as_utf8
from airflow_paginated.paging.selectors import ABSENT, quoted
from airflow_paginated.paging.strategies.common import names_of
from airflow_paginated.paging.strategies.cursor import Tokens
from airflow_paginated.paging.values import Json, Page


@dataclass(frozen=True, kw_only=True)
class HeaderCursor(Tokens):
    """Send back the value of the header ``cursor_header`` in ``cursor_param``.

    Example::

        HeaderCursor(cursor_header="X-Next-Cursor", cursor_param="cursor")
        HeaderCursor(cursor_header=["x-ms-continuation-NextPartitionKey", "x-ms-continuation-NextRowKey"],
                     cursor_param=["NextPartitionKey", "NextRowKey"])
    """

    cursor_header: str | Sequence[str]

    @property
    def _sources(self) -> tuple[str, ...]:
        return names_of(self.cursor_header)

    def token(self, page: Page, source: str) -> Json:
        """Return the value of a header."""
        found = page.headers.get(source.lower())
        # From header to header, the bytes stay what they are.
        return ABSENT if found is None else found if self.inject_into == "header" else as_utf8(found)

    def missing(self, page: Page) -> str:
        """Name the header, and those that are there."""
        where = " and ".join(repr(name) for name in self._sources)
        names = ", ".join(quoted(name) for name in sorted(page.headers))
        return f"cursor_header {where} is not in the answer; its headers are {names}"
