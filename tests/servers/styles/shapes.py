"""How rows and what is told of them make a body."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tests.servers.styles.core import JSON_TYPE, Headers, Json, Path, Rows, Told
from tests.servers.wire import Reply

_HERE: Final = "\x00rows\x00"


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """An object with the rows at ``at``, each in an object of its own under ``node`` where that is given.

    ``beside`` is what every answer has. ``nothing`` is what an answer without rows has in the place of the list, or
    that the key is not there, or that there is no body at all.
    """

    at: Path = ("data",)
    node: str | None = None
    beside: Mapping[Path, Json] = field(default_factory=dict)
    nothing: Literal["list", "null", "absent", "no content"] = "list"
    content_type: str = "application/json"

    def reply(self, rows: Rows, told: Told) -> Reply:
        """Return the reply."""
        headers: Headers = (("Content-Type", self.content_type), *told.headers)
        if not rows and self.nothing == "no content":
            return Reply(b"", 204, told.headers)
        body: dict[str, Any] = {}
        for path, value in {**self.beside, **told.fields}.items():
            put(body, path, value)
        if rows or self.nothing != "absent":
            put(body, self.at, _HERE if rows or self.nothing == "list" else None)
        text = json.dumps(body).encode()
        return Reply(text.replace(json.dumps(_HERE).encode(), b"[" + self._joined(rows) + b"]"), 200, headers)

    def _joined(self, rows: Rows) -> bytes:
        if self.node is None:
            return b",".join(rows)
        name = json.dumps(self.node).encode()
        return b", ".join(b'{"cursor": "c", %b: %b}' % (name, row) for row in rows)


@dataclass(frozen=True, kw_only=True)
class Bare:
    """The list alone."""

    def reply(self, rows: Rows, told: Told) -> Reply:
        """Return the reply."""
        assert not told.fields, "there is no place for fields"
        return Reply(b"[" + b", ".join(rows) + b"]", 200, (JSON_TYPE, *told.headers))


@dataclass(frozen=True, kw_only=True)
class Lines:
    """JSON Lines."""

    def reply(self, rows: Rows, told: Told) -> Reply:
        """Return the reply."""
        assert not told.fields, "there is no place for fields"
        body = b"".join(row + b"\n" for row in rows)
        return Reply(body, 200, (("Content-Type", "application/x-ndjson"), *told.headers))


@dataclass(frozen=True, kw_only=True)
class Table:
    """CSV with a header line, or without."""

    columns: tuple[str, ...]
    header: bool = True
    delimiter: str = ","
    quotechar: str = '"'

    def reply(self, rows: Rows, told: Told) -> Reply:
        """Return the reply."""
        assert not told.fields, "there is no place for fields"
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=self.delimiter, quotechar=self.quotechar)
        if self.header:
            writer.writerow(self.columns)
        writer.writerows([json.loads(row)[name] for name in self.columns] for row in rows)
        return Reply(text.getvalue().encode(), 200, (("Content-Type", "text/csv; charset=utf-8"), *told.headers))


def put(body: dict[str, Any], path: Path, value: Json) -> None:
    """Put a value at a path of an object."""
    for step in path[:-1]:
        body = body.setdefault(step, {})
    body[path[-1]] = value
