"""What partitions have to answer, as they are configured and as they are asked; nobody has to inherit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from airflow_paginated.paging.completeness import Check
from airflow_paginated.paging.values import Json

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
class ParentSource(Protocol):
    """Partitions as they are configured; its ``template_fields`` are rendered in place, so it is no frozen value."""

    def resolved(self, read: ReadParent) -> Partitions:
        """Return the partitions, when all is rendered."""
