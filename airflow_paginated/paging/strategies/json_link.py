"""``{"next": "https://..."}``: the next page's URL in the body."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace

from airflow_paginated.paging.dicts import check_flag, check_text
from airflow_paginated.paging.errors import ResponseError
from airflow_paginated.paging.links import SIBLINGS, resolved
from airflow_paginated.paging.selectors import ABSENT, beside_rows, check_path, seen, select
from airflow_paginated.paging.strategies.sequential import NOTHING, Sequential
from airflow_paginated.paging.values import Json, Page, PageRequest, Stop


@dataclass(frozen=True, kw_only=True)
class Linked(Sequential):
    """Follow the links that the API gives, as they are: they carry their own parameters.

    A link must stay on the connection's origin. ``own_host=True`` takes only path and query of a link, for an API that
    does not know by which scheme and host it is reached.
    """

    own_host: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag(self.own_host, "pagination: own_host")

    @abstractmethod
    def link(self, page: Page) -> Json:
        """Return the link on a page as it is written there."""

    def found(self, page: Page) -> Json:
        """Return where the link leads."""
        link = self.link(page)
        if isinstance(link, str):
            return resolved(page, link, self.own_host) if link.strip() else None
        if link is ABSENT or link in NOTHING:
            return link
        raise ResponseError(f"the link to the next page should be a text, it is {seen(link)}")

    def request(self, page: Page, found: Json) -> PageRequest | Stop:
        """Return the request for a link, without the parameters of the first one."""
        return replace(page.request, path=found, query={})


@dataclass(frozen=True, kw_only=True)
class JsonLink(Linked):
    """Follow the link at ``next_url_path``: a text, an object with ``href`` or ``url``, or null at the end.

    Where a list of objects is there, that whose ``rel`` (or ``relation``) is ``relation`` counts. A link may be
    relative.

    Example::

        JsonLink(next_url_path="links.next")
    """

    next_url_path: str = "next"
    relation: str = "next"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_path(self.next_url_path, "pagination: next_url_path")
        check_text(self.relation, "pagination: relation")

    def link(self, page: Page) -> Json:
        """Return the link, or the end, or ``ABSENT``."""
        found = select(page.envelope, self.next_url_path)
        if isinstance(found, list):
            found = self._named(found)
        if isinstance(found, Mapping):
            return next((found[name] for name in ("href", "url") if name in found), ABSENT)
        return found

    def _named(self, links: list[Json]) -> Json:
        every = [_relations(each) for each in links]
        named = [link for link, relations in zip(links, every, strict=True) if self.relation.lower() in relations]
        if named:
            return named[0]
        return None if any(relations & SIBLINGS for relations in every) else ABSENT

    def missing(self, page: Page) -> str:
        """Name the path, and the shape of the body."""
        listed = isinstance(select(page.envelope, self.next_url_path), list)
        relation = f" with the relation {self.relation!r}" if listed else ""
        there = beside_rows(page.envelope, self.next_url_path)
        return f"next_url_path {self.next_url_path!r} leads to no link{relation}; {there}"


def _relations(link: Json) -> frozenset[str]:
    """Return the names that an object in a list of links has, in lower case: one or several, or none."""
    given = link.get("rel", link.get("relation")) if isinstance(link, Mapping) else None
    names = given if isinstance(given, list) else [given]
    return frozenset(" ".join(each for each in names if isinstance(each, str)).lower().split())
