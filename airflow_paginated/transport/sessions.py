"""One session for each thread that fetches, and a watchdog over all."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Final, NamedTuple, TypeVar

import requests
from urllib3 import HTTPConnectionPool

from airflow_paginated.paging.errors import ConfigurationError
from airflow_paginated.transport.origin import Origin
from airflow_paginated.transport.watched import AbortableAdapter, ConnectionRegistry

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
