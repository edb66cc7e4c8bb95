"""A small table that changes while it is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.servers import Reply, Request

PAGE_SIZE = 10


@dataclass
class Shelf:
    """Answers ``?offset=20&limit=10`` with rows and a total; before answering request number ``at`` it changes, once.

    Used by the server's thread; what it holds in the end is the reference.
    """

    rows: list[int]
    at: int = -1
    change: Callable[[list[int]], list[int]] = lambda rows: rows
    total: Callable[[list[int]], int | None] = len
    asked: list[int] = field(default_factory=list)

    def __call__(self, request: Request) -> Reply:
        if len(self.asked) == self.at:
            self.rows = self.change(self.rows)
        start, size = int(request.query["offset"]), int(request.query["limit"])
        self.asked.append(start)
        total = self.total(self.rows)
        told = {} if total is None else {"total": total}
        rows = [{"id": row} for row in self.rows[start : start + size]]
        return Reply(json.dumps({"data": rows, **told}).encode())

    def reference(self) -> bytes:
        return b"".join(b'{"id": %d}\n' % row for row in self.rows)
