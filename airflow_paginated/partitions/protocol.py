"""What partitions have to answer, as they are configured and as they are asked; nobody has to inherit."""

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
"""Where a parameter goes that fills no placeholder of the endpoint; with ``none`` it is known, but not sent."""


class Partitions(Protocol):
    """Parameter sets, each of which is collected from its first page to its last.

    ``names`` are those of all parameters, ``places`` say where some of them go.
    """

    @property
    def names(self) -> Collection[str]:
        """The names of all parameters."""

    @property
    def places(self) -> Mapping[str, ParameterPlace]:
        """Where parameters go, as far as it is said; others go into a body that is an object, else into the query."""

    def sets(self) -> Iterator[Mapping[str, Json]]:
        """Yield the parameter sets, each time the same in the same order; there may be more than fit into memory."""

    def describe(self) -> Json:
        """Return what stands in the plan: short, and another one for other sets."""


@runtime_checkable
class SupportsChecks(Protocol):
    """Optional: partitions that are as complete as what they are made of."""

    def checks(self) -> Iterator[Check]:
        """Yield what is known of that."""


class Parent(Protocol):
    """A published dataset."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    @property
    def digest(self) -> str:
        """Another one for other rows."""

    @property
    def complete(self) -> bool:
        """Whether no check was waived."""

    @property
    def count(self) -> int:
        """How many rows it has."""

    def blocks(self) -> Iterator[bytes]:
        """Yield all rows in order, as JSON Lines, some at a time. Raises ``StoreError`` where they are not there."""


ReadParent: TypeAlias = Callable[[str], Parent]
"""Returns the dataset that the manifest at a path lists."""


@runtime_checkable
class UnresolvedPartitions(Protocol):
    """Partitions as they are configured; its ``template_fields`` are rendered in place, so it is no frozen value."""

    def resolved(self, read: ReadParent) -> Partitions:
        """Return the partitions, when all is rendered."""


Places: TypeAlias = "ParameterPlace | Mapping[str, ParameterPlace] | None"
"""One place for all parameters, one for each of some, or the usual one."""

PARAMETER_PLACES: Final = ("query", "header", "body", "none")

_PLACEHOLDER: Final = re.compile(r"\{[^{}/]*\}")


def check_places(inject_into: Any) -> None:
    """Refuse what says no place."""
    if inject_into is None:
        return
    for place in inject_into.values() if isinstance(inject_into, Mapping) else (inject_into,):
        check_choice(place, PARAMETER_PLACES, "partitions: inject_into")


def places_of(inject_into: Places, names: Collection[str]) -> Mapping[str, ParameterPlace]:
    """Return where each of the parameters goes for which it is said.

    Raises ``ConfigurationError`` for a place that it cannot go to.
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
    asked = replace(request, path=path, partition=(number,))
    if places:
        asked = inject(inject(asked, "header", sent["header"]), "body", sent["body"])
    if isinstance(request.body, Mapping):
        return replace(asked, query={**asked.query, **sent["query"]}, body={**asked.body, **sent[""]})
    return replace(asked, query={**asked.query, **sent["query"], **sent[""]})


def _fill_placeholders(path: str, parameters: Mapping[str, Json], where: str) -> tuple[str, dict[str, Json]]:
    """Return the endpoint with its placeholders filled, and the parameters that are left."""
    rest = dict(parameters)
    for name in parameters if "{" in path else ():
        mark = "{" + name + "}"
        if mark in path:
            path = path.replace(mark, _quote_segment(rest.pop(name), f"{where}: {name!r}"))
    if unfilled := _PLACEHOLDER.search(path):
        known = ", ".join(parameters) or "none"
        raise ConfigurationError(
            f"{where}: no parameter fills {unfilled[0]} in the endpoint; the parameters are {known}"
        )
    return path, rest


def _quote_segment(value: Json, where: str) -> str:
    """Quote a value for the endpoint; an empty one or dots would ask another endpoint."""
    right = isinstance(value, str | int | float) and not isinstance(value, bool)
    if not right or value in ("", ".", ".."):
        raise ConfigurationError(
            f"{where} fills a placeholder of the endpoint: expected a string or a number, got {value!r}"
        )
    try:
        return quote(str(value), safe="")
    except UnicodeEncodeError:
        raise ConfigurationError(f"{where} fills a placeholder of the endpoint, but is not valid Unicode") from None
