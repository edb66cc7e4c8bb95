"""Where paging parameters travel, and the check that nothing else does and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl

from tests.servers.styles.core import Json, Wrong
from tests.servers.wire import Request


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """Reads paging parameters from the query, headers or JSON body, where a name is a path with dots.

    ``query``, ``headers`` and ``body`` are what every request must have beside them, to the letter.
    """

    where: Literal["query", "header", "body"] = "query"
    method: str = "GET"
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Json = None

    def read(self, request: Request, names: Collection[str]) -> dict[str, Any]:
        """Return the paging parameters that are there.

        Raises ``Wrong`` for a request that lacks something else, or has more.
        """
        if request.method != self.method:
            raise Wrong(f"{request.method} instead of {self.method}")
        query, body = self._query(request), self._body(request)
        found: dict[str, Any] = {}
        if self.where == "query":
            found = {name: query.pop(name) for name in names if name in query}
        elif self.where == "header":
            found = {name: request.headers[name.lower()] for name in names if name.lower() in request.headers}
        else:
            found = {name: value for name in names if (value := _taken(body, name)) is not _NOTHING}
        if query != self.query:
            raise Wrong(f"the query has {query}, not {dict(self.query)}")
        if body != self.body:
            raise Wrong(f"the body has {body}, not {self.body}")
        for name, value in self.headers.items():
            if request.headers.get(name.lower()) != value:
                raise Wrong(f"the header {name} is {request.headers.get(name.lower())!r}, not {value!r}")
        return found

    def _query(self, request: Request) -> dict[str, str]:
        pairs = parse_qsl(
            request.target.partition("?")[2], keep_blank_values=True, strict_parsing="?" in request.target
        )
        if len(dict(pairs)) < len(pairs):
            raise Wrong("a parameter is there twice")
        return dict(pairs)

    def _body(self, request: Request) -> Json:
        if not request.body:
            return None
        if request.headers.get("content-type") != "application/json":
            raise Wrong(f"the body is {request.headers.get('content-type')}")
        return json.loads(request.body)

    def integer(self, given: Mapping[str, Any], name: str) -> int:
        """Return a parameter that must be a whole number: JSON's own in a body, its digits anywhere else."""
        value = given.get(name)
        if self.where == "body":
            if not isinstance(value, int) or isinstance(value, bool):
                raise Wrong(f"{name} is {value!r}")
            return value
        if not isinstance(value, str) or not value.isdecimal() or str(int(value)) != value:
            raise Wrong(f"{name} is {value!r}")
        return int(value)


_NOTHING: Any = object()


def _taken(body: Json, name: str) -> Json:
    """Take what is at a path out of a JSON object."""
    *way, last = name.split(".")
    for step in way:
        body = body.get(step) if isinstance(body, dict) else None
    return body.pop(last, _NOTHING) if isinstance(body, dict) else _NOTHING
