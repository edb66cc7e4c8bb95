"""Connections whose sockets another thread can shut as soon as they are connected."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPResponse
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final, NamedTuple, TypeVar

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.poolmanager import PoolManager

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.transport.origin import Origin

NO_DEADLINE: Final = float("inf")


class ConnectionRegistry:
    """The open sockets of one session and their deadline.

    The session's user arms it; the watchdog and the end of the run shut the sockets. The lock guards sockets and flags.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handles: set[socket.socket] = set()
        self._deadline = NO_DEADLINE
        self._ended = False
        self.connections = 0
        """Changed by the session's user only."""
        self.expired = False

    def arm(self, deadline: float) -> None:
        """Shut the sockets at ``deadline`` (monotonic) unless armed again before."""
        with self._lock:
            self._deadline, self.expired = deadline, False

    def disarm(self) -> None:
        """Remove the deadline, so that idle connections live."""
        with self._lock:
            self._deadline = NO_DEADLINE

    def cap(self, timeout: float) -> float:
        """Return the timeout for a connect, capped by the deadline.

        Raises ``ConnectionAbortedError`` after the deadline.
        """
        with self._lock:
            if self._ended or self.expired:
                raise ConnectionAbortedError
            # A timeout of zero makes the socket non-blocking, and connecting fails at once.
            return max(0.001, min(timeout, self._deadline - time.monotonic()))

    def add(self, sock: socket.socket) -> socket.socket:
        """Register a connected socket and return a handle that can shut it.

        The handle is a duplicate, since a TLS handshake detaches the original. Raises ``ConnectionAbortedError`` after
        the deadline.
        """
        with self._lock:
            if self._ended or self.expired:
                raise ConnectionAbortedError
            handle = sock.dup()
            self._handles.add(handle)
            self.connections += 1
            return handle

    def remove(self, handle: socket.socket) -> None:
        """Remove and close the handle of a socket."""
        with self._lock:
            self._handles.discard(handle)
        handle.close()

    def check(self, now: float) -> None:
        """Shut the sockets if the deadline has passed."""
        with self._lock:
            if now >= self._deadline:
                self._deadline, self.expired = NO_DEADLINE, True
                self._shut_all()

    def drop(self) -> None:
        """Shut the idle sockets: the next request opens a new connection."""
        with self._lock:
            self._shut_all()

    def end(self) -> None:
        """Shut the sockets and refuse new ones."""
        with self._lock:
            self._ended = True
            self._shut_all()

    def _shut_all(self) -> None:
        for handle in self._handles:
            _shut(handle)


def _shut(handle: socket.socket) -> None:
    with contextlib.suppress(OSError):
        handle.shutdown(socket.SHUT_RDWR)


class _ThreadState(threading.local):
    """Whether the calling thread makes one of our requests, and whether it reads the response's headers."""

    requesting = False
    reading = False


_thread: Final = _ThreadState()

# urllib3 logs the URL of each request, and headers that it cannot parse: either may contain a secret. The client logs a
# line of its own.
for _name in ("urllib3.connection", "urllib3.connectionpool"):
    logging.getLogger(_name).addFilter(lambda record: not _thread.requesting)


class _FinalResponse(HTTPResponse):
    """Skips interim responses: http.client takes any status but 100 for the final one (RFC 9110, 15.2)."""

    def begin(self) -> None:
        super().begin()
        while self.status < HTTPStatus.OK and self.status != HTTPStatus.SWITCHING_PROTOCOLS:
            self.headers = None  # type: ignore[assignment]  # its initial value
            super().begin()


class _AbortableConnection:
    """A connection whose sockets are registered from connecting until the last response is read."""

    registry: ConnectionRegistry
    timeout: float
    _handle: socket.socket | None = None
    _response: HTTPResponse | None = None

    def _new_conn(self) -> socket.socket:
        connect_timeout = self.timeout
        # Nothing can shut the socket while urllib3 connects it.
        self.timeout = self.registry.cap(connect_timeout)
        try:
            sock: socket.socket = super()._new_conn()  # type: ignore[misc]  # a mixin before an HTTPConnection
        except HTTPError:
            self.registry.check(time.monotonic())
            raise
        finally:
            self.timeout = connect_timeout
        try:
            self._handle = self.registry.add(sock)
        except OSError:
            sock.close()
            raise
        sock.settimeout(connect_timeout)
        return sock

    def response_class(self, *args: Any, **kwargs: Any) -> HTTPResponse:
        self._response = _FinalResponse(*args, **kwargs)
        return self._response

    def getresponse(self) -> Any:
        _thread.reading = True
        try:
            return super().getresponse()  # type: ignore[misc]  # a mixin before an HTTPConnection
        except BaseException:
            # urllib3 drops a response with invalid headers without closing its socket.
            if self._response is not None:
                self._response.close()
            raise
        finally:
            _thread.reading, self._response = False, None

    def close(self) -> None:
        super().close()  # type: ignore[misc]  # a mixin before an HTTPConnection
        # urllib3 closes a connection without keep-alive after its headers, before its body is read.
        if not _thread.reading:
            self._release()

    def _release(self) -> None:
        if self._handle is not None:
            self.registry.remove(self._handle)
            self._handle = None


