"""Real clients for real servers, with waits that are short, and servers that speak no HTTP at all."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

from airflow_paginated.core.errors import PaginatedApiError
from airflow_paginated.core.policies import Timeouts
from airflow_paginated.core.values import Page, PageRequest
from airflow_paginated.transport import ClientOptions, Endpoint, PageClient, RequestRetry
from tests.servers import PagedApi

API = PagedApi(rows=300, page_size=100)
QUICK = RequestRetry(max_attempts=3, backoff_factor=0.002)
"""Gives up after three attempts, and waits next to nothing between them."""
ONCE = RequestRetry(max_attempts=1, budget=0, backoff_factor=0.002)
"""Any attempt that is charged is the last."""
SECRET = "c4n4ry t0ken"


def options(url: str, **given: Any) -> ClientOptions:
    """Return options for quick tests; ``headers`` and ``auth`` are those of the endpoint."""
    endpoint = Endpoint(url, given.pop("headers", {}), given.pop("auth", None))
    known: dict[str, Any] = {"retry": QUICK, "data_selector": "data", "shown": ("page",), "secrets": (SECRET,)}
    return ClientOptions(endpoint=endpoint, **{**known, **given})


def connect(url: str, **given: Any) -> PageClient:
    """Return a client; a context manager."""
    return PageClient(options(url, **given))


def page(number: int, path: str = "employees", **given: Any) -> PageRequest:
    """Return the request for a page, counted from 1, with a secret in its query."""
    query = {"page": number, "token": SECRET, **given.pop("query", {})}
    return PageRequest(path, query=query, index=number - 1, **given)


def fetch(url: str, request: PageRequest | None = None, **given: Any) -> Page:
    """Fetch one page with a client of its own."""
    with connect(url, **given) as client:
        return client.fetch(request or page(1))


def refused(url: str, request: PageRequest | None = None, **given: Any) -> PaginatedApiError:
    """Return the error that fetching one page ends with."""
    with pytest.raises(PaginatedApiError) as caught:
        fetch(url, request, **given)
    return caught.value


def lines(number: int, api: PagedApi = API) -> bytes:
    """Return the right rows of a page, counted from 1."""
    every = list(api.reference_lines())
    return b"".join(every[(number - 1) * api.page_size : number * api.page_size])


def short(**given: Any) -> Timeouts:
    """Return timeouts of a fraction of a second for one attempt, and of some seconds for a page."""
    return Timeouts(**{"attempt": 0.3, "page": 30.0, **given})


def eventually(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until the condition holds; fail when it does not within a time that no slow machine needs."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.005)


class Calls:
    """Calls that run in threads of their own, each with what came of it."""

    def __init__(self, call: Callable[[Any], object], arguments: Iterator[Any] | list[Any]) -> None:
        self.outcomes: dict[int, object] = {}
        self.threads = [
            threading.Thread(target=self._run, args=(number, call, argument), daemon=True)
            for number, argument in zip(count(), arguments, strict=False)
        ]
        for thread in self.threads:
            thread.start()

    def _run(self, number: int, call: Callable[[Any], object], argument: object) -> None:
        try:
            self.outcomes[number] = call(argument)
        except Exception as exc:  # noqa: BLE001 - handed to the test
            self.outcomes[number] = exc

    def join(self, seconds: float = 30.0) -> list[object]:
        """Wait for all, and return their outcomes in order."""
        limit = time.monotonic() + seconds
        for thread in self.threads:
            thread.join(max(0.0, limit - time.monotonic()))
        assert not any(thread.is_alive() for thread in self.threads), "a call still runs"
        return [self.outcomes[number] for number in range(len(self.threads))]


@contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """Accept connections on loopback and let ``talk`` have each, in a thread; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(listener.accept()[0])
                    threading.Thread(target=_quietly, args=(talk, taken[-1]), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        # close() alone does not wake accept().
        listener.shutdown(socket.SHUT_RDWR)
        for each in taken:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def _quietly(talk: Callable[[socket.socket], None], peer: socket.socket) -> None:
    with contextlib.suppress(OSError):
        talk(peer)


@contextmanager
def blackhole() -> Iterator[int]:
    """Yield a port that swallows connection requests: the queue of its listener is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextmanager
def refusing() -> Iterator[int]:
    """Yield a port at which nobody listens, and which nobody else can take."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def headers_of(server: Any) -> list[Mapping[str, str]]:
    """Return the headers of all requests that a server saw."""
    return [seen.request.headers for seen in server.log.requests]
