"""The definition of a collection: one endpoint, or one request for each of many parameter sets."""

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
    """A request, its pagination, the location of its rows, and the parameter sets to send it with."""

    request: PageRequest
    pagination: Pagination
    data_selector: str | None = None
    partitions: Partitions | Sequence[Mapping[str, Json]] | None = None
    sample_pages: int | None = None
    response: Mapping[str, Json] = field(default_factory=dict)
    """The response rules that differ from their defaults; they affect the rows, so the plan includes them."""
    secret_query: Mapping[str, Json] = field(default_factory=dict, repr=False)
    """Query credentials, sent with every request and never stored."""

    _resolved: Partitions | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_path(self.data_selector, "data_selector", optional=True)
        check_request(self.request)
        object.__setattr__(self, "_resolved", as_partitions(self.partitions))

    @property
    def strategy(self) -> Pagination:
        """The configured pagination, limited to ``sample_pages``."""
        return Sample(self.pagination, self.sample_pages) if self.sample_pages else self.pagination

    @property
    def parameter_names(self) -> frozenset[str]:
        """The parameter names of all sets."""
        return frozenset() if self._resolved is None else frozenset(self._resolved.names)

    def parameter_sets(self) -> Iterator[Mapping[str, Json]]:
        """Yield the parameters of each partition."""
        return iter([{}]) if self._resolved is None else self._resolved.sets()

    def parameters(self, partition: tuple[int, ...]) -> Mapping[str, Json]:
        """Return the parameters of a partition, or of the one it was split from."""
        return next(islice(self.parameter_sets(), partition[0], None), {})

    @contextmanager
    def naming_parameters(self) -> Iterator[None]:
        """Append the parameters of the partition to the message of an error raised inside."""
        try:
            yield
        except PaginatedApiError as exc:
            if exc.partition and not isinstance(exc, Cancelled) and (named := self._describe_parameters(exc.partition)):
                exc.args = (f"{exc} (partitions[{exc.partition[0]}]: {named})",)
            raise

    def requests(self) -> Iterator[PageRequest]:
        """Yield the request of each partition, before pagination adds its parameters."""
        if self._resolved is None:
            yield self.request
            return
        places = self._resolved.places
        for number, parameters in enumerate(self._resolved.sets()):
            yield build_partition_request(self.request, number, parameters, places)

    def count(self, check_cancelled: Callable[[], None] = lambda: None) -> int:
        """Check every parameter set and return their number; ``check_cancelled`` may raise between any two.

        Raises ``ConfigurationError`` for a set that makes no valid request, and for two sets whose first requests are
        the same: their rows would be duplicated.
        """
        number = -1
        with closing(SeenSet("BLOB", REQUESTS_CACHE_KIB)) as seen:
            for number, digest in enumerate(self._request_digests()):
                check_cancelled()
                if not seen.add(digest):
                    raise self._duplicate_request(number)
        return number + 1

    def checks(self) -> Iterator[Check]:
        """Yield the checks of the parameter sets for the manifest."""
        if isinstance(self._resolved, SupportsChecks):
            yield from self._resolved.checks()

    def plan(self, base_url: str, conn_id: str) -> dict[str, Json]:
        """Describe the collection without secrets. A changed plan makes another collection, which starts over."""
        places = {} if self._resolved is None else dict(self._resolved.places)
        return {
            "base_url": base_url,
            "conn_id": conn_id,
            "method": self.request.method,
            "endpoint": self.request.path,
            "query": {**self.request.query, **dict.fromkeys(self.secret_query, "***")},
            "body": self.request.body,
            "pagination": describe(self.pagination),
            "data_selector": self.data_selector,
            "partitions": None if self._resolved is None else self._resolved.describe(),
            "sample_pages": self.sample_pages,
            **({"inject_into": places} if places else {}),
            **({"response": dict(self.response)} if self.response else {}),
        }

    @property
    def credentials_fingerprint(self) -> str:
        """A digest of the credentials, which the plan leaves out: with others, an API may return other rows."""
        return sha256(_to_json(self.secret_query)).hexdigest() if self.secret_query else ""

    def _describe_parameters(self, partition: tuple[int, ...]) -> str:
        """Return the parameters with their values, without possible credentials and long strings."""
        found: Mapping[str, Json] = {}
        with suppress(PaginatedApiError):  # the original error matters more
            found = self.parameters(partition)
        return ", ".join(
            f"{name}={'***' if SENSITIVE.fullmatch(name) else _describe_value(value)}" for name, value in found.items()
        )

    def _request_digests(self) -> Iterator[bytes]:
        return (_request_digest(self.pagination.first(request)) for request in self.requests())

    def _duplicate_request(self, number: int) -> ConfigurationError:
        # Only digests were kept, without their numbers, so that memory stays flat: find the earlier set again.
        duplicate = next(islice(self._request_digests(), number, None))
        earlier = next(at for at, digest in enumerate(self._request_digests()) if digest == duplicate)
        return ConfigurationError(
            f"partitions[{number}] sends the same request as partitions[{earlier}]; its rows would be duplicated"
        )


