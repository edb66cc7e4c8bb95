"""``Link: <https://...>; rel="next"``: the next page's URL in a header."""

from __future__ import annotations

from dataclasses import dataclass, replace

from airflow_paginated.paging.dicts import check_text
from airflow_paginated.paging.errors import ResponseError
from airflow_paginated.paging.links import SIBLINGS, as_utf8, links_in, number_in, resolved, series_of
from airflow_paginated.paging.selectors import ABSENT, quoted
from airflow_paginated.paging.strategies.json_link import Linked
from airflow_paginated.paging.values import Json, Page, PageRequest


@dataclass(frozen=True, kw_only=True)
class HeaderLink(Linked):
    """Follow the link with ``relation`` in the ``Link`` header (RFC 8288).

    Where the header also says what is ``last``, and the links differ in one number, pages are fetched before their
    turn. ``link_header`` names another header that is written in the same way.

    Example::

        HeaderLink(page_size=100, page_size_param="per_page")
    """

    relation: str = "next"
    link_header: str = "Link"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_text(self.relation, "pagination: relation")

    def link(self, page: Page) -> Json:
        """Return the link; ``ABSENT`` where nothing in the answer tells of other pages."""
        header = page.headers.get(self.link_header.lower())
        if header is None:
            return ABSENT
        links = links_in(as_utf8(header))
        target = links.target(self.relation)
        if target is not None or not header.strip():
            return target
        if self.relation.lower() in links.rest.lower():
            raise ResponseError(f"the {self.link_header} header tells of {self.relation!r}, but in no link (RFC 8288)")
        # An API that names the first page and the last has the relation, and no next page.
        return None if any(link.relations & SIBLINGS for link in links.links) else ABSENT

    def ahead(self, page: Page, sent: PageRequest) -> PageRequest | None:
        """Return the request after ``sent``, as far as the last page that is known."""
        links = links_in(as_utf8(page.headers.get(self.link_header.lower(), "")))
        following, last = links.target(self.relation), links.target("last")
        if not following or not last or not page.request.index:
            return None
        series = series_of(page.request.path, resolved(page, following, self.own_host))
        # A number that moves on by something else may be the key of a row: the next one cannot be known.
        if series is None or series.step not in (1, page.count):
            return None
        steps, end = sent.index - page.request.index, number_in(last, series.name)
        if end is None or series.value(steps) > end:
            return None
        # It is reckoned, not told: where it fails, a link may still lead elsewhere, or nowhere.
        return replace(sent, index=sent.index + 1, path=series.link(steps), query={}, sure=False)

    def missing(self, page: Page) -> str:
        """Name the header, and those that are there."""
        names = ", ".join(quoted(name) for name in sorted(page.headers))
        return f"the answer has no {self.link_header} header with rel={self.relation!r}; its headers are {names}"
