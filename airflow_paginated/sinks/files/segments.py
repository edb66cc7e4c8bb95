"""Claims, which decide who owns a staging area, and the segments that hold its pages."""

from __future__ import annotations

import json
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import uuid4

from airflow_paginated.core.errors import ClaimLost, PaginatedApiError, StoreError
from airflow_paginated.core.policies import MIB
from airflow_paginated.sinks.files.frames import Frame, scan
from airflow_paginated.sinks.files.storage import Log, Reader, Storage

_CLAIM_NAME: Final = re.compile(r"claim-(\d+)")

_CLAIM_ATTEMPTS: Final = 100


@dataclass(frozen=True, slots=True)
class Claim:
    """One try's claim on a staging area; ``text`` distinguishes it from a later claim with the same number."""

    staging: Storage
    number: int
    text: bytes

    @classmethod
    def take(cls, staging: Storage, above: int = 0) -> Claim:
        """Claim a staging area with a number above ``above``; every earlier try loses it."""
        text = json.dumps({"claim": uuid4().hex, "at": time.time()}).encode()
        for _ in range(_CLAIM_ATTEMPTS):
            number = max(above, _highest(staging.entries())) + 1
            if staging.create(f"claim-{number}", text):
                return cls(staging, number, text)
        raise StoreError(f"cannot claim {staging.identity}: other tries were faster {_CLAIM_ATTEMPTS} times")

    def check(self) -> None:
        """Raise ``ClaimLost`` unless this try still owns the staging area."""
        newest = _highest(self.staging.entries())
        if newest != self.number or self.staging.read(f"claim-{newest}") != self.text:
            raise ClaimLost(
                f"another try of this task has taken over the staging area {self.staging.identity}; this one gives up"
            )


def claim_number(name: str) -> int | None:
    """Return the number in the name of a claim file, or ``None`` for another file."""
    found = _CLAIM_NAME.fullmatch(name)
    return int(found[1]) if found else None


def _highest(names: Iterable[str]) -> int:
    return max((number for number in map(claim_number, names) if number is not None), default=0)


MAX_BYTES: Final = 8 * MIB

MAX_PAGES: Final = 256

MAX_SECONDS: Final = 5.0

OPEN_READERS: Final = 64
"""Segments open at once while reading; each takes up to ``MAX_BYTES`` of temporary disk if it is in a store."""

_SEGMENT_NAME: Final = re.compile(r"shard-0000/segment-(\d{4,})-(\d{6,})")

_log: Final = logging.getLogger(__name__)


class SegmentId(NamedTuple):
    """The claim that wrote a segment, and the segment's number within it."""

    claim: int
    number: int

    @property
    def name(self) -> str:
        """The segment's name in the staging area."""
        return f"shard-0000/segment-{self.claim:04d}-{self.number:06d}"

    @classmethod
    def parse(cls, name: str) -> SegmentId | None:
        """Return the id in a file's name, or ``None`` for another file."""
        found = _SEGMENT_NAME.fullmatch(name)
        return cls(int(found[1]), int(found[2])) if found else None


class SegmentWriter:
    """Adds frames to segments of one claim; used by one thread."""

    def __init__(self, staging: Storage, claim: Claim, clock: Callable[[], float] = time.monotonic) -> None:
        self._staging = staging
        self._claim = claim
        self._clock = clock
        self._log: Log | None = None
        self._id = SegmentId(claim.number, -1)
        self._size = 0
        self._frames = 0
        self._opened = 0.0

    def append(self, head: bytes, body: bytes) -> tuple[SegmentId, int]:
        """Add a frame and return the position of its body."""
        log = self._log or self._begin()
        log.append(head, body)
        place = self._id, self._size + len(head)
        self._size += len(head) + len(body)
        self._frames += 1
        if self._size >= MAX_BYTES or self._frames >= MAX_PAGES or self._clock() - self._opened >= MAX_SECONDS:
            self.finish()
        return place

    def finish(self) -> None:
        """Close the open segment, if this try still owns the staging area."""
        if self._log is not None:
            self._claim.check()
            self._log.close()
            self._log = None

    def close(self) -> None:
        """Close the open segment; if that fails, the next try collects its pages again."""
        try:
            self.finish()
        except PaginatedApiError as error:
            _log.warning("The newest pages are not stored: %s", error)
        finally:
            if self._log is not None:
                self._log.abandon()
                self._log = None

    def _begin(self) -> Log:
        if self._staging.local:
            # Writing would recreate a staging area that a newer try has removed.
            self._claim.check()
        self._id = SegmentId(self._claim.number, self._id.number + 1)
        self._log = self._staging.log(self._id.name)
        self._size = self._frames = 0
        self._opened = self._clock()
        return self._log


def segment_ids(staging: Storage) -> list[SegmentId]:
    """Return all stored segments, oldest first."""
    found = (SegmentId.parse(name) for name in staging.files("shard-0000"))
    return sorted(each for each in found if each)


def stored_frames(staging: Storage) -> Iterator[tuple[SegmentId, Frame]]:
    """Yield all intact frames, oldest first; skip the rest of a claim after its first damaged frame."""
    ids = segment_ids(staging)
    torn = -1
    for at, each in enumerate(ids):
        if each.claim == torn:
            continue
        # Only the last segment of a claim can be unclosed, and only on a local disk.
        last = at + 1 == len(ids) or ids[at + 1].claim != each.claim
        frames, whole = scan(staging.read(each.name) or b"", verify=staging.local and last)
        for frame in frames:
            yield each, frame
        if not whole:
            torn = each.claim
            if not last:
                _log.warning("%s/%s is damaged; collecting the pages after it again", staging.identity, each.name)


class SegmentReader:
    """Reads payloads from all segments with few files open; used by one thread."""

    def __init__(self, staging: Storage) -> None:
        self._staging = staging
        self._open: OrderedDict[SegmentId, Reader] = OrderedDict()
        self._evicted: set[SegmentId] = set()

    def read(self, segment: SegmentId, offset: int, length: int) -> bytes:
        """Return a payload."""
        reader = self._open.get(segment)
        if reader is not None:
            self._open.move_to_end(segment)
        elif segment in self._evicted and not self._staging.local:
            # When partitions are spread over more segments than fit, do not fetch whole segments repeatedly.
            return self._staging.read_range(segment.name, offset, length)
        else:
            reader = self._open[segment] = self._staging.reader(segment.name)
            self._evict()
        return reader.read(offset, length)

    def close(self) -> None:
        """Close all files."""
        while self._open:
            self._open.popitem()[1].close()

    def _evict(self) -> None:
        while len(self._open) > OPEN_READERS:
            segment, reader = self._open.popitem(last=False)
            reader.close()
            if not self._staging.local:
                self._evicted.add(segment)
