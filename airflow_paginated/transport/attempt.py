"""Single attempts: one request out, one response in, redirects followed within the origin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from io import BytesIO
from itertools import count
from typing import Any, Final
from urllib.parse import urljoin

import msgspec
import requests
from requests.utils import check_header_validity
from urllib3 import BaseHTTPResponse, Retry, Timeout
from urllib3.exceptions import HTTPError

from airflow_paginated.core.errors import ConfigurationError, LimitExceeded, OriginError, RequestRefused
from airflow_paginated.core.links import as_utf8, query_without_params, without_auth_params
from airflow_paginated.core.policies import Timeouts
from airflow_paginated.core.values import HTTP_TOKEN, Json, PageRequest
from airflow_paginated.transport.auth.credentials import Auth, Credentials, Grant
from airflow_paginated.transport.auth.signing import Wire, added_to, auth_params_of, sign, wire_of, with_hooks
from airflow_paginated.transport.body import Response
from airflow_paginated.transport.connections import Lease, Route
from airflow_paginated.transport.origin import check_origin, cut, encode_query, join, origin_of, with_query
from airflow_paginated.transport.response import REDIRECTS, THE_CONNECTION, classify_exception
from airflow_paginated.transport.retry import SERVER_WEIGHT, RetryableError

READ_CHUNK_BYTES: Final = 65536

MAX_REDIRECTS: Final = 5

MAX_LEARNED_SIGNATURES: Final = 8
"""Signed requests whose secrets are learned: the first few show the key, later ones only add new signatures."""

NO_RETRIES: Final = Retry(False)

DEFAULT_HEADERS: Final = {
    "Accept-Encoding": "gzip",
    "User-Agent": "airflow-provider-paginated-api",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go and what each of them carries.

    ``headers``, ``auth`` and ``query`` are secrets bound to the origin of ``base_url`` and never shown. An ``auth``
    that is a ``Grant`` or ``Refreshable`` is renewed after a 401. ``name`` is the connection's name in messages. With
    ``signs``, ``auth`` is called for each request, with its query and body in place.
    """

    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    auth: Auth | Grant | None = field(default=None, repr=False)
    name: str = THE_CONNECTION
    signs: bool = False
    query: Mapping[str, Json] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """The part that all requests to one path share; ``url`` has no query.

    ``auth_params`` names the query parameters in ``target``, which are secrets.
    """

    url: str
    target: str
    headers: dict[str, str]
    request: requests.PreparedRequest
    auth_params: frozenset[str]


