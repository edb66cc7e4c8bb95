"""Links to other pages: the Link header, relative references, and links that form a series."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote_plus, urljoin, urlsplit

from airflow_paginated.core.errors import OriginError, ResponseError
from airflow_paginated.core.values import Page, PageRequest

# Each pattern matches in linear time: a header may be 64 kB of malicious input.
_LINK_TARGET: Final = re.compile(r"[\s,]*<([^>]*)>")

_LINK_PARAMETER: Final = re.compile(
    r"""[ \t]*;[ \t]*([^\s=;,"]*)[ \t]*(?:=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?"""
)

_NEXT_TARGET: Final = re.compile(r",\s*(?=<)")

_PLAIN_NUMBER: Final = re.compile(r"0|[1-9]\d{0,17}", re.ASCII)

PAGE_RELATIONS: Final = frozenset({"first", "last", "prev", "previous", "self"})
"""Relations between pages: a response that has one of them, but no ``next``, is the last page."""


def as_utf8(header: str) -> str:
    """Decode as UTF-8, if possible, a header value that was read as Latin-1."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


class Link(NamedTuple):
    """One link: its target, and its relations in lower case."""

    target: str
    relations: frozenset[str]


class Links(NamedTuple):
    """The links of a header, and the rest that is not a valid link."""

    links: tuple[Link, ...]
    rest: str

    def target(self, relation: str) -> str | None:
        """Return the target of the first link with a relation."""
        return next((link.target for link in self.links if relation.lower() in link.relations), None)


@lru_cache(maxsize=64)
def parse_link_header(header: str) -> Links:
    """Return the links of a Link header (RFC 8288, section 3 and appendix B.2).

    Several headers may be joined by commas. A link with an ``anchor`` is not about this page, and ignored.
    """
    found = list(_parse_links(header))
    links = tuple(each for each in found if isinstance(each, Link))
    return Links(links, " ".join(each for each in found if isinstance(each, str)))


def _parse_links(header: str) -> Iterator[Link | str]:
    at = 0
    while at < len(header):
        found = _LINK_TARGET.match(header, at)
        if found is None:
            another = _NEXT_TARGET.search(header, at) if header.find(">", at) >= 0 else None
            begun, at = at, another.end() if another else len(header)
            yield header[begun:at].strip(" \t,")
            continue
        at = found.end()
        parameters: dict[str, str] = {}
        while parameter := _LINK_PARAMETER.match(header, at):
            at = parameter.end()
            name, quoted, plain = parameter.groups()
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain or ""
            parameters.setdefault(name.lower(), value)  # the first occurrence counts
        if not parameters.get("anchor"):
            yield Link(found.group(1).strip(), frozenset(parameters.get("rel", "").lower().split()))


def query_without_params(query: str, names: Collection[str]) -> str:
    """Return a query without the parameters of these names; the others stay byte for byte."""
    fields = query.split("&")
    return "&".join(field for field in fields if unquote_plus(field.partition("=")[0]) not in names)


def without_auth_params(request: PageRequest, names: Collection[str]) -> PageRequest:
    """Return a request without the query parameters that authentication adds: APIs repeat them in their links."""
    if not names:
        return request
    path = url_without_params(request.path, names)
    own = {name: value for name, value in request.query.items() if name not in names}
    if path == request.path and len(own) == len(request.query):
        return request
    return replace(request, path=path, query=own)


def url_without_params(url: str, names: Collection[str]) -> str:
    """Return a URL without the query parameters of these names."""
    if not names:
        return url
    path, mark, rest = url.partition("?")
    query = rest.partition("#")[0]
    kept = query_without_params(query, names)
    return f"{path}{mark if kept else ''}{kept}{rest[len(query) :]}" if kept != query else url


def resolve_link(page: Page, link: str, own_host: bool = False) -> str:
    """Resolve a link against its page (RFC 3986, section 5); ``own_host`` keeps the page's scheme and host.

    Raises ``ResponseError`` for an invalid URL, ``OriginError`` for one that is not http(s).
    """
    base = page.url or page.request.path
    try:
        url = url_without_params(urljoin(base, link.strip()).partition("#")[0], page.auth_params)
        if urlsplit(url).scheme not in ("", "http", "https"):
            raise OriginError("the API's link to the next page is not an http(s) URL")
        if not own_host:
            return url
        here = urlsplit(base)
        return urlsplit(url)._replace(scheme=here.scheme, netloc=here.netloc).geturl()
    except ValueError:
        raise ResponseError("the API's link to the next page is not a valid URL") from None


class Series(NamedTuple):
    """Links that differ only in one number of their query: ``at`` in the first one, then ``step`` more in each."""

    path: str
    fields: tuple[str, ...]
    place: int
    name: str
    at: int
    step: int

    def link(self, steps: int) -> str:
        """Return the link ``steps`` after the first one."""
        moved = f"{self.name}={self.value(steps)}"
        return f"{self.path}?{'&'.join((*self.fields[: self.place], moved, *self.fields[self.place + 1 :]))}"

    def value(self, steps: int) -> int:
        """Return the number in ``link(steps)``."""
        return self.at + steps * self.step


def find_series(here: str, following: str) -> Series | None:
    """Return the series that starts with ``following``, or ``None`` if more than one growing number differs."""
    path, _, query = following.partition("?")
    before, after = here.partition("?")[2].split("&"), query.split("&")
    if path != here.partition("?")[0] or len(before) != len(after):
        return None
    differing = [place for place, each in enumerate(after) if each != before[place]]
    if len(differing) != 1:
        return None
    (name, old), (other, new) = (_split_number(fields[differing[0]]) for fields in (before, after))
    if name != other or old is None or new is None or old >= new:
        return None
    return Series(path, tuple(after), differing[0], name, new, new - old)


def query_number(url: str, name: str) -> int | None:
    """Return the value of a query parameter, if it is a number."""
    numbers = dict(map(_split_number, url.partition("#")[0].partition("?")[2].split("&")))
    return numbers.get(name)


def _split_number(field: str) -> tuple[str, int | None]:
    """Split a query parameter; the value is ``None`` unless it is a number in canonical form."""
    name, _, value = field.partition("=")
    return name, int(value) if _PLAIN_NUMBER.fullmatch(value) else None
