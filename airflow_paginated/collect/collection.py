"""What is collected: one endpoint, or one request for each of many parameter sets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Collection as Several
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from hashlib import blake2b, sha256
from itertools import islice
from typing import Any, Final

from airflow_paginated.core.errors import Cancelled, ConfigurationError, PaginatedApiError
from airflow_paginated.core.paths import check_path, describe_shape, quoted
from airflow_paginated.core.secrets import MIN_MASKED_CHARS, SENSITIVE
from airflow_paginated.core.seen_set import SeenSet
from airflow_paginated.core.values import HTTP_TOKEN, Check, Json, PageRequest
from airflow_paginated.pagination import STRATEGIES, describe
from airflow_paginated.pagination.protocols import Pagination
from airflow_paginated.pagination.single_page import Sample
from airflow_paginated.partitions import Partitions, as_partitions, build_partition_request
from airflow_paginated.partitions.protocol import SupportsChecks

REQUESTS_CACHE_KIB: Final = 2048


@dataclass(frozen=True, kw_only=True)
class Collection:
    """A request, how it goes on from page to page, where the rows are, and the parameter sets to ask it with."""

    request: PageRequest
    pagination: Pagination
    data_selector: str | None = None
    partitions: Partitions | Sequence[Mapping[str, Json]] | None = None
    sample_pages: int | None = None
    response: Mapping[str, Json] = field(default_factory=dict)
    """The rules that answers are read by, as far as they are not the usual ones: they decide over the rows, too."""
    secret_query: Mapping[str, Json] = field(default_factory=dict, repr=False)
    """Credentials for the query, which go with every request and are not to be stored."""

    _sets: Partitions | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_path(self.data_selector, "data_selector", optional=True)
        check_request(self.request)
        object.__setattr__(self, "_sets", as_partitions(self.partitions))

    @property
    def strategy(self) -> Pagination:
        """The strategy to walk with: the configured one, or a sample of it."""
        return Sample(self.pagination, self.sample_pages) if self.sample_pages else self.pagination

    @property
    def parameter_names(self) -> frozenset[str]:
        """The names of all parameters of all sets."""
        return frozenset() if self._sets is None else frozenset(self._sets.names)

    def parameter_sets(self) -> Iterator[Mapping[str, Json]]:
        """Yield the parameters of each partition."""
        return iter([{}]) if self._sets is None else self._sets.sets()

    def parameters(self, partition: tuple[int, ...]) -> Mapping[str, Json]:
        """Return the parameters of a partition, or of what it is a part of."""
        return next(islice(self.parameter_sets(), partition[0], None), {})

    @contextmanager
    def naming_parameters(self) -> Iterator[None]:
        """Let what is raised inside about one partition say which parameters it has."""
        try:
            yield
        except PaginatedApiError as exc:
            if exc.partition and not isinstance(exc, Cancelled) and (said := self._said(exc.partition)):
                exc.args = (f"{exc} (partitions[{exc.partition[0]}]: {said})",)
            raise

    def requests(self) -> Iterator[PageRequest]:
        """Yield the request of each partition, without what the strategy adds."""
        if self._sets is None:
            yield self.request
            return
        places = self._sets.places
        for number, parameters in enumerate(self._sets.sets()):
            yield build_partition_request(self.request, number, parameters, places)

    def count(self, check_cancelled: Callable[[], None] = lambda: None) -> int:
        """Look at every parameter set and return how many there are; ``check_cancelled`` may raise between any two.

        Raises ``ConfigurationError`` for one that cannot be asked for, and for two whose first pages are one and the
        same request: the rows would be there twice.
        """
        number = -1
        with closing(SeenSet("BLOB", REQUESTS_CACHE_KIB)) as asked:
            for number, wire in enumerate(self._wires()):
                check_cancelled()
                if not asked.add(wire):
                    raise self._asked_twice(number)
        return number + 1

    def checks(self) -> Iterator[Check]:
        """Yield what is known of the parameter sets that the manifest is to tell."""
        if isinstance(self._sets, SupportsChecks):
            yield from self._sets.checks()

    def plan(self, base_url: str, conn_id: str) -> dict[str, Json]:
        """Describe what is collected, without secrets: a change in it makes another collection."""
        places = {} if self._sets is None else dict(self._sets.places)
        return {
            "base_url": base_url,
            "conn_id": conn_id,
            "method": self.request.method,
            "endpoint": self.request.path,
            "query": {**self.request.query, **dict.fromkeys(self.secret_query, "***")},
            "body": self.request.body,
            "pagination": describe(self.pagination),
            "data_selector": self.data_selector,
            "partitions": None if self._sets is None else self._sets.describe(),
            "sample_pages": self.sample_pages,
            **({"inject_into": places} if places else {}),
            **({"response": dict(self.response)} if self.response else {}),
        }

    @property
    def credentials_fingerprint(self) -> str:
        """A digest of what the plan leaves out: with other credentials, an API may have other rows."""
        return sha256(_text(self.secret_query)).hexdigest() if self.secret_query else ""

    def _said(self, partition: tuple[int, ...]) -> str:
        """Name parameters with their values, but for those that may be credentials; of a long text tell no part."""
        found: Mapping[str, Json] = {}
        with suppress(PaginatedApiError):  # the first error is the one to tell
            found = self.parameters(partition)
        return ", ".join(
            f"{name}={'***' if SENSITIVE.fullmatch(name) else _shown(value)}" for name, value in found.items()
        )

    def _wires(self) -> Iterator[bytes]:
        return (_wire(self.pagination.first(request)) for request in self.requests())

    def _asked_twice(self, number: int) -> ConfigurationError:
        """Find which earlier set asks the same: that nobody remembers them is what keeps the memory flat."""
        twice = next(islice(self._wires(), number, None))
        earlier = next(at for at, wire in enumerate(self._wires()) if wire == twice)
        return ConfigurationError(
            f"partitions[{number}] asks the same as partitions[{earlier}]; its rows would be there twice"
        )


def check_request(request: PageRequest) -> None:
    """Refuse a request whose parts have the wrong type, naming the argument."""
    for name, value, kind in (("endpoint", request.path, str), ("method", request.method, str)):
        if not isinstance(value, kind):
            raise ConfigurationError(f"{name}: expected a string, got {value!r}")
    if not HTTP_TOKEN.fullmatch(request.method):
        raise ConfigurationError(f"method: expected a name like GET, got {request.method!r}")
    for name, given in (("query", request.query), ("headers", request.headers)):
        if not isinstance(given, Mapping):
            raise ConfigurationError(f"{name}: expected a dict, got {type(given).__name__}")


def _wire(request: PageRequest) -> bytes:
    """Digest what is sent: in a query, a number and its digits are the same, and ``None`` is nothing."""
    query = {name: value if isinstance(value, bool) else str(value) for name, value in request.query.items()}
    sent = {name: value for name, value in query.items() if request.query[name] is not None}
    headers = {name.lower(): value for name, value in request.headers.items()}
    return blake2b(_text([request.path, sent, headers, request.body]), digest_size=16).digest()


def _shown(value: Json) -> str:
    if isinstance(value, str):
        return quoted(value)
    return repr(value) if isinstance(value, int | float) else describe_shape(value)


def _text(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, default=str).encode()


def split_credentials(collection: Collection, secrets: Several[str]) -> Collection:
    """Return the collection with the credentials in its query apart: they are sent with each request and not stored.

    Those are the values that hold one of ``secrets``, and those that are named like one. What the strategy or the
    partitions set stays.
    """
    own = {*_texts(describe(collection.pagination))}
    own.update(collection.parameter_names)
    named = type(collection.pagination) in STRATEGIES.values()
    query = collection.request.query
    apart = {
        name: value
        for name, value in query.items()
        if name not in own and ((named and SENSITIVE.fullmatch(name)) or _holds(value, secrets))
    }
    if not apart:
        return collection
    kept = {name: value for name, value in query.items() if name not in apart}
    return replace(collection, request=replace(collection.request, query=kept), secret_query=apart)


def shown_of(collection: Collection) -> frozenset[str]:
    """Return the parameters of partitions whose values may stand in a log."""
    return frozenset(name for name in collection.parameter_names if not SENSITIVE.fullmatch(name))


def _holds(value: Json, secrets: Several[str]) -> bool:
    text = str(value)
    return text in secrets or any(len(secret) >= MIN_MASKED_CHARS and secret in text for secret in secrets)


def _texts(value: Json) -> Iterator[str]:
    """Yield every text in what a strategy is described by: the names of its parameters are among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
