"""URLs, their queries, and the check that they stay at the connection's origin."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from airflow_paginated.core.errors import ConfigurationError, OriginError
from airflow_paginated.core.values import Json

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
SAFE_IN_QUERY: Final = "!$%&'()*+,/:;=?@~"
"""Characters allowed unencoded in a query, besides letters and digits (RFC 3986, 3.4)."""
USER_INFO_PATTERN: Final = re.compile(r"[^/?#]*//[^/?#]*@")
UNENCODED_PERCENT: Final = re.compile("%(?![0-9A-Fa-f]{2})")


class Origin(NamedTuple):
    """Scheme, host and port, to which credentials are bound (RFC 6454)."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"


def origin_of(url: str) -> Origin:
    """Return the origin that urllib3 would connect to for ``url``.

    Raises ``OriginError`` unless it is an http(s) URL without user info.
    """
    try:
        parsed = parse_url(url)
    except LocationParseError:
        raise OriginError("the URL cannot be parsed") from None
    # urllib3 ignores empty user info, and its older versions accept a space in a host.
    unsafe = USER_INFO_PATTERN.match(url) or "\\" in url or " " in (parsed.host or "")
    if parsed.scheme not in DEFAULT_PORTS or not parsed.host or unsafe:
        raise OriginError("a URL must be http(s), name a host, and carry no user info or backslash")
    return Origin(parsed.scheme, parsed.host.lower(), parsed.port or DEFAULT_PORTS[parsed.scheme])


def join(base_url: str, path: str) -> str:
    """Return the URL of ``path`` below ``base_url``; an absolute URL is returned unchanged."""
    plain, mark, query = path.partition("?")
    if "://" in plain:
        return path
    url = f"{base_url.rstrip('/')}/{plain.lstrip('/')}" if plain else base_url
    return f"{url}{mark}{query}"


@lru_cache(maxsize=64)
def cut(path: str) -> tuple[str, str]:
    """Return a path or URL without query and fragment, and its encoded query.

    Encoded characters stay as they are, since the server may have signed its link. Raises ``OriginError`` for an
    absolute URL with a backslash in its query, ``ConfigurationError`` for invalid Unicode.
    """
    plain, _, query = path.partition("#")[0].partition("?")
    if "\\" in query and "://" in plain:
        raise OriginError("a URL must carry no backslash")
    try:
        return plain, quote(UNENCODED_PERCENT.sub("%25", query), safe=SAFE_IN_QUERY)
    except UnicodeEncodeError:
        raise ConfigurationError("endpoint: the query is not valid Unicode") from None


def with_query(url: str, *queries: str) -> str:
    """Append queries to a URL, which may already have one."""
    for query in filter(None, queries):
        url = f"{url}{'&' if '?' in url else '?'}{query}"
    return url


def check_origin(url: str, origin: Origin) -> None:
    """Raise ``OriginError`` for a URL of another origin."""
    found = origin_of(url)
    if found != origin:
        advice = (
            "; if it does not know by which scheme it is reached, set own_host=True"
            if found.host == origin.host
            else ""
        )
        raise OriginError(f"the API leads to {found}, away from the connection's origin {origin}; refused{advice}")


def encode_query(query: Mapping[str, Json]) -> str:
    """Encode query parameters as ``requests`` does, with ``true`` and ``false`` in lower case.

    A list repeats its name, ``None`` omits the parameter.
    """
    pairs: list[tuple[str, str]] = []
    for name, value in query.items():
        for each in value if isinstance(value, list | tuple) else (value,):
            if isinstance(each, bool):
                pairs.append((name, "true" if each else "false"))
            elif isinstance(each, str | int | float):
                pairs.append((name, str(each)))
            elif each is not None:
                raise ConfigurationError(
                    f"query: {name!r} must be a string, a number, a boolean or a list of them, got {each!r}"
                )
    try:
        return urlencode(pairs)
    except UnicodeEncodeError:
        raise ConfigurationError("query: a name or a value is not valid Unicode") from None


def shown_url(url: str, query: Mapping[str, Json], shown: Collection[str]) -> str:
    """Return a URL for messages: without user info, with the values only of the query parameters in ``shown``."""
    printable = "".join(each if each.isprintable() else "_" for each in url)
    plain, _, own = printable.partition("#")[0].partition("?")
    scheme, mark, rest = plain.partition("://")
    authority, slash, path = rest.partition("/")
    plain = f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}"
    pairs = [*parse_qsl(own, keep_blank_values=True), *query.items()]
    if not pairs:
        return plain
    shown_pairs = (f"{_printed(name)}={_printed(value) if name in shown else '***'}" for name, value in pairs)
    return f"{plain}?{'&'.join(shown_pairs)}"


def _printed(value: object) -> str:
    return quote(str(value), errors="replace")
