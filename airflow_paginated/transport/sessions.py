"""One session per worker thread, with sockets that can be shut from outside."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager

NEVER: Final = float("inf")
WATCH_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What the connection says about the way to the server. ``trust_env`` lets proxies and netrc of the machine in."""

    verify: bool | str = True
    cert: str | tuple[str, str] | None = field(default=None, repr=False)
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    trust_env: bool = False

    def new_session(self) -> requests.Session:
        """Return a session that keeps no cookies and asks the environment for nothing."""
        session = requests.Session()
        session.verify, session.cert, session.trust_env = self.verify, self.cert, self.trust_env
        session.proxies.update(self.proxies)
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        return session


class Watch:
    """The open sockets of one worker, and when they must be shut.

    The worker arms it, the watchdog and the run's end shut it; sockets and the flags are guarded by the lock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handles: set[socket.socket] = set()
        self._deadline = NEVER
        self._ended = False
        self.connections = 0
        """Changed by the worker only."""
        self.expired = False

    def arm(self, deadline: float) -> None:
        """Shut the sockets at ``deadline`` (of the monotonic clock), unless armed anew before."""
        with self._lock:
            self._deadline, self.expired = deadline, False

    def add(self, sock: socket.socket) -> socket.socket:
        """Take note of a socket. The handle is a duplicate, since a TLS handshake detaches the original."""
        handle = socket.socket(fileno=os.dup(sock.fileno()))
        with self._lock:
            self._handles.add(handle)
            self.connections += 1
            if self._ended or self.expired:
                _shut(handle)
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


class _Watched:
    """Tells its watch of each socket."""

    watch: Watch
    _handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]  # urllib3's hook for subclasses
        self._handle = self.watch.add(sock)
        return sock

    def close(self) -> None:
        super().close()  # type: ignore[misc]  # a mixin before an HTTPConnection
        if self._handle is not None:
            self.watch.remove(self._handle)
            self._handle = None


class WatchedAdapter(HTTPAdapter):
    """An adapter without retries whose connections belong to a watch."""

    def __init__(self, watch: Watch) -> None:
        kinds = {"http": (HTTPConnectionPool, HTTPConnection), "https": (HTTPSConnectionPool, HTTPSConnection)}
        self._pools = {
            scheme: type(
                "WatchedPool",
                (pool,),
                {"ConnectionCls": type("WatchedConnection", (_Watched, connection), {"watch": watch})},
            )
            for scheme, (pool, connection) in kinds.items()
        }
        super().__init__(pool_connections=4, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pool manager of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> PoolManager:
        """Make the pool manager of a proxy."""
        manager: PoolManager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager


@dataclass(frozen=True, slots=True)
class Lease:
    """One worker's session, its adapter and its watch."""

    session: requests.Session
    adapter: WatchedAdapter
    watch: Watch


class SessionPool:
    """Hands each thread its own session, and can shut the sockets of all.

    A watchdog thread, started with the first lease, shuts the sockets whose deadline has passed: no timeout of
    ``requests`` bounds a dribbled answer or handshake.
    """

    def __init__(self, options: SessionOptions) -> None:
        self._options = options
        self._local = threading.local()
        self._lock = threading.Lock()
        self._leases: list[Lease] = []
        """Guarded by the lock; appended only."""
        self._ended = threading.Event()

    def lease(self) -> Lease:
        """Return the calling thread's session, made on its first call."""
        found: Lease | None = getattr(self._local, "lease", None)
        if found is None:
            found = self._local.lease = self._new_lease()
        return found

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

    def _new_lease(self) -> Lease:
        watch = Watch()
        session, adapter = self._options.new_session(), WatchedAdapter(watch)
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
