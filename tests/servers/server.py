"""The fault server: HTTP/1.1 with keep-alive on loopback, in a thread of its own, good or bad on demand."""

from __future__ import annotations

import asyncio
import json
import selectors
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self, TypeAlias, cast

from tests.servers.log import RequestLog
from tests.servers.schedules import Schedule, no_faults, schedule_from
from tests.servers.wire import (
    Answered,
    Close,
    Doom,
    Framing,
    Reply,
    Request,
    Reset,
    Send,
    Step,
    Wait,
    read_request,
)
from tests.servers.wire import healthy as healthy_steps

Application: TypeAlias = Callable[[Request], Reply]
Latency: TypeAlias = float | Callable[[Request], float]
_RST: Final = struct.pack("ii", 1, 0)


def _reset(transport: asyncio.Transport) -> None:
    """Close the connection with an RST instead of a FIN."""
    own = transport.get_extra_info("socket")
    if own is not None:  # a TLS transport that is being closed has none any more
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
    transport.abort()


class _Connection(asyncio.Protocol):
    """One client connection; everything in here runs in the server's thread."""

    def __init__(self, server: FaultServer, number: int) -> None:
        self._server, self._number = server, number
        self._buffer = bytearray()
        self._steps: Iterator[Step] | None = None  # what is left of the answer in progress
        self._counted = False  # a request of this connection is in flight in the log
        self._doomed = False
        self._held: Iterator[Step] | None = None  # the same, while the client does not read
        self._full = False  # the client reads slower than we send
        self._timer: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._server.open_transports.add(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.open_transports.discard(self.transport)
        self._leave()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._held is not None:
            held, self._held = self._held, None
            self._play(held)

    def data_received(self, data: bytes) -> None:
        if self._server.mute:
            return
        self._buffer += data
        if self._steps is None:
            self._take()

    def _take(self) -> None:
        """Start the answer to the next request, when a whole one has arrived."""
        request = read_request(self._buffer)
        if request is None:
            return
        if request.path.startswith("/__"):
            self._play(iter(healthy_steps(self._server.control(request))))
            return
        arrived = time.monotonic()
        steps = self._server.answer(request, self._number, self._doomed)
        self._counted = True
        delay = self._server.delay(request) - (time.monotonic() - arrived)
        self._play(iter((Wait(delay), *steps) if delay > 0 else steps))

    def _play(self, steps: Iterator[Step]) -> None:
        self._steps = steps
        for step in steps:
            if self.transport.is_closing():  # the client left, and an endless answer would go on
                return
            match step:
                case Send(data):
                    self.transport.write(data)
                    if self._full:
                        self._held = steps
                        return
                case Wait(seconds):
                    self._timer = asyncio.get_running_loop().call_later(seconds, self._play, steps)
                    return
                case Answered():
                    self._answered()
                case Doom():
                    self._doomed = True
                case Close() | Reset():
                    self._hang_up(reset=isinstance(step, Reset))
                    return
        self._answered()
        self._steps = None
        self._take()

    def _hang_up(self, reset: bool) -> None:
        # The connection leaves the counts before the client can notice, else its next one would seem to overlap.
        self._leave()
        if reset:
            _reset(self.transport)
        else:
            self.transport.close()

    def _answered(self) -> None:
        if self._counted:
            self._counted = False
            self._server.log.end()

    def _leave(self) -> None:
        self._answered()
        self._server.log.closed(self._number)
        if self._timer is not None:
            self._timer.cancel()


class FaultServer:
    """Serve an application on loopback and spoil what the schedule says.

    ``app``, ``faults``, ``framing`` and ``latency`` may be replaced while the server runs; the next request sees it.
    ``mute`` accepts connections and never says a word, not even in a TLS handshake. With ``tls`` the certificate is
    made on entry; ``ca_file`` is what a client must trust. ``exact``: a latency to the microsecond, where the usual
    timers round up to the next millisecond, but of few connections. Use it as a context manager.
    """

    def __init__(
        self,
        app: Application,
        faults: Schedule = no_faults,
        *,
        framing: Framing | Callable[[Request], Framing] = "plain",
        latency: Latency = 0.0,
        port: int = 0,
        host: str = "127.0.0.1",
        tls: bool = False,
        tls_names: tuple[str, ...] = ("localhost", "127.0.0.1"),
        mute: bool = False,
        exact: bool = False,
    ) -> None:
        self.app, self.faults, self.framing, self.latency, self.mute = app, faults, framing, latency, mute
        self.log = RequestLog()
        self.port, self.host = port, host
        self.open_transports: set[asyncio.Transport] = set()  # the server's thread only
        self._tls_names = tls_names if tls else ()
        self._numbers = count(1)
        self._loop = asyncio.SelectorEventLoop(selectors.SelectSelector() if exact else None)
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-server", daemon=True)
        self._directory = TemporaryDirectory(prefix="fault-server-")

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return f"{'https' if self._tls_names else 'http'}://{self.host}:{self.port}"

    @property
    def ca_file(self) -> Path:
        """The certificate to trust, with ``tls``."""
        return Path(self._directory.name) / "ca.pem"

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self._directory.cleanup()

    def drop_connections(self) -> None:
        """Reset every open connection, as a restarting server does."""
        self._loop.call_soon_threadsafe(self._drop)

    def _context(self) -> ssl.SSLContext | None:
        if not self._tls_names:
            return None
        from tests.servers.tls import server_context  # needs cryptography, which plain servers should not

        return server_context(self.ca_file, self._tls_names)

    async def _start(self) -> None:
        self._listener = await self._loop.create_server(
            lambda: _Connection(self, next(self._numbers)), self.host, self.port, backlog=512, ssl=self._context()
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        # No more are accepted; but one that was becomes a transport in a task of its own (in TLS after a handshake),
        # and asyncio loses it when the listener is closed before that.
        for listener in self._listener.sockets:
            self._loop.remove_reader(listener.fileno())
        accepting = asyncio.all_tasks() - {asyncio.current_task()}
        if accepting:
            _, unfinished = await asyncio.wait(accepting, timeout=0.1)
            for task in unfinished:
                task.cancel()
        self._listener.close()
        self._drop()
        while self.open_transports:
            await asyncio.sleep(0.001)

    def _drop(self) -> None:
        for transport in tuple(self.open_transports):
            _reset(transport)

    def delay(self, request: Request) -> float:
        """Return the seconds from the arrival of this request until its answer starts."""
        return self.latency(request) if callable(self.latency) else self.latency

    def answer(self, request: Request, connection: int, doomed: bool) -> tuple[Step, ...]:
        """Note the request and return the steps of its answer."""
        nth = self.log.nth(request)
        fault = None if doomed else self.faults(request, nth)
        name = "Doomed" if doomed else type(fault).__name__ if fault is not None else None
        page_of = getattr(self.app, "page_of", None)
        self.log.begin(request, connection, nth, name, page_of(request) if page_of else None)
        if doomed:
            return (Reset(),)
        framing = self.framing(request) if callable(self.framing) else self.framing
        reply = self.app(request)
        return healthy_steps(reply, framing) if fault is None else fault.steps(reply, framing)

    def control(self, request: Request) -> Reply:
        """Answer the endpoints that a test in another process uses: log, counts, reset and faults."""
        match request.method, request.path:
            case "GET", "/__counts__":
                return Reply(self.log.summary().as_json())
            case "GET", "/__log__":
                return Reply(json.dumps([seen.as_json() for seen in self.log.requests]).encode())
            case "POST", "/__reset__":
                self.log.clear()
                return Reply(b"{}")
            case "POST", "/__faults__":
                self.faults = schedule_from(json.loads(request.body or b"null"))
                return Reply(b"{}")
        return Reply(b'{"error": "no such control endpoint"}', 404)


def server_from(config: Mapping[str, Any]) -> FaultServer:
    """Build a server from JSON: ``{"api": {...}, "faults": ...}``, and options of a ``FaultServer`` by their names.

    ``family`` in the place of ``api`` is another application.
    """
    from tests.servers.api import PagedApi
    from tests.servers.family import Family

    options = {name: value for name, value in config.items() if name not in {"api", "family", "faults"}}
    app = Family(**config["family"]) if "family" in config else PagedApi(**config.get("api", {}))
    return FaultServer(app, schedule_from(config.get("faults")), **options)
