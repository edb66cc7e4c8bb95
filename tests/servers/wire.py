"""HTTP/1.1 as bytes: requests read from the wire, replies framed for it, and the steps that put them there."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qsl, unquote

Framing: TypeAlias = Literal["plain", "chunked", "gzip", "gzip+chunked", "unframed"]
CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it was read; header names are lower-case, a repeated query parameter keeps its last value.

    ``target`` is what stood in the request line, to the letter.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    target: str = field(default="", compare=False)

    @property
    def key(self) -> str:
        """What makes two requests the same one: method, path, query in any order, and body."""
        return f"{self.method} {self.path} {sorted(self.query.items())} {self.body!r}"

    def parameters(self) -> dict[str, Any]:
        """The query, overlaid with the fields of a JSON object in the body; raises ValueError for any other body."""
        if not self.body:
            return dict(self.query)
        fields = json.loads(self.body)
        if not isinstance(fields, dict):
            raise ValueError("the body is not a JSON object")
        return {**self.query, **fields}


@dataclass(frozen=True, slots=True)
class Reply:
    """What an application answers, before it is framed."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)


@dataclass(frozen=True, slots=True)
class Send:
    """Put these bytes on the wire."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Wait:
    """Let this many seconds pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answered:
    """The request counts as answered from here on, whatever the connection does next."""


@dataclass(frozen=True, slots=True)
class Doom:
    """Reset the connection when the next request arrives on it."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection in order (FIN)."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Close the connection with a reset (RST)."""


Step: TypeAlias = Send | Wait | Answered | Doom | Close | Reset


def read_request(buffer: bytearray) -> Request | None:
    """Take one whole request from the front of the buffer, or return None and leave it as it is."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = buffer[:end].decode("latin-1").split("\r\n")
    method, target, _version = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", "0"))
    if len(buffer) < end + 4 + length:
        return None
    body = bytes(buffer[end + 4 : end + 4 + length])
    del buffer[: end + 4 + length]
    path, _, query = target.partition("?")
    return Request(method, unquote(path), dict(parse_qsl(query, keep_blank_values=True)), headers, body, target)


def head(reply: Reply, *extra: tuple[str, str]) -> bytes:
    """Return the status line and the headers, with the blank line that ends them."""
    phrase = HTTPStatus(reply.status).phrase if reply.status in HTTPStatus.__members__.values() else "Unknown"
    lines = [f"HTTP/1.1 {reply.status} {phrase}", *(f"{name}: {value}" for name, value in (*reply.headers, *extra))]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunks(body: bytes, size: int = CHUNK) -> Iterator[bytes]:
    """Cut the body into chunks as the wire shows them, without the last one of size zero."""
    for start in range(0, len(body), size):
        piece = body[start : start + size]
        yield b"%x\r\n%b\r\n" % (len(piece), piece)


def zipped(body: bytes) -> bytes:
    """Compress fast and the same way every time."""
    return gzip.compress(body, compresslevel=1, mtime=0)


def framed(reply: Reply, framing: Framing = "plain") -> tuple[bytes, bytes]:
    """Return (headers, body) of a well-formed response in the given framing."""
    body, extra = reply.body, list[tuple[str, str]]()
    if framing.startswith("gzip"):
        body = zipped(body)
        extra.append(("Content-Encoding", "gzip"))
    if framing.endswith("chunked"):
        extra.append(("Transfer-Encoding", "chunked"))
        return head(reply, *extra), b"".join(chunks(body)) + b"0\r\n\r\n"
    if framing == "unframed":
        return head(reply, ("Connection", "close")), body
    if reply.status != HTTPStatus.NO_CONTENT and reply.status != HTTPStatus.NOT_MODIFIED:
        extra.append(("Content-Length", str(len(body))))
    return head(reply, *extra), body


def healthy(reply: Reply, framing: Framing = "plain") -> tuple[Step, ...]:
    """Return the steps of a response without any fault."""
    sent = Send(b"".join(framed(reply, framing)))
    return (sent, Close()) if framing == "unframed" else (sent,)
