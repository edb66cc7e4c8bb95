"""Connections whose sockets can be shut from outside, as soon as they are connected."""

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
    """The open sockets of one session, and when they must be shut.

    Who has the session arms it, the watchdog and the run's end shut it; sockets and the flags are guarded by the lock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handles: set[socket.socket] = set()
        self._deadline = NO_DEADLINE
        self._ended = False
        self.connections = 0
        """Changed by who has the session only."""
        self.expired = False

    def arm(self, deadline: float) -> None:
        """Shut the sockets at ``deadline`` (of the monotonic clock), unless armed anew before."""
        with self._lock:
            self._deadline, self.expired = deadline, False

    def disarm(self) -> None:
        """Let idle connections live."""
        with self._lock:
            self._deadline = NO_DEADLINE

    def cap(self, timeout: float) -> float:
        """Return the timeout for a connect, or the time that is left until the deadline if that is shorter.

        Raises ``ConnectionAbortedError`` when the time is up already.
        """
        with self._lock:
            if self._ended or self.expired:
                raise ConnectionAbortedError
            # Zero would mean not to wait at all, which fails at once.
            return max(0.001, min(timeout, self._deadline - time.monotonic()))

    def add(self, sock: socket.socket) -> socket.socket:
        """Take note of a connected socket, and return a handle that can shut it.

        The handle is a duplicate, since a TLS handshake detaches the original. Raises ``ConnectionAbortedError`` when
        the time is up already.
        """
        with self._lock:
            if self._ended or self.expired:
                raise ConnectionAbortedError
            handle = sock.dup()
            self._handles.add(handle)
            self.connections += 1
            return handle

    def remove(self, handle: socket.socket) -> None:
        """Forget a socket that is being closed."""
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
        """Shut the sockets, which nobody uses: the next request opens a connection of its own."""
        with self._lock:
            self._shut_all()

    def end(self) -> None:
        """Shut the sockets, now and whenever one is added."""
        with self._lock:
            self._ended = True
            self._shut_all()

    def _shut_all(self) -> None:
        for handle in self._handles:
            _shut(handle)


def _shut(handle: socket.socket) -> None:
    with contextlib.suppress(OSError):
        handle.shutdown(socket.SHUT_RDWR)


class _Quiet(threading.local):
    """Whether the calling thread is at one of our requests, and whether it reads the headers of the answer."""

    asking = False
    reading = False


_quiet: Final = _Quiet()

# urllib3 tells of each request with its URL, and of headers that it cannot parse: either may hold a secret. The client
# has a line of its own.
for _name in ("urllib3.connection", "urllib3.connectionpool"):
    logging.getLogger(_name).addFilter(lambda record: not _quiet.asking)


class _FinalResponse(HTTPResponse):
    """A response whose interim ones are passed over: Python takes any but 100 for the final one (RFC 9110, 15.2)."""

    def begin(self) -> None:
        super().begin()
        while self.status < HTTPStatus.OK and self.status != HTTPStatus.SWITCHING_PROTOCOLS:
            self.headers = None  # type: ignore[assignment]  # as before the first
            super().begin()


class _Watched:
    """A connection whose sockets are under watch, from when they are connected until their last answer is read."""

    watch: ConnectionRegistry
    timeout: float
    _handle: socket.socket | None = None
    _answer: HTTPResponse | None = None

    def _new_conn(self) -> socket.socket:
        connect_timeout = self.timeout
        # No thread can shut the socket before it is connected: nobody but urllib3 has it.
        self.timeout = self.watch.cap(connect_timeout)
        try:
            sock: socket.socket = super()._new_conn()  # type: ignore[misc]  # a mixin before an HTTPConnection
        except HTTPError:
            self.watch.check(time.monotonic())
            raise
        finally:
            self.timeout = connect_timeout
        try:
            self._handle = self.watch.add(sock)
        except OSError:
            sock.close()
            raise
        sock.settimeout(connect_timeout)
        return sock

    def response_class(self, *args: Any, **kwargs: Any) -> HTTPResponse:
        self._answer = _FinalResponse(*args, **kwargs)
        return self._answer

    def getresponse(self) -> Any:
        _quiet.reading = True
        try:
            return super().getresponse()  # type: ignore[misc]  # a mixin before an HTTPConnection
        except BaseException:
            # urllib3 forgets an answer whose headers it refuses, with its socket open.
            if self._answer is not None:
                self._answer.close()
            raise
        finally:
            _quiet.reading, self._answer = False, None

    def close(self) -> None:
        super().close()  # type: ignore[misc]  # a mixin before an HTTPConnection
        # A connection that will serve no other request is closed when its headers are read: the body is yet to come.
        if not _quiet.reading:
            self._release()

    def _release(self) -> None:
        if self._handle is not None:
            self.watch.remove(self._handle)
            self._handle = None


class _WatchedPool:
    """Asks quietly, and ends the watch over a connection that was closed while its answer was still to be read."""

    def urlopen(self, *args: Any, **kwargs: Any) -> Any:
        _quiet.asking = True
        try:
            return super().urlopen(*args, **kwargs)  # type: ignore[misc]  # a mixin before an HTTPConnectionPool
        finally:
            _quiet.asking = False

    def _put_conn(self, connection: Any) -> None:
        if connection is not None and connection.is_closed:
            connection.close()
        super()._put_conn(connection)  # type: ignore[misc]  # a mixin before an HTTPConnectionPool


class AbortableAdapter(HTTPAdapter):
    """An adapter without retries whose connections belong to a watch."""

    def __init__(self, watch: ConnectionRegistry) -> None:
        kinds = {"http": (HTTPConnectionPool, HTTPConnection), "https": (HTTPSConnectionPool, HTTPSConnection)}
        self._pools = {
            scheme: type(
                "WatchedPool",
                (_WatchedPool, pool),
                {"ConnectionCls": type("WatchedConnection", (_Watched, connection), {"watch": watch})},
            )
            for scheme, (pool, connection) in kinds.items()
        }
        super().__init__(pool_connections=4, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pool manager of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> PoolManager:
        """Make the pool manager of a proxy. Raises ``ConfigurationError`` for one that does not speak HTTP."""
        if not proxy.lower().startswith(("http://", "https://")):
            raise ConfigurationError("proxies: only http and https proxies are supported")
        manager: PoolManager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager


WATCH_SECONDS: Final = 0.1

S = TypeVar("S", bound=requests.Session)


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What the connection says about the way to the server.

    ``trust_env`` lets the machine's proxies, netrc and, where ``verify`` names none, CA bundle in.
    """

    verify: bool | str = True
    cert: str | tuple[str, str] | None = field(default=None, repr=False)
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    trust_env: bool = False

    def new_session(self) -> requests.Session:
        """Return a session that keeps no cookies and, unless told to, asks the environment for nothing.

        Raises ``ConfigurationError`` for a file that is not there.
        """
        return self.prepared(requests.Session())

    def prepared(self, session: S) -> S:
        """Return a session that was made ready in this way."""
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
    """The way to an origin: a connection pool, and whether a plain HTTP proxy on it wants the absolute URL."""

    pool: HTTPConnectionPool
    proxied: bool


