"""The protocols of partitions, before and after rendering, and how a parameter set becomes a request."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, Literal, Protocol, TypeAlias, runtime_checkable
from urllib.parse import quote

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.injection import check_parameter, inject
from airflow_paginated.core.secrets import SENSITIVE
from airflow_paginated.core.validation import check_choice, check_keys
from airflow_paginated.core.values import Check, Json, PageRequest

ParameterPlace: TypeAlias = Literal["query", "header", "body", "none"]
"""Where a parameter goes that fills no placeholder of the endpoint; with ``none`` it is not sent."""


class Partitions(Protocol):
    """Parameter sets, each of which is collected from its first page to its last."""

    @property
    def names(self) -> Collection[str]:
        """The names of all parameters."""

    @property
    def places(self) -> Mapping[str, ParameterPlace]:
        """Where parameters go; those not listed go into the body if it is an object, else into the query."""

    def sets(self) -> Iterator[Mapping[str, Json]]:
        """Yield the parameter sets, the same in the same order at each call; they need not fit into memory."""

    def describe(self) -> Json:
        """Return a short description that differs for different sets; a resume compares it."""


@runtime_checkable
class SupportsChecks(Protocol):
    """Optional: partitions whose completeness depends on their source."""

    def checks(self) -> Iterator[Check]:
        """Yield the checks of the source."""


class Parent(Protocol):
    """A published dataset."""

    @property
    def name(self) -> str:
        """Its name in messages."""

    @property
    def digest(self) -> str:
        """A digest of its rows."""

    @property
    def complete(self) -> bool:
        """Whether no check was waived."""

    @property
    def count(self) -> int:
        """The number of its rows."""

    def blocks(self) -> Iterator[bytes]:
        """Yield all rows in order as blocks of JSON Lines. Raises ``StoreError`` if they are missing."""


ReadParent: TypeAlias = Callable[[str], Parent]
"""Opens the dataset of the manifest at a path."""


@runtime_checkable
class UnresolvedPartitions(Protocol):
    """Partitions as configured in a DAG; mutable, because Airflow renders ``template_fields`` in place."""

    def resolved(self, read: ReadParent) -> Partitions:
        """Return the partitions, once all templates are rendered."""


Places: TypeAlias = "ParameterPlace | Mapping[str, ParameterPlace] | None"
"""One place for all parameters, places by name, or ``None`` for the defaults."""

PARAMETER_PLACES: Final = ("query", "header", "body", "none")

_PLACEHOLDER: Final = re.compile(r"\{[^{}/]*\}")


def check_places(inject_into: Any) -> None:
    """Raise ``ConfigurationError`` for an unknown place."""
    if inject_into is None:
        return
    for place in inject_into.values() if isinstance(inject_into, Mapping) else (inject_into,):
        check_choice(place, PARAMETER_PLACES, "partitions: inject_into")


def places_of(inject_into: Places, names: Collection[str]) -> Mapping[str, ParameterPlace]:
    """Return the place of each parameter that ``inject_into`` covers.

    Raises ``ConfigurationError`` for a parameter that cannot go there.
    """
    check_places(inject_into)
    if isinstance(inject_into, Mapping):
        check_keys(inject_into, names, "partitions: inject_into")
        places = dict(inject_into)
    else:
        places = {} if inject_into is None else dict.fromkeys(names, inject_into)
    for name, place in places.items():
        if place == "header" and SENSITIVE.fullmatch(name):
            raise ConfigurationError(
                f"partitions: {name!r} looks like a credential, and parameters are stored with the pages; put it on the"
                " connection"
            )
        if place in ("header", "body"):
            check_parameter(name, place, "partitions: parameter name")
    return places


def build_partition_request(
    request: PageRequest, number: int, parameters: Mapping[str, Json], places: Mapping[str, ParameterPlace]
) -> PageRequest:
    """Return the request of partition ``number``. Raises ``ConfigurationError`` for a value that cannot be sent."""
    path, rest = _fill_placeholders(request.path, parameters, f"partitions[{number}]")
    sent: dict[str, dict[str, Json]] = {place: {} for place in ("", *PARAMETER_PLACES)}
    for name, value in rest.items():
        sent[places.get(name, "")][name] = value
    built = replace(request, path=path, partition=(number,))
    if places:
        built = inject(inject(built, "header", sent["header"]), "body", sent["body"])
    if isinstance(request.body, Mapping):
        return replace(built, query={**built.query, **sent["query"]}, body={**built.body, **sent[""]})
    return replace(built, query={**built.query, **sent["query"], **sent[""]})


def _fill_placeholders(path: str, parameters: Mapping[str, Json], where: str) -> tuple[str, dict[str, Json]]:
    """Fill the placeholders of an endpoint; return it with the remaining parameters."""
    rest = dict(parameters)
    for name in parameters if "{" in path else ():
        placeholder = "{" + name + "}"
        if placeholder in path:
            path = path.replace(placeholder, _quote_segment(rest.pop(name), f"{where}: {name!r}"))
    if unfilled := _PLACEHOLDER.search(path):
        known = ", ".join(parameters) or "none"
        raise ConfigurationError(
            f"{where}: no parameter fills {unfilled[0]} in the endpoint; the parameters are {known}"
        )
    return path, rest


def _quote_segment(value: Json, where: str) -> str:
    """Quote a value for the endpoint; an empty one or dots would change the endpoint."""
    right = isinstance(value, str | int | float) and not isinstance(value, bool)
    if not right or value in ("", ".", ".."):
        raise ConfigurationError(
            f"{where} fills a placeholder of the endpoint: expected a string or a number, got {value!r}"
        )
    try:
        return quote(str(value), safe="")
    except UnicodeEncodeError:
        raise ConfigurationError(f"{where} fills a placeholder of the endpoint, but is not valid Unicode") from None