class _AbortablePool:
    """Keeps urllib3 from logging, and unregisters a connection that was closed before its response was read."""

    def urlopen(self, *args: Any, **kwargs: Any) -> Any:
        _thread.requesting = True
        try:
            return super().urlopen(*args, **kwargs)  # type: ignore[misc]  # a mixin before an HTTPConnectionPool
        finally:
            _thread.requesting = False

    def _put_conn(self, connection: Any) -> None:
        if connection is not None and connection.is_closed:
            connection.close()
        super()._put_conn(connection)  # type: ignore[misc]  # a mixin before an HTTPConnectionPool


class AbortableAdapter(HTTPAdapter):
    """An adapter without retries whose connections are in a registry."""

    def __init__(self, registry: ConnectionRegistry) -> None:
        kinds = {"http": (HTTPConnectionPool, HTTPConnection), "https": (HTTPSConnectionPool, HTTPSConnection)}
        self._pools = {
            scheme: type(
                "AbortablePool",
                (_AbortablePool, pool),
                {
                    "ConnectionCls": type(
                        "AbortableConnection", (_AbortableConnection, connection), {"registry": registry}
                    )
                },
            )
            for scheme, (pool, connection) in kinds.items()
        }
        super().__init__(pool_connections=4, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Create the pool manager of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> PoolManager:
        """Create the pool manager of a proxy. Raises ``ConfigurationError`` if it is not an HTTP proxy."""
        if not proxy.lower().startswith(("http://", "https://")):
            raise ConfigurationError("proxies: only http and https proxies are supported")
        manager: PoolManager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager


WATCHDOG_SECONDS: Final = 0.1

S = TypeVar("S", bound=requests.Session)


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """TLS and proxy settings of the connection.

    ``trust_env`` uses the machine's proxies, netrc and, unless ``verify`` names one, CA bundle.
    """

    verify: bool | str = True
    cert: str | tuple[str, str] | None = field(default=None, repr=False)
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    trust_env: bool = False

    def new_session(self) -> requests.Session:
        """Return a session without cookies that, by default, ignores the environment.

        Raises ``ConfigurationError`` for a missing file.
        """
        return self.prepared(requests.Session())

    def prepared(self, session: S) -> S:
        """Apply the settings to a session and return it."""
        _check_files(verify=[self.verify], cert=[self.cert] if isinstance(self.cert, str) else self.cert or ())
        session.verify, session.cert, session.trust_env = self.verify, self.cert, self.trust_env
        session.proxies.update(self.proxies)
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        return session


def _check_files(**named: Sequence[object]) -> None:
    for name, paths in named.items():
        for path in paths:
            if isinstance(path, str) and not os.path.exists(path):
                raise ConfigurationError(f"{name}: there is no file or directory {path!r}")


class Route(NamedTuple):
    """The connection pool of an origin, and whether its plain HTTP proxy needs absolute URLs."""

    pool: HTTPConnectionPool
    proxied: bool


@dataclass(frozen=True, slots=True)
class Lease:
    """A session, its adapter and its registry; only the lease's user changes ``routes``."""

    session: requests.Session
    adapter: AbortableAdapter
    registry: ConnectionRegistry
    routes: dict[Origin, Route] = field(default_factory=dict)


class SessionPool:
    """Lends each session to one thread at a time, and can shut the sockets of all.

    The last session returned is lent first, so there are never more sessions than fetching threads. A watchdog thread,
    started with the first lease, shuts sockets after their deadline: no timeout of ``requests`` bounds a response or a
    handshake that arrives byte by byte.
    """

    def __init__(self, options: SessionOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._leases: list[Lease] = []
        """Guarded by the lock; appended only."""
        self._idle: list[Lease] = []
        """A stack; threads only push and pop."""
        self._ended = threading.Event()

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        """Lend a session for one attempt."""
        try:
            lease = self._idle.pop()
        except IndexError:
            lease = self._new_lease()
        try:
            yield lease
        finally:
            lease.registry.disarm()
            self._idle.append(lease)

    def end(self) -> None:
        """Shut all sockets: requests in flight fail at once, and new ones are refused."""
        self._ended.set()
        with self._lock:
            leases = list(self._leases)
        for lease in leases:
            lease.registry.end()

    def close(self) -> None:
        """End, and close all sessions."""
        self.end()
        for lease in self._leases:
            lease.session.close()
            # urllib3 closes a pool once it is unreferenced, but the routes refer to it.
            for route in tuple(lease.routes.values()):
                route.pool.close()

    def _new_lease(self) -> Lease:
        registry = ConnectionRegistry()
        session, adapter = self._options.new_session(), AbortableAdapter(registry)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        lease = Lease(session, adapter, registry)
        with self._lock:
            self._leases.append(lease)
            if len(self._leases) == 1:
                threading.Thread(target=self._run_watchdog, name="page-watchdog", daemon=True).start()
        if self._ended.is_set():
            registry.end()
        return lease

    def _run_watchdog(self) -> None:
        while not self._ended.wait(WATCHDOG_SECONDS):
            now = time.monotonic()
            for lease in tuple(self._leases):
                lease.registry.check(now)
