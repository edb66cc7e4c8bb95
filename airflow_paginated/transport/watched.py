"""Connections whose sockets can be shut from outside, at any moment of their life."""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
import threading
from collections.abc import Sequence
from http.client import HTTPResponse
from typing import Any, Final

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.poolmanager import PoolManager
from urllib3.util.connection import allowed_gai_family

from airflow_paginated.paging.errors import ConfigurationError

NEVER: Final = float("inf")


class Watch:
    """The open sockets of one session, and when they must be shut.

    Who has the session arms it, the watchdog and the run's end shut it; sockets and the flags are guarded by the lock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handles: set[socket.socket] = set()
        self._deadline = NEVER
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
            self._deadline = NEVER

    def add(self, sock: socket.socket) -> socket.socket:
        """Take note of a socket that is about to connect, and return a handle that can shut it.

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
                self._deadline, self.expired = NEVER, True
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
    """Whether the calling thread has one of our requests in hand, and reads the headers of its answer."""

    asking = False
    reading = False


_quiet: Final = _Quiet()
# urllib3 warns of headers that it cannot parse with the URL and the headers: either may hold a secret.
logging.getLogger("urllib3.connection").addFilter(lambda record: not _quiet.reading)


def _without_query(record: logging.LogRecord) -> bool:
    """Take the query, which may hold a key or a token, out of what urllib3 tells of our requests at DEBUG."""
    if _quiet.asking and isinstance(record.args, tuple):
        record.args = tuple(each.partition("?")[0] if isinstance(each, str) else each for each in record.args)
    return True


logging.getLogger("urllib3.connectionpool").addFilter(_without_query)


class _Watched:
    """A connection whose sockets are under watch, from before they connect until their last answer is read."""

    watch: Watch
    host: str
    port: int
    timeout: float | None
    socket_options: Sequence[tuple[int, int, int | bytes]] | None
    _dns_host: str
    _handle: socket.socket | None = None
    _answer: HTTPResponse | None = None

    def _new_conn(self) -> socket.socket:
        try:
            sock = self._connected()
        except socket.gaierror as exc:
            raise NameResolutionError(self.host, self, exc) from exc  # type: ignore[arg-type]  # an HTTPConnection
        except TimeoutError as exc:
            raise ConnectTimeoutError(self, f"no connection within {self.timeout} s") from exc
        except OSError as exc:
            raise NewConnectionError(self, str(exc)) from exc  # type: ignore[arg-type]  # an HTTPConnection
        sys.audit("http.client.connect", self, self.host, self.port)
        return sock

    def _connected(self) -> socket.socket:
        """Connect to the first address that answers, as ``urllib3.util.connection.create_connection`` does."""
        failure = OSError("the name has no address")
        host = self._dns_host.strip("[]")
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, self.port, allowed_gai_family(), socket.SOCK_STREAM
        ):
            sock = socket.socket(family, kind, protocol)
            try:
                self._handle = self.watch.add(sock)
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(self.timeout)
                sock.connect(address)
            except OSError as exc:
                failure = exc
                sock.close()
                self._release()
            else:
                return sock
        try:
            raise failure
        finally:
            del failure  # it refers to this frame

    def response_class(self, *args: Any, **kwargs: Any) -> HTTPResponse:
        self._answer = HTTPResponse(*args, **kwargs)
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
    """Ends the watch over a connection that was closed while its answer was still to be read."""

    def _make_request(self, *args: Any, **kwargs: Any) -> Any:
        _quiet.asking = True
        try:
            return super()._make_request(*args, **kwargs)  # type: ignore[misc]  # a mixin before an HTTPConnectionPool
        finally:
            _quiet.asking = False

    def _put_conn(self, connection: Any) -> None:
        if connection is not None and connection.is_closed:
            connection.close()
        super()._put_conn(connection)  # type: ignore[misc]  # a mixin before an HTTPConnectionPool


class WatchedAdapter(HTTPAdapter):
    """An adapter without retries whose connections belong to a watch."""

    def __init__(self, watch: Watch) -> None:
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
