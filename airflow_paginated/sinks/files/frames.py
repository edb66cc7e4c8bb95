"""The frame of a page in a segment: one JSON header line, then the rows exactly as they were handed over.

Requests are stored as what differs from the run's base request: shorter, and a header that all requests share (it may
be a secret) never lands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import msgspec

from airflow_paginated.core.values import Json, PageRecord, PageRequest, Split, Stop, Successor, Total, TotalKind

FRAME_VERSION: Final = 1
_OMITTED: Final = object()

Partition = tuple[int, ...]


class Delta(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a request has that its base has not; ``dropped`` names query parameters of the base that it lacks."""

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
    """A frame's header; with ``restart`` it says that nothing before it in that partition counts."""

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
        """Say whether the fields make sense together."""
        if self.v != FRAME_VERSION:
            return False
        if self.restart is not None:
            return self.bytes == -1
        follows = (self.successor, self.stop, self.split)
        return min(self.index, self.rows, self.bytes) >= 0 and sum(each is not None for each in follows) == 1

    @property
    def payload(self) -> int:
        """The length of what follows the header's line."""
        return max(self.bytes, 0)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame found in a segment: its header, the header's line, and where its payload lies."""

    header: Header
    line: bytes
    offset: int


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Header)


def header_of(record: PageRecord, base: PageRequest, at: float) -> Header:
    """Return the header of a page that landed at ``at`` (epoch seconds)."""
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
        split=_split_deltas(successor, base, partition) if isinstance(successor, Split) else None,
        attempts=record.attempts,
        seconds=round(record.seconds, 6),
        total=(record.total.count, record.total.kind) if record.total else None,
        ignored=record.ignored,
    )


def restart_of(partition: Partition, at: float) -> Header:
    """Return the header that takes back all earlier frames of a partition."""
    return Header(v=FRAME_VERSION, at=at, restart=partition)


def encode(header: Header) -> bytes:
    """Return a header as the line that begins a frame."""
    try:
        return _encoder.encode(header) + b"\n"
    except (OverflowError, UnicodeEncodeError):
        # Integers beyond 64 bits and lone surrogates, which an API may put into a cursor.
        return json.dumps(msgspec.to_builtins(header)).encode() + b"\n"


def decode(line: bytes) -> Header | None:
    """Return the header in a line, or ``None`` for anything else."""
    try:
        header: Header | None = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        header = _decode_odd(line)
    return header if header is not None and header.sound else None


def record_of(header: Header, base: PageRequest) -> PageRecord:
    """Return the record that a header was made of."""
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
    """Return the frames of a segment up to the first bad one, and whether there was none.

    With ``verify`` a payload that does not match its digest is bad, too.
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


def _split_deltas(split: Split, base: PageRequest, partition: Partition) -> list[Delta]:
    return [_delta(request, base, (*partition, number), 0) for number, request in enumerate(split.requests)]


def _decode_odd(line: bytes) -> Header | None:
    try:
        return msgspec.convert(json.loads(line), Header)
    except (ValueError, RecursionError):
        return None


def _delta(request: PageRequest, base: PageRequest, partition: Partition, index: int) -> Delta:
    query, dropped = _query_delta(request.query, base.query)
    return Delta(
        partition=None if request.partition == partition else request.partition,
        index=None if request.index == index else request.index,
        path=None if request.path == base.path else request.path,
        method=None if request.method == base.method else request.method,
        query=query or None,
        dropped=dropped or None,
        headers=_headers_delta(request.headers, base.headers),
        body=msgspec.UNSET if request.body is base.body else request.body,
        state=msgspec.UNSET if request.state is base.state else request.state,
        sure=msgspec.UNSET if request.sure is base.sure else request.sure,
    )


def _query_delta(query: Mapping[str, Json], base: Mapping[str, Json]) -> tuple[dict[str, Json], list[str]]:
    names = list(base)
    if list(query)[: len(names)] != names:
        # A parameter is missing, or the order differs, which some APIs sign.
        return dict(query), names
    # Identity, since equality takes True for 1; what is stored without need does no harm.
    return {name: value for name, value in query.items() if base.get(name, _OMITTED) is not value}, []


def _headers_delta(headers: Mapping[str, str], base: Mapping[str, str]) -> dict[str, str | None] | None:
    if headers is base or headers == base:
        return None
    changed: dict[str, str | None] = {name: None for name in base if name not in headers}
    return changed | {name: value for name, value in headers.items() if base.get(name) != value}


def _restore(delta: Delta, base: PageRequest, partition: Partition, index: int) -> PageRequest:
    return PageRequest(
        path=base.path if delta.path is None else delta.path,
        method=base.method if delta.method is None else delta.method,
        query=_restore_query(delta, base.query),
        headers=_restore_headers(delta.headers, base.headers),
        body=base.body if delta.body is msgspec.UNSET else delta.body,
        partition=partition if delta.partition is None else delta.partition,
        index=index if delta.index is None else delta.index,
        state=base.state if delta.state is msgspec.UNSET else delta.state,
        sure=base.sure if isinstance(delta.sure, msgspec.UnsetType) else delta.sure,
    )


def _restore_query(delta: Delta, base: Mapping[str, Json]) -> Mapping[str, Json]:
    if not delta.query and not delta.dropped:
        return base
    dropped = delta.dropped or ()
    return {**{name: value for name, value in base.items() if name not in dropped}, **(delta.query or {})}


def _restore_headers(changed: Mapping[str, str | None] | None, base: Mapping[str, str]) -> Mapping[str, str]:
    if not changed:
        return base
    merged = {**base, **changed}
    return {name: value for name, value in merged.items() if value is not None}
