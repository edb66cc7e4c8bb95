"""The frame of a page in a segment: one JSON header line, then the page's rows, byte for byte.

A request is stored as its difference from the run's base request. That is shorter, and a header that all requests
share, which may be a secret, is never written.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import msgspec

from airflow_paginated.core.values import Json, PageRecord, PageRequest, Split, Stop, Successor, Total, TotalKind

FRAME_VERSION: Final = 1
_OMITTED: Final = object()

Partition = tuple[int, ...]


class Delta(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a request differs from its base; ``dropped`` names query parameters that only the base has."""

    partition: Partition | None = None
    index: int | None = None
    path: str | None = None
    method: str | None = None
    query: dict[str, Any] | None = None
    dropped: list[str] | None = None
    headers: dict[str, str | None] | None = None
    body: Any = msgspec.UNSET
    state: Any = msgspec.UNSET
    sure: bool | msgspec.UnsetType = msgspec.UNSET


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """A frame's header; ``restart`` voids all earlier frames of that partition."""

    v: int
    at: float
    restart: Partition | None = None
    partition: Partition = ()
    index: int = -1
    rows: int = -1
    bytes: int = -1
    sha256: str = ""
    request: Delta | None = None
    successor: Delta | None = None
    stop: str | None = None
    split: list[Delta] | None = None
    attempts: int = 0
    seconds: float = -1.0
    total: tuple[int, TotalKind] | None = None
    ignored: bool = False

    @property
    def sound(self) -> bool:
        """Whether the fields are consistent."""
        if self.v != FRAME_VERSION:
            return False
        if self.restart is not None:
            return self.bytes == -1
        follows = (self.successor, self.stop, self.split)
        return min(self.index, self.rows, self.bytes) >= 0 and sum(each is not None for each in follows) == 1

    @property
    def payload(self) -> int:
        """The number of bytes after the header line."""
        return max(self.bytes, 0)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame read from a segment: its header, the encoded header line, and the payload's offset."""

    header: Header
    line: bytes
    offset: int


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Header)


def header_of(record: PageRecord, base: PageRequest, at: float) -> Header:
    """Return the header of a page stored at ``at`` (epoch seconds)."""
    request, successor = record.request, record.successor
    partition, index = request.partition, request.index
    return Header(
        v=FRAME_VERSION,
        at=at,
        partition=partition,
        index=index,
        rows=record.rows,
        bytes=record.bytes,
        sha256=record.sha256,
        request=_delta(request, base, partition, index),
        successor=_delta(successor, base, partition, index + 1) if isinstance(successor, PageRequest) else None,
        stop=successor.why if isinstance(successor, Stop) else None,
        split=[_delta(part, base, (*partition, number), 0) for number, part in enumerate(successor.requests)]
        if isinstance(successor, Split)
        else None,
        attempts=record.attempts,
        seconds=round(record.seconds, 6),
        total=(record.total.count, record.total.kind) if record.total else None,
        ignored=record.ignored,
    )


def restart_of(partition: Partition, at: float) -> Header:
    """Return the header that voids all earlier frames of a partition."""
    return Header(v=FRAME_VERSION, at=at, restart=partition)


def encode(header: Header) -> bytes:
    """Encode a header as the first line of a frame."""
    try:
        return _encoder.encode(header) + b"\n"
    except (OverflowError, UnicodeEncodeError):
        # Cursors may contain integers beyond 64 bits and lone surrogates.
        return json.dumps(msgspec.to_builtins(header)).encode() + b"\n"


def decode(line: bytes) -> Header | None:
    """Decode a header line; return ``None`` if it is invalid."""
    try:
        header: Header | None = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        try:
            header = msgspec.convert(json.loads(line), Header)
        except (ValueError, RecursionError):
            return None
    return header if header is not None and header.sound else None


def record_of(header: Header, base: PageRequest) -> PageRecord:
    """Rebuild the record from its header."""
    request = header.request or Delta()
    return PageRecord(
        request=_restore(request, base, header.partition, header.index),
        successor=_successor(header, base),
        rows=header.rows,
        bytes=header.bytes,
        sha256=header.sha256,
        attempts=header.attempts,
        seconds=header.seconds,
        total=Total(*header.total) if header.total else None,
        ignored=header.ignored,
    )


def scan(data: bytes, verify: bool) -> tuple[list[Frame], bool]:
    """Return the frames of a segment up to the first damaged one, and whether all are intact.

    With ``verify``, a payload that does not match its digest counts as damaged.
    """
    frames: list[Frame] = []
    at, view = 0, memoryview(data)
    while at < len(data):
        end = data.find(b"\n", at) + 1
        line = data[at:end] if end else b""
        header = decode(line) if line else None
        if header is None or end + header.payload > len(data):
            return frames, False
        at = end + header.payload
        if verify and header.restart is None and sha256(view[end:at]).hexdigest() != header.sha256:
            return frames, False
        frames.append(Frame(header, line, end))
    return frames, True


def _successor(header: Header, base: PageRequest) -> Successor:
    if header.stop is not None:
        return Stop(header.stop)
    if header.split is not None:
        parts = enumerate(header.split)
        return Split(tuple(_restore(delta, base, (*header.partition, number), 0) for number, delta in parts))
    return _restore(header.successor or Delta(), base, header.partition, header.index + 1)


def _delta(request: PageRequest, base: PageRequest, partition: Partition, index: int) -> Delta:
    query: dict[str, Json] = dict(request.query)
    dropped = list(base.query)
    # A missing parameter or another order, which some APIs sign, stores the whole query.
    if list(query)[: len(dropped)] == dropped:
        # By identity, since True == 1; storing more than needed does no harm.
        query = {name: value for name, value in query.items() if base.query.get(name, _OMITTED) is not value}
        dropped = []
    headers: dict[str, str | None] | None = None
    if request.headers is not base.headers and request.headers != base.headers:
        headers = {name: None for name in base.headers if name not in request.headers}
        headers |= {name: value for name, value in request.headers.items() if base.headers.get(name) != value}
    return Delta(
        partition=None if request.partition == partition else request.partition,
        index=None if request.index == index else request.index,
        path=None if request.path == base.path else request.path,
        method=None if request.method == base.method else request.method,
        query=query or None,
        dropped=dropped or None,
        headers=headers,
        body=msgspec.UNSET if request.body is base.body else request.body,
        state=msgspec.UNSET if request.state is base.state else request.state,
        sure=msgspec.UNSET if request.sure is base.sure else request.sure,
    )


def _restore(delta: Delta, base: PageRequest, partition: Partition, index: int) -> PageRequest:
    query, headers = base.query, base.headers
    if delta.query or delta.dropped:
        dropped = delta.dropped or ()
        kept = {name: value for name, value in query.items() if name not in dropped}
        query = {**kept, **(delta.query or {})}
    if delta.headers:
        merged = {**headers, **delta.headers}
        headers = {name: value for name, value in merged.items() if value is not None}
    return PageRequest(
        path=base.path if delta.path is None else delta.path,
        method=base.method if delta.method is None else delta.method,
        query=query,
        headers=headers,
        body=base.body if delta.body is msgspec.UNSET else delta.body,
        partition=partition if delta.partition is None else delta.partition,
        index=index if delta.index is None else delta.index,
        state=base.state if delta.state is msgspec.UNSET else delta.state,
        sure=base.sure if isinstance(delta.sure, msgspec.UnsetType) else delta.sure,
    )
