"""``{"next": "https://..."}``: the next page's URL in the body."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace

from airflow_paginated.core.errors import ResponseError
from airflow_paginated.core.links import (
    PAGE_RELATIONS,
    as_utf8,
    find_series,
    parse_link_header,
    query_number,
    resolve_link,
)
from airflow_paginated.core.paths import ABSENT, check_path, describe_envelope, describe_shape, quoted, select
from airflow_paginated.core.validation import check_flag, check_text
from airflow_paginated.core.values import Json, Page, PageRequest, Stop
from airflow_paginated.pagination.cursor import EMPTY_VALUES, Sequential


@dataclass(frozen=True, kw_only=True)
class Linked(Sequential):
    """Follow the API's links as they are, with their own parameters.

    A link must stay on the connection's origin. ``own_host=True`` uses only the path and query of a link, for an API
    behind a proxy that does not know its own scheme and host.
    """

    own_host: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag(self.own_host, "pagination: own_host")

    @abstractmethod
    def link(self, page: Page) -> Json:
        """Return the link to the next page as the response has it."""

    def found(self, page: Page) -> Json:
        """Return the URL of the link."""
        link = self.link(page)
        if isinstance(link, str):
            return resolve_link(page, link, self.own_host) if link.strip() else None
        if link is ABSENT or link in EMPTY_VALUES:
            return link
        raise ResponseError(f"the link to the next page must be a string, but is {describe_shape(link)}")

    def request(self, page: Page, found: Json) -> PageRequest | Stop:
        """Return the request for a link, without the query parameters of the first request."""
        return replace(page.request, path=found, query={})


@dataclass(frozen=True, kw_only=True)
class JsonLink(Linked):
    """Follow the link at ``next_url_path``: a string, an object with ``href`` or ``url``, or null at the end.

    In a list of objects, the one whose ``rel`` (or ``relation``) is ``relation`` is used. A link may be relative.

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
        """Return the link, an empty value at the end, or ``ABSENT``."""
        found = select(page.envelope, self.next_url_path)
        if isinstance(found, list):
            found = self._find_relation(found)
        if isinstance(found, Mapping):
            return next((found[name] for name in ("href", "url") if name in found), ABSENT)
        return found

    def _find_relation(self, links: list[Json]) -> Json:
        every = [_relations(each) for each in links]
        named = [link for link, relations in zip(links, every, strict=True) if self.relation.lower() in relations]
        if named:
            return named[0]
        return None if any(relations & PAGE_RELATIONS for relations in every) else ABSENT

    def missing(self, page: Page) -> str:
        """Name the path, and describe the body."""
        listed = isinstance(select(page.envelope, self.next_url_path), list)
        relation = f" with the relation {self.relation!r}" if listed else ""
        there = describe_envelope(page.envelope, self.next_url_path)
        return f"next_url_path {self.next_url_path!r} does not lead to a link{relation}; {there}"


def _relations(link: Json) -> frozenset[str]:
    """Return the relations of an object in a list of links, in lower case."""
    given = link.get("rel", link.get("relation")) if isinstance(link, Mapping) else None
    names = given if isinstance(given, list) else [given]
    return frozenset(" ".join(each for each in names if isinstance(each, str)).lower().split())


@dataclass(frozen=True, kw_only=True)
class HeaderLink(Linked):
    """Follow the link with ``relation`` in the ``Link`` header (RFC 8288).

    If the header also has a ``last`` link and the links differ in one number only, pages are prefetched.
    ``link_header`` names another header with the same syntax.

    Example::

        HeaderLink(page_size=100, page_size_param="per_page")
    """

    relation: str = "next"
    link_header: str = "Link"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_text(self.relation, "pagination: relation")

    def link(self, page: Page) -> Json:
        """Return the link; ``ABSENT`` if the response has no link to any page."""
        header = page.headers.get(self.link_header.lower())
        if header is None:
            return ABSENT
        links = parse_link_header(as_utf8(header))
        target = links.target(self.relation)
        if target is not None or not header.strip():
            return target
        if self.relation.lower() in links.rest.lower():
            raise ResponseError(
                f"the {self.link_header} header mentions {self.relation!r}, but not in a valid link (RFC 8288)"
            )
        # An API that links to other pages would also link to the next one, if there were one.
        return None if any(link.relations & PAGE_RELATIONS for link in links.links) else ABSENT

    def ahead(self, page: Page, sent: PageRequest) -> PageRequest | None:
        """Return the request after ``sent``, up to the last page that the API links to."""
        links = parse_link_header(as_utf8(page.headers.get(self.link_header.lower(), "")))
        following, last = links.target(self.relation), links.target("last")
        if not following or not last or not page.request.index:
            return None
        series = find_series(page.request.path, resolve_link(page, following, self.own_host))
        # A number with another step may be the key of a row: the next one cannot be predicted.
        if series is None or series.step not in (1, page.count):
            return None
        steps, end = sent.index - page.request.index, query_number(last, series.name)
        if end is None or series.value(steps) > end:
            return None
        # Predicted, not linked: if it fails, the real link may still lead elsewhere, or nowhere.
        return replace(sent, index=sent.index + 1, path=series.link(steps), query={}, sure=False)

    def missing(self, page: Page) -> str:
        """Name the header, and list those of the response."""
        names = ", ".join(quoted(name) for name in sorted(page.headers))
        return f"the response has no {self.link_header} header with rel={self.relation!r}; its headers are {names}"