@dataclass(frozen=True, slots=True)
class Lease:
    """A session, its adapter and its watch; ``routes`` is changed by who has it only."""

    session: requests.Session
    adapter: AbortableAdapter
    watch: ConnectionRegistry
    routes: dict[Origin, Route] = field(default_factory=dict)


class SessionPool:
    """Lends sessions, each to one thread at a time, and can shut the sockets of all.

    The session that came back last goes out first: there are never more of them than threads that fetch at once.

    A watchdog thread, started with the first lease, shuts the sockets whose deadline has passed: no timeout of
    ``requests`` bounds a dribbled answer or handshake.
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
            lease.watch.disarm()
            self._idle.append(lease)

    def end(self) -> None:
        """Shut all sockets: requests in flight fail at once, and no new one gets through."""
        self._ended.set()
        with self._lock:
            leases = list(self._leases)
        for lease in leases:
            lease.watch.end()

    def close(self) -> None:
        """End, and close all sessions."""
        self.end()
        for lease in self._leases:
            lease.session.close()
            # urllib3 closes a pool when nobody refers to it any more, which the routes do.
            for route in tuple(lease.routes.values()):
                route.pool.close()

    def _new_lease(self) -> Lease:
        watch = ConnectionRegistry()
        session, adapter = self._options.new_session(), AbortableAdapter(watch)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        lease = Lease(session, adapter, watch)
        with self._lock:
            self._leases.append(lease)
            if len(self._leases) == 1:
                threading.Thread(target=self._keep_watch, name="page-watchdog", daemon=True).start()
        if self._ended.is_set():
            watch.end()
        return lease

    def _keep_watch(self) -> None:
        while not self._ended.wait(WATCH_SECONDS):
            now = time.monotonic()
            for lease in tuple(self._leases):
                lease.watch.check(now)