class Exchange:
    """Makes single attempts. Shared by all threads; its only state is a cache.

    ``learn`` receives the secrets that authentication puts on requests.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        timeouts: Timeouts,
        page_bytes: int,
        accept: str,
        learn: Callable[[Iterable[str]], None],
    ) -> None:
        self._endpoint = endpoint
        self._headers = {**DEFAULT_HEADERS, "Accept": accept}
        self._page_bytes = page_bytes
        self._timeout = Timeout(connect=timeouts.connect, read=timeouts.read)
        self._prepared = lru_cache(maxsize=64)(self._prepare)
        self._learn = learn
        self._signed_by: Counter[int] = Counter()
        """Signed requests per generation; changed by all threads, approximate."""
        self._credentials = credentials
        self.origin = origin_of(endpoint.base_url)

    def attempt(
        self,
        request: PageRequest,
        lease: Lease,
        deadline: float,
        is_final: Callable[[Response], bool],
        before_resend: Callable[[], None],
    ) -> Response:
        """Send a request and read its response by ``deadline`` (monotonic), following redirects within the origin.

        A redirect is followed unless ``is_final(response)``; ``before_resend`` is called first and may wait. Raises
        ``RetryableError`` or ``PermanentError``.
        """
        lease.registry.arm(deadline)
        for hop in range(MAX_REDIRECTS + 1):
            if hop:
                before_resend()
            response = self._exchange(request, lease, before_resend)
            if response.status not in REDIRECTS or is_final(response):
                return response
            request = self._redirected(request, response)
        raise RequestRefused(f"the API redirects more than {MAX_REDIRECTS} times")

    def url(self, request: PageRequest) -> str:
        """Return the URL of a request for messages, with the query of its path alone."""
        path, query = cut(request.path)
        return with_query(join(self._endpoint.base_url, path), query)

    def _prepare(self, path: str, method: str, generation: int) -> _Prepared:
        """Prepare requests to a path; new credentials have a new ``generation`` and thus a new cache entry."""
        url = join(self._endpoint.base_url, path)
        check_origin(url, self.origin)
        url = with_query(url, encode_query(self._endpoint.query))
        headers = {**self._headers, **self._endpoint.headers}
        try:
            prepared = requests.Request(method, url, headers=headers).prepare()
        except (requests.RequestException, UnicodeError) as exc:
            raise ConfigurationError(f"endpoint: {type(exc).__name__}: the URL or a header is not valid") from None
        bare = prepared.copy()
        if not self._endpoint.signs:
            self._credentials.put_on(prepared)
        auth_params = auth_params_of(prepared, bare)
        self._learn(added_to(prepared, bare, auth_params))
        check_origin(str(prepared.url), self.origin)
        _check_headers(prepared.headers)
        # Prepared without a body, a POST gets Content-Length 0; each attempt sends its own length.
        plain = {name: value for name, value in prepared.headers.items() if name.lower() != "content-length"}
        place = f"{self.origin}{prepared.path_url.partition('?')[0]}"
        return _Prepared(place, prepared.path_url, plain, prepared, frozenset({*auth_params, *self._endpoint.query}))

    def _exchange(self, request: PageRequest, lease: Lease, before_resend: Callable[[], None]) -> Response:
        # Links differ only in their query: the costly part is prepared once per path.
        path, query = cut(request.path)
        generation = self._credentials.generation
        prepared = self._prepared(path, request.method, generation)
        own = request.query
        if prepared.auth_params:
            query = query_without_params(query, prepared.auth_params)
            own = {name: value for name, value in own.items() if name not in prepared.auth_params}
        target = with_query(prepared.target, query, encode_query(own))
        headers, body = prepared.headers, None
        if request.headers or request.body is not None:
            headers, body = _payload(request, headers)
        wire = Wire(request.method, target, headers, body)
        if not self._endpoint.signs:
            return self._roundtrip(lease, prepared, wire, generation)
        sent = count()

        def send(signed: requests.PreparedRequest) -> Response:
            if next(sent):
                before_resend()
            check_origin(str(signed.url), self.origin)
            _check_headers(signed.headers)
            return self._roundtrip(lease, prepared, wire_of(signed), generation)

        return self._signed(wire, prepared, generation, send)

    def _signed(
        self, wire: Wire, prepared: _Prepared, generation: int, send: Callable[[requests.PreparedRequest], Response]
    ) -> Response:
        signed = sign(f"{self.origin}{wire.target}", wire, self._credentials.put_on)
        if self._signed_by[generation] < MAX_LEARNED_SIGNATURES:
            self._signed_by[generation] += 1
            self._learn(signed.secrets)
        return replace(with_hooks(signed.request, send), auth_params=signed.auth_params | prepared.auth_params)

    def _roundtrip(self, lease: Lease, prepared: _Prepared, wire: Wire, generation: int) -> Response:
        connections, has_headers = lease.registry.connections, False
        try:
            route = lease.routes.get(self.origin)
            if route is None:
                # Finding the pool costs as much as writing the request: once is enough.
                route = lease.routes[self.origin] = _route(lease, prepared)
            raw = route.pool.urlopen(
                wire.method,
                f"{self.origin}{wire.target}" if route.proxied else wire.target,
                body=wire.body,
                headers=wire.headers,
                retries=NO_RETRIES,
                redirect=False,
                assert_same_host=False,
                timeout=self._timeout,
                preload_content=False,
                decode_content=False,
            )
            has_headers = True
            response = self._read(raw)
        except (HTTPError, OSError) as exc:
            if not lease.registry.expired:
                reused = not has_headers and connections == lease.registry.connections
                raise classify_exception(exc, reused) from None
        # A shut socket looks like the end of a response: cut headers would pass for a 200 without a body.
        if lease.registry.expired:
            raise RetryableError("the response took longer than its deadline", SERVER_WEIGHT) from None
        return replace(response, url=prepared.url, generation=generation, auth_params=prepared.auth_params)

    def _read(self, raw: BaseHTTPResponse) -> Response:
        headers = {name.lower(): value for name, value in raw.headers.itermerged()}
        most = self._page_bytes
        body = BytesIO()  # a list of chunks takes a multiple of the body's size when they are tiny
        try:
            while chunk := raw.read1(READ_CHUNK_BYTES):
                body.write(chunk)
                if body.tell() > most:
                    raise LimitExceeded(
                        f"the body is larger than limits.page_bytes={most}; lower page_size or raise the limit"
                    )
        except BaseException:
            raw.close()
            raise
        return Response(raw.status, headers, body.getvalue())

    def _redirected(self, request: PageRequest, response: Response) -> PageRequest:
        location = as_utf8(response.headers.get("location", ""))
        if not location:
            raise RequestRefused(f"{response.status} without a Location")
        if request.method not in ("GET", "HEAD") and response.status not in (307, 308):
            raise RequestRefused(f"{response.status} would turn a {request.method} into a GET: check the endpoint")
        here = with_query(response.url, cut(request.path)[1], encode_query(request.query))
        try:
            url = urljoin(here, location)
        except ValueError:
            raise OriginError("the API redirects to an invalid URL") from None
        check_origin(url, self.origin)
        return without_auth_params(replace(request, path=url, query={}), response.auth_params)


def _payload(request: PageRequest, common: dict[str, str]) -> tuple[dict[str, str], bytes | None]:
    """Return headers and body; a request's own header replaces a common one, whatever their case."""
    headers = common
    if request.headers:
        _check_headers(request.headers)
        own = {name.lower() for name in request.headers}
        headers = {name: value for name, value in common.items() if name.lower() not in own} | dict(request.headers)
    if request.body is None or isinstance(request.body, bytes):
        return headers, request.body
    if not any(name.lower() == "content-type" for name in headers):
        headers = {"Content-Type": "application/json", **headers}
    return headers, msgspec.json.encode(request.body)


