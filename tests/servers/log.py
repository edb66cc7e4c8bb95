"""What a server saw, safe to read from any thread while it runs."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.servers.wire import Request

PageKey = tuple[str, int]
"""(partition, index from 0)."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One request that arrived, at ``time`` on the monotonic clock of the machine."""

    request: Request
    connection: int
    time: float
    nth: int
    fault: str | None
    page: PageKey | None
    in_flight: int

    def as_json(self) -> dict[str, Any]:
        """Return a form that JSON can say; the body as text."""
        fields = asdict(self)
        fields["request"]["body"] = self.request.body.decode("utf-8", "replace")
        return fields


@dataclass(frozen=True, slots=True)
class Summary:
    """The counts of one server, the same whether it runs in this process or in another."""

    requests: int = 0
    counts: Mapping[PageKey, int] = field(default_factory=dict)
    faults: Mapping[str, int] = field(default_factory=dict)
    connections: int = 0
    peak_connections: int = 0
    peak_in_flight: int = 0

    def as_json(self) -> bytes:
        """Return the JSON form."""
        pages = [[partition, index, n] for (partition, index), n in self.counts.items()]
        return json.dumps({**asdict(self), "counts": pages}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Summary:
        """Read the JSON form."""
        fields = json.loads(text)
        return cls(**{**fields, "counts": {(partition, index): n for partition, index, n in fields["counts"]}})


class RequestLog:
    """Every request of a server; the server's thread writes, anybody reads copies.

    A connection counts from its first request until it is closed by either side, so that those which only ask the
    control endpoints do not count.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self._seen: list[Seen] = []
        self._nth: Counter[str] = Counter()
        self._in_flight = self._peak_in_flight = 0
        self._open: set[int] = set()
        self._connections = self._peak_connections = 0

    def clear(self) -> None:
        """Forget everything, and how often each request was seen; only between runs, when nothing is in flight."""
        with self._lock:
            self._clear()

    def nth(self, request: Request) -> int:
        """Count one more arrival of this very request, and return how many there are now."""
        with self._lock:
            self._nth[request.key] += 1
            return self._nth[request.key]

    def begin(self, request: Request, connection: int, nth: int, fault: str | None, page: PageKey | None) -> None:
        """Note a request that is now in flight."""
        with self._lock:
            if connection not in self._open:
                self._open.add(connection)
                self._connections += 1
                self._peak_connections = max(self._peak_connections, len(self._open))
            self._in_flight += 1
            self._peak_in_flight = max(self._peak_in_flight, self._in_flight)
            self._seen.append(Seen(request, connection, time.monotonic(), nth, fault, page, self._in_flight))

    def end(self) -> None:
        """Note that a request in flight was answered or given up."""
        with self._lock:
            self._in_flight = max(self._in_flight - 1, 0)

    def closed(self, connection: int) -> None:
        """Note that a connection is gone."""
        with self._lock:
            self._open.discard(connection)

    @property
    def requests(self) -> tuple[Seen, ...]:
        """All requests in the order of their arrival."""
        with self._lock:
            return tuple(self._seen)

    @property
    def counts(self) -> Mapping[PageKey, int]:
        """How often each page was asked for."""
        return Counter(seen.page for seen in self.requests if seen.page is not None)

    def summary(self) -> Summary:
        """Return all counts."""
        seen = self.requests
        faults = Counter(one.fault for one in seen if one.fault is not None)
        pages = Counter(one.page for one in seen if one.page is not None)
        with self._lock:
            totals = (self._connections, self._peak_connections, self._peak_in_flight)
        return Summary(len(seen), dict(pages), dict(faults), *totals)
