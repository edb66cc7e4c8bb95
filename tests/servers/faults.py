"""Faults as small frozen values, each a recipe that turns a good reply into the steps of a bad response.

``at`` is the share of the bytes that still arrives. A custom fault is any object with a ``steps`` method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tests.servers.wire import (
    Answered,
    Close,
    Doom,
    Framing,
    Reply,
    Reset,
    Send,
    Step,
    Wait,
    chunks,
    framed,
    head,
    healthy,
    zipped,
)

Steps = tuple[Step, ...]


class Fault(Protocol):
    """One way in which a response goes wrong."""

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        """Return what happens on the wire instead of the good reply."""
        ...


def _cut(data: bytes, at: float) -> bytes:
    """Keep the front of the data, but never all of it."""
    return data[: min(int(len(data) * at), max(len(data) - 1, 0))]


def _dribble(data: bytes, size: int, every: float) -> Steps:
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    return tuple(step for piece in pieces for step in (Send(piece), Wait(every)))


@dataclass(frozen=True, slots=True)
class ResetBeforeHeaders:
    """The connection is reset as soon as the request is read."""

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        return (Reset(),)


@dataclass(frozen=True, slots=True)
class CloseBeforeHeaders:
    """The connection is closed as soon as the request is read."""

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        return (Close(),)


@dataclass(frozen=True, slots=True)
class StallBeforeHeaders:
    """Nothing comes for some seconds, then the connection closes."""

    seconds: float = 30.0

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        return (Wait(self.seconds), Close())


@dataclass(frozen=True, slots=True)
class CutHeaders:
    """The connection closes inside the headers, at the end of a whole line: a naive client sees an empty 200."""

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        return (Send(framed(reply, framing)[0].split(b"\r\n", 1)[0] + b"\r\n"), Close())


@dataclass(frozen=True, slots=True)
class ResetInBody:
    """The connection is reset when part of the body was sent."""

    at: float = 0.5

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        top, body = framed(reply, framing)
        return (Send(top + _cut(body, self.at)), Wait(0.005), Reset())


@dataclass(frozen=True, slots=True)
class ShortBody:
    """The body is shorter than its Content-Length, and the connection closes."""

    at: float = 0.5

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        top, body = framed(reply, "plain")
        return (Send(top + _cut(body, self.at)), Close())


@dataclass(frozen=True, slots=True)
class UnframedCut:
    """A body without any framing ends early: only its content can tell."""

    at: float = 0.5

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        top, body = framed(reply, "unframed")
        return (Send(top + _cut(body, self.at)), Close())


@dataclass(frozen=True, slots=True)
class CutChunk:
    """The connection closes in the middle of a chunk."""

    at: float = 0.5

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        kept = _cut(reply.body, self.at)
        cut = b"%x\r\n%b" % (len(reply.body) or 1, reply.body[len(kept) : len(kept) + 1])
        top = head(reply, ("Transfer-Encoding", "chunked"))
        return (Send(top + b"".join(chunks(kept)) + cut), Close())


@dataclass(frozen=True, slots=True)
class BadChunkSize:
    """A chunk announces a size that is no number."""

    at: float = 0.5

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        top = head(reply, ("Transfer-Encoding", "chunked"))
        kept = b"".join(chunks(_cut(reply.body, self.at)))
        return (Send(top + kept + b"zz\r\n" + reply.body[:8] + b"\r\n"), Close())


@dataclass(frozen=True, slots=True)
class TruncatedGzip:
    """The gzip stream ends early, but Content-Length is that of what is sent, and the connection stays open."""

    at: float = 0.5

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        body = _cut(zipped(reply.body), self.at)
        top = head(reply, ("Content-Encoding", "gzip"), ("Content-Length", str(len(body))))
        return (Send(top + body),)


@dataclass(frozen=True, slots=True)
class CorruptGzip:
    """The gzip stream is whole, but bytes in its middle (``where="data"``) or its checksum (``"crc"``) are wrong."""

    where: str = "data"

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        body = bytearray(zipped(reply.body))
        for place in range(-8, -4) if self.where == "crc" else range(len(body) // 2, len(body) // 2 + 4):
            body[place] ^= 0xFF
        top = head(reply, ("Content-Encoding", "gzip"), ("Content-Length", str(len(body))))
        return (Send(top + bytes(body)),)


@dataclass(frozen=True, slots=True)
class StallInBody:
    """Part of the body comes, then nothing for some seconds, then the connection closes."""

    seconds: float = 30.0
    at: float = 0.5

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        top, body = framed(reply, framing)
        return (Send(top + _cut(body, self.at)), Wait(self.seconds), Close())


@dataclass(frozen=True, slots=True)
class DribbleBody:
    """The body comes whole and right, ``size`` bytes ``every`` so many seconds."""

    size: int = 16
    every: float = 0.05

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        top, body = framed(reply, framing)
        end: Steps = (Close(),) if framing == "unframed" else ()
        return (Send(top), *_dribble(body, self.size, self.every), *end)


@dataclass(frozen=True, slots=True)
class DribbleHeaders:
    """The headers come whole and right, ``size`` bytes ``every`` so many seconds, with ``padding`` bytes of filler."""

    size: int = 4
    every: float = 0.05
    padding: int = 0

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        padded = Reply(reply.body, reply.status, (*reply.headers, ("X-Padding", "x" * self.padding)))
        top, body = framed(padded, framing)
        end: Steps = (Close(),) if framing == "unframed" else ()
        return (*_dribble(top, self.size, self.every), Send(body), *end)


@dataclass(frozen=True, slots=True)
class Given:
    """Another status and body, well framed."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        return healthy(Reply(self.body, self.status, (("Content-Type", self.content_type), *self.headers)), framing)


