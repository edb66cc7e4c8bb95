"""What is collected: one endpoint, or one request for each of several parameter sets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote

from airflow_paginated.paging.dicts import check_text
from airflow_paginated.paging.errors import ConfigurationError
from airflow_paginated.paging.protocols import Pagination
from airflow_paginated.paging.sample import Sample
from airflow_paginated.paging.selectors import check_path
from airflow_paginated.paging.strategies import describe
from airflow_paginated.paging.values import Json, PageRequest

TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What names a method or a header (RFC 9110, 5.6.2)."""


@dataclass(frozen=True, kw_only=True)
class Collection:
    """A request, how it goes on from page to page, where the rows are, and the parameter sets to ask it with.

    A parameter of a set fills the ``{placeholder}`` of its name in the endpoint; any other goes into the JSON body
    where there is one, else into the query.
    """

    request: PageRequest
    pagination: Pagination
    data_selector: str | None = None
    partitions: Sequence[Mapping[str, Json]] | None = None
    sample_pages: int | None = None
    response: Mapping[str, Json] = field(default_factory=dict)
    """The rules that answers are read by, as far as they are not the usual ones: they decide over the rows, too."""
    withheld: Mapping[str, Json] = field(default_factory=dict, repr=False)
    """Credentials for the query, which go with every request and are not to be stored."""

    def __post_init__(self) -> None:
        check_path(self.data_selector, "data_selector", optional=True)
        check_request(self.request)
        check_partitions(self.partitions)
        self._check_distinct()

    @property
    def strategy(self) -> Pagination:
        """The strategy to walk with: the configured one, or a sample of it."""
        return Sample(self.pagination, self.sample_pages) if self.sample_pages else self.pagination

    def requests(self) -> Iterator[PageRequest]:
        """Yield the request of each partition, without what the strategy adds."""
        if self.partitions is None:
            yield self.request
            return
        for number, parameters in enumerate(self.partitions):
            yield _merged(self.request, number, parameters)

    def plan(self, base_url: str, conn_id: str) -> dict[str, Json]:
        """Describe what is collected, without secrets: a change in it makes another collection."""
        return {
            "base_url": base_url,
            "conn_id": conn_id,
            "method": self.request.method,
            "endpoint": self.request.path,
            "query": {**self.request.query, **dict.fromkeys(self.withheld, "***")},
            "body": self.request.body,
            "pagination": describe(self.pagination),
            "data_selector": self.data_selector,
            "partitions": None if self.partitions is None else _digest(self.partitions),
            "sample_pages": self.sample_pages,
            **({"response": dict(self.response)} if self.response else {}),
        }

    @property
    def apart(self) -> str:
        """A digest of what the plan leaves out: with other credentials, an API may have other rows."""
        return _digest(self.withheld) if self.withheld else ""

    def _check_distinct(self) -> None:
        """Refuse two parameter sets whose first pages are one and the same request: the rows would be there twice."""
        asked: dict[str, int] = {}
        for number, request in enumerate(self.requests() if self.partitions else ()):
            earlier = asked.setdefault(_wire(self.pagination.first(request)), number)
            if earlier != number:
                raise ConfigurationError(
                    f"partitions[{number}] asks the same as partitions[{earlier}]; its rows would be there twice"
                )


def check_request(request: PageRequest) -> None:
    """Refuse a request whose parts have the wrong type, naming the argument."""
    for name, value, kind in (("endpoint", request.path, str), ("method", request.method, str)):
        if not isinstance(value, kind):
            raise ConfigurationError(f"{name}: expected a string, got {value!r}")
    if not TOKEN.fullmatch(request.method):
        raise ConfigurationError(f"method: expected a name like GET, got {request.method!r}")
    for name, given in (("query", request.query), ("headers", request.headers)):
        if not isinstance(given, Mapping):
            raise ConfigurationError(f"{name}: expected a dict, got {type(given).__name__}")


def check_partitions(partitions: object) -> None:
    """Refuse what is no list of parameter sets."""
    if partitions is None:
        return
    if isinstance(partitions, str | Mapping) or not isinstance(partitions, Sequence):
        raise ConfigurationError(f"partitions: expected a list of dicts, got {type(partitions).__name__}")
    for number, parameters in enumerate(partitions):
        if not isinstance(parameters, Mapping):
            raise ConfigurationError(f"partitions[{number}]: expected a dict, got {type(parameters).__name__}")
        for name in parameters:
            check_text(name, f"partitions[{number}]: the name of a parameter")


def _merged(request: PageRequest, number: int, parameters: Mapping[str, Json]) -> PageRequest:
    path, rest = request.path, dict(parameters)
    for name in list(rest):
        mark = "{" + name + "}"
        if mark in path:
            path = path.replace(mark, _segment(rest.pop(name), f"partitions[{number}]: {name!r}"))
    if isinstance(request.body, Mapping):
        return replace(request, path=path, body={**request.body, **rest}, partition=(number,))
    return replace(request, path=path, query={**request.query, **rest}, partition=(number,))


def _segment(value: Json, where: str) -> str:
    """Quote a value for the endpoint; an empty one or dots would ask another endpoint."""
    right = isinstance(value, str | int | float) and not isinstance(value, bool)
    if not right or value in ("", ".", ".."):
        raise ConfigurationError(f"{where} is a part of the endpoint: expected a name or a number, got {value!r}")
    return quote(str(value), safe="")


def _wire(request: PageRequest) -> str:
    """Digest what is sent: in a query, a number and its digits are the same, and ``None`` is nothing."""
    query = {name: value if isinstance(value, bool) else str(value) for name, value in request.query.items()}
    sent = {name: value for name, value in query.items() if request.query[name] is not None}
    return _digest([request.path, sent, request.body])


def _digest(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