def _check_headers(headers: Mapping[str, str]) -> None:
    """Refuse invalid headers before http.client does, whose message contains the value."""
    for name, value in headers.items():
        try:
            check_header_validity((name, value))
            value.encode("latin-1")
            # Older versions of requests accept a line break at the end.
            if not {"\0", "\r", "\n"}.isdisjoint(value) or not HTTP_TOKEN.fullmatch(name):
                raise ValueError(name)
        except ValueError:
            raise ConfigurationError(
                f"headers: the name or value of {name!r} contains characters that HTTP headers cannot carry"
            ) from None


def _route(lease: Lease, prepared: _Prepared) -> Route:
    """Return the route of a request through the lease's session."""
    session, adapter = lease.session, lease.adapter
    verify: Any = session.verify
    cert, proxies = session.cert, session.proxies
    if session.trust_env:
        settings: Any = session.merge_environment_settings(prepared.url, {}, None, verify, None)
        verify, cert, proxies = settings["verify"], settings["cert"], settings["proxies"]
    try:
        pool: Any = adapter.get_connection_with_tls_context(prepared.request, verify, proxies=proxies, cert=cert)
    except requests.RequestException as exc:
        raise ConfigurationError(f"proxies: {type(exc).__name__}: the URL of a proxy is not valid") from None
    if verify is True and pool.scheme == "https":
        # Without it, urllib3 trusts the bundle of the system, and not that of certifi as requests does.
        adapter.cert_verify(pool, str(prepared.url), verify, cert)  # type: ignore[no-untyped-call]  # requests is untyped
    proxied = bool(proxies) and not str(adapter.request_url(prepared.request, proxies)).startswith("/")
    return Route(pool, proxied)
