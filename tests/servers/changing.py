"""A table whose rows change, and an API that serves what has changed since an instant."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.servers.wire import Reply, Request


@dataclass
class ChangingTable:
    """Rows with an id and when they changed, by page number and in the order of their ids, with their total.

    ``?updated_since=`` asks for those that changed at that instant or later; not ``inclusive``, only later. ``on_page``
    is called before a page is served.
    """

    page_size: int = 3
    inclusive: bool = True
    on_page: Callable[[int], None] = lambda number: None
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    asked: list[str | None] = field(default_factory=list)
    """What ``updated_since`` said, request by request."""

    def change(self, key: int, at: str | None, **more: Any) -> dict[str, Any]:
        """Insert a row, or change it, and return it as it then is."""
        self.rows[key] = {"id": key, "updated_at": at, **more}
        return self.rows[key]

    def __call__(self, request: Request) -> Reply:
        number = int(request.query.get("page", "1"))
        self.on_page(number)
        since = request.query.get("updated_since")
        self.asked.append(since)
        found = [row for _, row in sorted(self.rows.items()) if self._asked_for(row, since)]
        page = found[(number - 1) * self.page_size : number * self.page_size]
        return Reply(json.dumps({"data": page, "meta": {"total": len(found), "page": number}}).encode())

    def page_of(self, request: Request) -> tuple[str, int]:
        """Return which page a request is for."""
        return "", int(request.query.get("page", "1")) - 1

    def _asked_for(self, row: dict[str, Any], since: str | None) -> bool:
        if since is None or row["updated_at"] is None:
            return True
        at, start = datetime.fromisoformat(row["updated_at"]), datetime.fromisoformat(since)
        return at > start or (self.inclusive and at == start)
