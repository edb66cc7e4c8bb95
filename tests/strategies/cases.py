"""A case: an API, the matching strategy, and the arguments of the hook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_paginated.pagination.numbered import Numbered
from tests.servers.styles import Asked, Carrier, Envelope, Shape, StyledApi, Tells, employees, events
from tests.servers.styles.core import Rows

ROWS: Final = employees(230)
TIES: Final = events(230)
QUERY: Final = {"active": True, "q": "a&b=ü+c"}
OWN: Final = {"X-Own": "1"}
ASKED: Final = Carrier(query={"active": "true", "q": "a&b=ü+c"}, headers=OWN)
"""What every request must have, except those for links."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """An API, the strategy that fits it, and what else the hook is asked for or configured with.

    ``pages`` is how many requests it takes without faults and without guesses.
    """

    api: StyledApi
    pagination: Any
    asked: Mapping[str, Any] = field(default_factory=dict)
    pages: int = 12

    @property
    def request(self) -> dict[str, Any]:
        """The arguments of the hook."""
        return {"query": QUERY, "headers": OWN, "data_selector": "data", **self.asked}

    @property
    def guesses(self) -> bool:
        """Whether pages that do not exist may be requested."""
        each = self.pagination
        if not isinstance(each, Numbered) or getattr(each, "step", None) == "received":
            return False
        return each.total_is == "hint" or not (each.total_path or each.total_header)


def case(
    asked: Asked,
    pagination: object,
    *tells: Tells,
    shape: Shape | None = None,
    rows: Rows = ROWS,
    pages: int = 12,
    **arguments: Any,
) -> Case:
    """Return a case; ``arguments`` are the hook's."""
    api = StyledApi(rows=rows, asked=asked, tells=tells, shape=shape or Envelope())
    return Case(api=api, pagination=pagination, asked=arguments, pages=pages)
