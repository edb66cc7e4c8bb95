"""A paginated API as a pure function of the request, and the exact bytes that a right collection of it holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from tests.servers.wire import Reply, Request

# Text that trips naive readers: quotes, JSON punctuation, escapes, a raw U+2028, and characters of two to four bytes.
NAMES: Final = tuple(
    name.encode()
    for name in (
        "Zoë",
        "Søren",
        "李雷",
        'Ana \\"Nita\\"',
        "O\\u2019Neil",
        "}],[{",
        "a\u2028b",
        "🦊",
        "\\\\n",
        "Eve",
    )
)
_COMPACT: Final = (
    b'{"id":%d,"store":%b,"name":"%b %d","salary":%d.%d0,"rate":1.10,"badge":%d,"address":{"city":"%b %d",'
    b'"geo":[%d.50,-0.0,1E+2]},"tags":["a\\u00e9","\xc3\xa9"],"boss":null}'
)
Whitespace = Literal["plain", "spaces", "newlines"]
_TEMPLATES: Final[Mapping[str, bytes]] = {
    "plain": _COMPACT.replace(b",", b", ").replace(b":", b": "),
    "spaces": _COMPACT.replace(b",", b" ,\t").replace(b":", b"  :").replace(b"{", b"{ ").replace(b"}", b"  }"),
    "newlines": _COMPACT.replace(b",", b",\r\n    ").replace(b":", b": ").replace(b"{", b"{\n    "),
}


def _row(template: bytes, seed: int, store: bytes, i: int) -> bytes:
    mix = (i * 2654435761 + seed * 40503 + 12345) & 0xFFFFFFFF
    name, city = NAMES[mix % 10], NAMES[mix // 10 % 10]
    badge = 10**22 + mix * 10**12 + i
    return template % (i, store, name, i, mix % 90000, mix % 10, badge, city, mix % 99999, mix % 180)


@dataclass(frozen=True, slots=True)
class PagedApi:
    """Employees, the same for the same fields, asked for by page number or by offset, by GET or by POST with JSON.

    ``/employees`` answers with an envelope ``{"data", "meta": {"total_pages", "total", "page"}, "has_more"}``,
    ``/bare`` with the array alone and ``X-Total-Count``. Parameters: ``page`` and ``per_page``, or ``offset`` and
    ``limit``; and ``partition_param`` when ``rows`` maps partitions to their number of rows. ``max_page_size`` clamps
    what was asked for. ``whitespace`` is that inside the rows; rows with newlines are collected without whitespace.
    ``cursor`` puts the number of the next page, or null, into ``meta.next``.
    """

    rows: int | Mapping[str, int] = 1000
    page_size: int = 100
    seed: int = 0
    base_page: int = 1
    base_offset: int = 0
    partition_param: str = "store"
    max_page_size: int | None = None
    totals: bool = True
    has_more: bool = True
    cursor: bool = False
    past_end: Literal["empty", "not_found"] = "empty"
    whitespace: Whitespace = "plain"

    def __call__(self, request: Request) -> Reply:
        """Answer one request."""
        bare = request.path.endswith("/bare")
        if not bare and not request.path.endswith("/employees"):
            return Reply(b'{"error": "no such endpoint"}', 404)
        try:
            partition, start, size = self._asked(request)
        except (ValueError, KeyError):
            return Reply(b'{"error": "bad parameters"}', 400)
        total = self.total(partition)
        if start >= total and start > 0 and self.past_end == "not_found":
            return Reply(b'{"error": "no such page"}', 404)
        body = b", ".join(self._texts(partition, range(start, min(start + size, total)), self._sent))
        return self._bare(body, total) if bare else self._envelope(body, total, start, size)

    def _asked(self, request: Request) -> tuple[str, int, int]:
        """Return (partition, first row, number of rows), or raise ValueError or KeyError."""
        asked = request.parameters()
        partition = str(asked[self.partition_param]) if isinstance(self.rows, Mapping) else ""
        if isinstance(self.rows, Mapping) and partition not in self.rows:
            raise KeyError(partition)
        size = int(asked.get("limit", asked.get("per_page", self.page_size)))
        size = min(size, self.max_page_size or size)
        offset = int(asked.get("offset", self.base_offset)) - self.base_offset
        start = offset if "offset" in asked else (int(asked.get("page", self.base_page)) - self.base_page) * size
        if size < 1 or start < 0:
            raise ValueError("out of range")
        return partition, start, size

    def _bare(self, body: bytes, total: int) -> Reply:
        counted = (("X-Total-Count", str(total)),) if self.totals else ()
        return Reply(b"[" + body + b"]", 200, (("Content-Type", "application/json"), *counted))

    def _envelope(self, body: bytes, total: int, start: int, size: int) -> Reply:
        meta: dict[str, Any] = {"total_pages": -(-total // size), "total": total} if self.totals else {}
        page = start // size + self.base_page
        rest: dict[str, Any] = {"meta": {**meta, "page": page}}
        if self.cursor:
            rest["meta"]["next"] = page + 1 if start + size < total else None
        if self.has_more:
            rest["has_more"] = start + size < total
        return Reply(b'{"data": [' + body + b"], " + json.dumps(rest).encode()[1:])

    @property
    def _sent(self) -> bytes:
        return _TEMPLATES[self.whitespace]

    def _texts(self, partition: str, span: range, template: bytes) -> Iterator[bytes]:
        store = json.dumps(partition).encode()
        return (_row(template, self.seed, store, i) for i in span)

    def total(self, partition: str = "") -> int:
        """Return the number of rows of one partition."""
        return self.rows[partition] if isinstance(self.rows, Mapping) else self.rows

    def pages(self, partition: str = "") -> int:
        """Return the number of pages of one partition, in the API's own page size."""
        return -(-self.total(partition) // self.page_size)

    def page_of(self, request: Request) -> tuple[str, int] | None:
        """Return (partition, index from 0) of the page that is asked for, or None when it is no page."""
        try:
            partition, start, size = self._asked(request)
        except (ValueError, KeyError):
            return None
        return partition, start // size

    def reference_lines(self, partitions: Sequence[str] | None = None) -> Iterator[bytes]:
        """Yield each line of the right JSON Lines file, with its newline, in the order of the partitions."""
        chosen = partitions if partitions is not None else list(self.rows) if isinstance(self.rows, Mapping) else [""]
        # A row with line breaks cannot be one line as it is: all that a collector may do is drop the whitespace.
        template = _COMPACT if self.whitespace == "newlines" else self._sent
        for partition in chosen:
            yield from (text + b"\n" for text in self._texts(partition, range(self.total(partition)), template))

    def reference(self, partitions: Sequence[str] | None = None) -> bytes:
        """Return the bytes that a right collection into JSON Lines holds: rows as sent, one a line, in order."""
        return b"".join(self.reference_lines(partitions))
