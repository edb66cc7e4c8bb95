"""Connections whose sockets can be shut from outside, as soon as they are connected."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from http import HTTPStatus
from http.client import HTTPResponse
from typing import Any, Final

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.poolmanager import PoolManager

from airflow_paginated.paging.errors import ConfigurationError

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