@dataclass(frozen=True, slots=True)
class ServerError:
    """A 5xx (or any status) with a small JSON error."""

    status: int = 503

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        return Given(self.status, b'{"error": "server"}').steps(reply, "plain")


@dataclass(frozen=True, slots=True)
class RetryLater:
    """429 or 503 with a Retry-After of any text: seconds, an HTTP date, or nonsense."""

    after: str = "1"
    status: int = 429

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        refusal = Given(self.status, b'{"error": "slow down"}', headers=(("Retry-After", self.after),))
        return refusal.steps(reply, "plain")


@dataclass(frozen=True, slots=True)
class EmptyOK:
    """200 with an empty body."""

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        return Given(200).steps(reply, "plain")


@dataclass(frozen=True, slots=True)
class HtmlOK:
    """200 with a login page."""

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        return Given(200, b"<html><body>Please log in</body></html>", "text/html").steps(reply, framing)


@dataclass(frozen=True, slots=True)
class TruncatedJson:
    """200, well framed, but the JSON ends early."""

    at: float = 0.5

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        return healthy(Reply(_cut(reply.body, self.at), reply.status, reply.headers), framing)


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect to anywhere."""

    to: str
    status: int = 302

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        return Given(self.status, headers=(("Location", self.to),)).steps(reply, "plain")


@dataclass(frozen=True, slots=True)
class Raw:
    """Any bytes, then more of ``tail`` so many ``times``, then the end: ``close``, ``reset`` or ``keep``."""

    data: bytes
    then: str = "close"
    tail: bytes = b""
    times: int = 0

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        end: dict[str, Steps] = {"close": (Close(),), "reset": (Wait(0.005), Reset()), "keep": ()}
        return (Send(self.data), *(Send(self.tail),) * self.times, *end[self.then])


@dataclass(frozen=True, slots=True)
class ResetOnReuse:
    """A good reply on a connection that is reset when its next request arrives."""

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        return (*healthy(reply, "plain"), Doom())


@dataclass(frozen=True, slots=True)
class DropIdle:
    """A good reply on a connection that is then closed unannounced, ``after`` so many seconds."""

    after: float = 0.02
    reset: bool = False

    def steps(self, reply: Reply, framing: Framing) -> Steps:
        return (*healthy(reply, "plain"), Answered(), Wait(self.after), Reset() if self.reset else Close())
