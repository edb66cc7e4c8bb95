"""What comes back: an answer as it was sent."""

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
from airflow_paginated.transport.auth.signing import Wire, added_to, owned_by, sign, wire_of, with_hooks
from airflow_paginated.transport.body import Response
from airflow_paginated.transport.connections import Lease, Route
from airflow_paginated.transport.origin import check_origin, cut, encode_query, join, origin_of, with_query
from airflow_paginated.transport.response import REDIRECTS, THE_CONNECTION, judge_exception
from airflow_paginated.transport.retry import SERVER, RetryableError

READ_CHUNK_BYTES: Final = 65536

MAX_REDIRECTS: Final = 5

SIGNATURES_TOLD: Final = 8
"""Of requests that are signed one by one, the first few show what is a key in them; each signature is another."""

NO_RETRIES: Final = Retry(False)

DEFAULT_HEADERS: Final = {
    "Accept-Encoding": "gzip",
    "User-Agent": "airflow-provider-paginated-api",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go and what each of them carries.

    ``headers``, ``auth`` and ``query`` are secrets bound to the origin of ``base_url``; none is ever shown. An ``auth``
    that is a ``Grant``, or ``Refreshable``, is renewed when a request is refused with 401. ``name`` is what messages
    call the connection. ``signs``: ``auth`` is asked for every single request, with its query and its body.
    """

    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    auth: Auth | Grant | None = field(default=None, repr=False)
    name: str = THE_CONNECTION
    signs: bool = False
    query: Mapping[str, Json] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What all requests to one path have in common, whatever their query; ``url`` has none.

    ``owned`` are the names of the query parameters in ``target``, which are secrets.
    """

    url: str
    target: str
    headers: dict[str, str]
    request: requests.PreparedRequest
    owned: frozenset[str]


class Exchange:
    """Makes single attempts. All threads use it; it has no state but a cache.

    ``learn`` is told what authentication puts on requests: secrets that nobody else may know of.
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
        """How many requests of each generation were signed; changed by all threads, and need not be exact."""
        self._credentials = credentials
        self.origin = origin_of(endpoint.base_url)

    def attempt(
        self,
        request: PageRequest,
        lease: Lease,
        deadline: float,
        settles: Callable[[Response], bool],
        turn: Callable[[], None],
    ) -> Response:
        """Send a request and read its answer, following redirects within the origin, until ``deadline`` (monotonic).

        A redirect that ``settles`` the matter is not followed; ``turn`` is called before one is, and may wait. Raises
        ``RetryableError`` for what may be tried again, and a ``PermanentError`` for what may not.
        """
        lease.watch.arm(deadline)
        for hop in range(MAX_REDIRECTS + 1):
            if hop:
                turn()
            answer = self._exchange(request, lease, turn)
            if answer.status not in REDIRECTS or settles(answer):
                return answer
            request = self._redirected(request, answer)
        raise RequestRefused(f"the API redirects more than {MAX_REDIRECTS} times")

    def url(self, request: PageRequest) -> str:
        """Return the URL of a request with the query of its path alone, for messages."""
        path, query = cut(request.path)
        return with_query(join(self._endpoint.base_url, path), query)

    def _prepare(self, path: str, method: str, generation: int) -> _Prepared:
        """Prepare requests to a path; ``generation`` is that of the credentials, and tells the cache of new ones."""
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
        owned = owned_by(prepared, bare)
        self._learn(added_to(prepared, bare, owned))
        check_origin(str(prepared.url), self.origin)
        _check_headers(prepared.headers)
        # Prepared without a body, a POST declares none; each attempt sends its own length.
        plain = {name: value for name, value in prepared.headers.items() if name.lower() != "content-length"}
        place = f"{self.origin}{prepared.path_url.partition('?')[0]}"
        return _Prepared(place, prepared.path_url, plain, prepared, frozenset({*owned, *self._endpoint.query}))

    def _exchange(self, request: PageRequest, lease: Lease, turn: Callable[[], None]) -> Response:
        # Links differ in their query from page to page: what is costly is made once for all of them.
        path, query = cut(request.path)
        generation = self._credentials.generation
        prepared = self._prepared(path, request.method, generation)
        own = request.query
        if prepared.owned:
            query = query_without_params(query, prepared.owned)
            own = {name: value for name, value in own.items() if name not in prepared.owned}
        target = with_query(prepared.target, query, encode_query(own))
        headers, body = _payload(request, prepared.headers)
        wire = Wire(request.method, target, headers, body)
        if not self._endpoint.signs:
            return self._roundtrip(lease, prepared, wire, generation)
        sent = count()

        def send(signed: requests.PreparedRequest) -> Response:
            if next(sent):
                turn()
            check_origin(str(signed.url), self.origin)
            _check_headers(signed.headers)
            return self._roundtrip(lease, prepared, wire_of(signed), generation)

        return self._signed(wire, prepared, generation, send)

    def _signed(
        self, wire: Wire, prepared: _Prepared, generation: int, send: Callable[[requests.PreparedRequest], Response]
    ) -> Response:
        signed = sign(f"{self.origin}{wire.target}", wire, self._credentials.put_on)
        if self._signed_by[generation] < SIGNATURES_TOLD:
            self._signed_by[generation] += 1
            self._learn(signed.secrets)
        return replace(with_hooks(signed.request, send), owned=signed.owned | prepared.owned)

    def _roundtrip(self, lease: Lease, prepared: _Prepared, wire: Wire, generation: int) -> Response:
        connections, answered = lease.watch.connections, False
        try:
            response = self._send(lease, prepared, wire)
            answered = True
            answer = self._read(response)
        except (HTTPError, OSError) as exc:
            if not lease.watch.expired:
                reused = not answered and connections == lease.watch.connections
                raise judge_exception(exc, reused) from None
        # A socket that is shut reads like an answer that ends: cut headers are a 200 with nothing in it.
        if lease.watch.expired:
            raise RetryableError("the answer took longer than its deadline", SERVER) from None
        return replace(answer, url=prepared.url, generation=generation, owned=prepared.owned)

    def _send(self, lease: Lease, prepared: _Prepared, wire: Wire) -> BaseHTTPResponse:
        route = lease.routes.get(self.origin)
        if route is None:
            # Finding the pool costs as much as writing the request: once is enough.
            route = lease.routes[self.origin] = _route(lease, prepared)
        return route.pool.urlopen(
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

    def _read(self, response: BaseHTTPResponse) -> Response:
        headers = {name.lower(): value for name, value in response.headers.itermerged()}
        most = self._page_bytes
        body = BytesIO()  # a list of pieces costs a multiple of the body when a server sends it two bytes at a time
        try:
            while chunk := response.read1(READ_CHUNK_BYTES):
                body.write(chunk)
                if body.tell() > most:
                    raise LimitExceeded(
                        f"the body is larger than limits.page_bytes={most}; lower page_size or raise the limit"
                    )
        except BaseException:
            response.close()
            raise
        return Response(response.status, headers, body.getvalue())

    def _redirected(self, request: PageRequest, answer: Response) -> PageRequest:
        location = as_utf8(answer.headers.get("location", ""))
        if not location:
            raise RequestRefused(f"{answer.status} without a Location")
        if request.method not in ("GET", "HEAD") and answer.status not in (307, 308):
            raise RequestRefused(f"{answer.status} would turn a {request.method} into a GET: check the endpoint")
        here = with_query(answer.url, cut(request.path)[1], encode_query(request.query))
        try:
            url = urljoin(here, location)
        except ValueError:
            raise OriginError("the API redirects to what is no URL") from None
        check_origin(url, self.origin)
        return without_auth_params(replace(request, path=url, query={}), answer.owned)


def _payload(request: PageRequest, common: dict[str, str]) -> tuple[dict[str, str], bytes | None]:
    """Return headers and body: a request's own header replaces a common one, in whatever case both are written."""
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
    """Refuse what http.client would refuse with the value in its message."""
    for name, value in headers.items():
        try:
            check_header_validity((name, value))
            value.encode("latin-1")
            # Older versions of requests accept a line break at the end.
            if not {"\0", "\r", "\n"}.isdisjoint(value) or not HTTP_TOKEN.fullmatch(name):
                raise ValueError(name)
        except ValueError:
            raise ConfigurationError(f"headers: the value of {name!r} is not one that HTTP can carry") from None


def _route(lease: Lease, prepared: _Prepared) -> Route:
    """Find the way that a request takes through the lease's session."""
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