def check_request(request: PageRequest) -> None:
    """Refuse a request whose parts have the wrong type, naming the argument."""
    for name, value, kind in (("endpoint", request.path, str), ("method", request.method, str)):
        if not isinstance(value, kind):
            raise ConfigurationError(f"{name}: expected a string, got {value!r}")
    if not HTTP_TOKEN.fullmatch(request.method):
        raise ConfigurationError(f"method: expected a name such as GET, got {request.method!r}")
    for name, given in (("query", request.query), ("headers", request.headers)):
        if not isinstance(given, Mapping):
            raise ConfigurationError(f"{name}: expected a dict, got {type(given).__name__}")


def _request_digest(request: PageRequest) -> bytes:
    """Digest a request as sent: in a query, a number equals its digits, and ``None`` is left out."""
    query = {name: value if isinstance(value, bool) else str(value) for name, value in request.query.items()}
    sent = {name: value for name, value in query.items() if request.query[name] is not None}
    headers = {name.lower(): value for name, value in request.headers.items()}
    return blake2b(_to_json([request.path, sent, headers, request.body]), digest_size=16).digest()


def _describe_value(value: Json) -> str:
    if isinstance(value, str):
        return quoted(value)
    return repr(value) if isinstance(value, int | float) else describe_shape(value)


def _to_json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, default=str).encode()


def split_credentials(collection: Collection, secrets: Several[str]) -> Collection:
    """Return the collection with the credentials of its query in ``secret_query``.

    Credentials are values that contain one of ``secrets`` and parameters with a sensitive name, but for those that the
    pagination or the partitions set.
    """
    own = {*_strings(describe(collection.pagination))}
    own.update(collection.parameter_names)
    built_in = type(collection.pagination) in STRATEGIES.values()
    query = collection.request.query
    credentials = {
        name: value
        for name, value in query.items()
        if name not in own and ((built_in and SENSITIVE.fullmatch(name)) or _contains_secret(value, secrets))
    }
    if not credentials:
        return collection
    kept = {name: value for name, value in query.items() if name not in credentials}
    return replace(collection, request=replace(collection.request, query=kept), secret_query=credentials)


def shown_of(collection: Collection) -> frozenset[str]:
    """Return the names of the partition parameters whose values may be logged."""
    return frozenset(name for name in collection.parameter_names if not SENSITIVE.fullmatch(name))


def _contains_secret(value: Json, secrets: Several[str]) -> bool:
    text = str(value)
    return text in secrets or any(len(secret) >= MIN_MASKED_CHARS and secret in text for secret in secrets)


def _strings(value: Json) -> Iterator[str]:
    """Yield every string in a strategy's description; the names of its parameters are among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _strings(each)
