"""What this process connects to and looks up, as the interpreter's own audit tells it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.servers import FaultServer

_seen: set[tuple[Any, Any]] | None = None
_hooked = False


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _seen is not None and event == "socket.connect":
        _seen.add(args[1][:2])
    elif _seen is not None and event == "socket.getaddrinfo":
        _seen.add(args[:2])


@contextmanager
def nothing_but(server: FaultServer, *names: str) -> Iterator[None]:
    """Fail when anything else than this server, under its address or these names, is connected to or looked up."""
    global _seen, _hooked
    if not _hooked:
        sys.addaudithook(_hook)  # there is no way to take it off again
        _hooked = True
    _seen = seen = set()
    try:
        yield
    finally:
        _seen = None
    ours = {(host, server.port) for host in (server.host, *names)}
    assert seen <= ours, f"{seen - ours} is none of ours"
