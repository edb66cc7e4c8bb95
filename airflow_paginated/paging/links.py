"""Links to other pages: the Link header, and references that are not absolute."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import urljoin, urlsplit

from airflow_paginated.paging.errors import OriginError, ResponseError
from airflow_paginated.paging.values import Page

_TARGET: Final = re.compile(r"[\s,]*<([^>]*)>")
_PARAMETER: Final = re.compile(r"""[ \t]*;[ \t]*([^\s=;,"]*)[ \t]*(?:=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?""")
_NUMBER: Final = re.compile(r"(?:^|(?<=[?&]))([^=&]+)=(\d{1,18})(?=&|$)")


class Link(NamedTuple):
    """One link: where it leads, and its relations in lower case."""

    target: str
    relations: frozenset[str]


@lru_cache(maxsize=64)
def links_in(header: str) -> tuple[Link, ...]:
    """Return the links of a Link header (RFC 8288, section 3 and appendix B.2).

    Several headers may be joined by commas. What follows something that is no link is left out, as are links whose
    ``anchor`` says that they are not of this page.
    """
    return tuple(_links(header))


def _links(header: str) -> Iterator[Link]:
    at = 0
    while found := _TARGET.match(header, at):
        at = found.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, at):
            at = parameter.end()
            name, quoted, plain = parameter.groups()
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain or ""
            parameters.setdefault(name.lower(), value)  # of several, the first one counts
        if not parameters.get("anchor"):
            yield Link(found.group(1).strip(), frozenset(parameters.get("rel", "").lower().split()))


def target_of(header: str, relation: str) -> str | None:
    """Return where the first link with a relation leads."""
    return next((link.target for link in links_in(header) if relation.lower() in link.relations), None)


def resolved(page: Page, link: str, own_host: bool = False) -> str:
    """Return where a link on a page leads (RFC 3986, section 5); with ``own_host`` on the page's own host.

    Raises ``ResponseError`` for what is no URL, ``OriginError`` for one that HTTP does not lead to.
    """
    base = page.url or page.request.path
    try:
        url = urljoin(base, link.strip()).partition("#")[0]
        if urlsplit(url).scheme not in ("", "http", "https"):
            raise OriginError("the API's link to the next page is no http(s) URL; refused")
        if own_host:
            parts = urlsplit(url)
            url = urljoin(base, parts._replace(scheme="", netloc="").geturl())
    except ValueError:
        raise ResponseError("the API's link to the next page is no URL") from None
    return url


class Series(NamedTuple):
    """Links that differ in one number only: ``at`` is that of ``url``, and ``step`` leads to the next one."""

    url: str
    name: str
    at: int
    step: int

    def link(self, steps: int) -> str:
        """Return the link that many steps after ``url``."""
        return _NUMBER.sub(lambda found: self._moved(found, steps), self.url)

    def value(self, steps: int) -> int:
        """Return the number in ``link(steps)``."""
        return self.at + steps * self.step

    def _moved(self, found: re.Match[str], steps: int) -> str:
        return f"{found[1]}={self.value(steps)}" if found[1] == self.name else found[0]


def series_of(here: str, following: str) -> Series | None:
    """Return the series that two links begin, or ``None`` where they differ in anything but one growing number."""
    before, after = (dict(_NUMBER.findall(url.partition("?")[2])) for url in (here, following))
    grown = [name for name, value in after.items() if name in before and int(before[name]) < int(value)]
    if len(grown) != 1:
        return None
    name = grown[0]
    series = Series(following, name, int(after[name]), int(after[name]) - int(before[name]))
    return series if series.link(-1) == here else None


def number_in(url: str, name: str) -> int | None:
    """Return a number in the query of a URL."""
    found = dict(_NUMBER.findall(url.partition("?")[2])).get(name)
    return None if found is None else int(found)
