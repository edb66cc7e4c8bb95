"""A collection in files, from the first stored page to the commit."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any, Final

from airflow_paginated.core.errors import WatermarkMoved
from airflow_paginated.core.values import CollectionReport, PageRecord
from airflow_paginated.sinks.files import cleanup, frames
from airflow_paginated.sinks.files.compose import DamagedError, payload_of
from airflow_paginated.sinks.files.index import PageIndex
from airflow_paginated.sinks.files.manifest import load
from airflow_paginated.sinks.files.publish import Publication
from airflow_paginated.sinks.files.segments import Claim, SegmentReader, SegmentWriter, segment_ids, stored_frames
from airflow_paginated.sinks.files.site import TargetSite
from airflow_paginated.sinks.protocol import Run

_log: Final = logging.getLogger(__name__)


class FileDataset:
    """Implements ``Dataset``; the summary reports ``path`` and ``manifest_path``."""

    keeps = True

    def __init__(self, site: TargetSite, run: Run, path: str, manifest_path: str) -> None:
        self._site = site
        self._run = run
        self._path = path
        self._manifest_path = manifest_path
        staging = site.stagings.sub(run.key)
        # A new claim number must not match segments whose claim file is gone.
        self._claim = Claim.take(staging, above=max((each.claim for each in segment_ids(staging)), default=0))
        self._writer = SegmentWriter(self._claim.staging, self._claim)
        self._reader = SegmentReader(self._claim.staging)
        self._index = PageIndex(run.base)
        self._closed = False
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    def unfinished(self) -> Iterator[PageRecord]:
        """Yield the newest stored page of each partition whose end is not stored."""
        return self._index.unfinished()

    def records(self) -> Iterator[PageRecord]:
        """Yield every stored page, sorted by partition and index."""
        return self._index.records()

    def lines(self, record: PageRecord) -> bytes:
        """Return the rows of a stored page.

        Raises ``StoreError`` if they are damaged, and forgets everything.
        """
        self._writer.finish()
        try:
            return payload_of(self._index.place(record.request.partition, record.request.index), self._reader)
        except DamagedError:
            self.discard()
            raise

    def last(self, partition: tuple[int, ...]) -> PageRecord | None:
        """Return the newest stored page of a partition."""
        return self._index.last(partition)

    def store_page(self, record: PageRecord, lines: bytes) -> None:
        """Store a page."""
        if record.bytes != len(lines):
            raise ValueError(f"a page of {record.bytes} bytes came with {len(lines)} bytes of rows")
        header = frames.header_of(record, self._run.base, time.time())
        head = frames.encode(header)
        segment, offset = self._writer.append(head, lines)
        self._index.put(header, head, segment, offset)

    def restart(self, partition: tuple[int, ...]) -> None:
        """Forget the stored pages of a partition."""
        self._writer.append(frames.encode(frames.restart_of(partition, time.time())), b"")
        self._index.restart(partition)

    def publish(self, report: CollectionReport) -> dict[str, Any]:
        """Make all stored rows visible at once and return a summary."""
        try:
            manifest = self.publication(report).publish()
        except DamagedError:
            self.discard()
            raise
        except WatermarkMoved:
            self._remove_everything()
            raise
        self.close()
        return manifest.summary(self._path, self._manifest_path)

    def publication(self, report: CollectionReport) -> Publication:
        """Return a publication of all stored rows, not yet started."""
        self._writer.finish()
        return Publication(self._site, self._claim, self._run, self._index, report)

    def discard(self) -> None:
        """Forget all stored pages; notes on files at the target stay."""
        # A newer try may own the staging area by now.
        self._claim.check()
        self._writer.close()
        self._index.clear()
        staging = self._claim.staging
        staging.delete(each.name for each in segment_ids(staging))

    def close(self) -> None:
        """Store what is still in memory and release all resources."""
        if not self._closed:
            self._closed = True
            self._writer.close()
            self._reader.close()
            self._index.close()

    def _remove_everything(self) -> None:
        """Leave no trace: the next try requests other rows and uses another staging area."""
        self._claim.check()
        self._writer.close()
        target, layout = self._site.target, self._site.layout
        cleanup.remove_unlisted(target, layout, load(target, layout), self._claim.staging)
        cleanup.remove_temporary(target, layout, [self._run.key])
        cleanup.remove_staging(self._claim.staging, target, self._claim.number)
        if self._site.stagings_inside:
            self._site.stagings.prune()

    def _load(self) -> None:
        """Index the pages that earlier claims stored."""
        newest, first_claim = 0.0, None
        for segment, frame in stored_frames(self._claim.staging):
            header = frame.header
            newest = max(newest, header.at)
            first_claim = first_claim or segment.claim
            if header.restart is not None:
                self._index.restart(header.restart)
                continue
            self._index.put(header, frame.line, segment, frame.offset)
            if segment.claim != first_claim:
                self._index.cut(header.partition, header.index, segment.claim)
        if first_claim is None:
            return
        if time.time() - newest > self._run.resume_max_age:
            _log.info("Stored pages are older than limits.resume_max_age: starting from scratch")
            self.discard()
            return
        # If a page that was split is lost, so are its parts, recursively.
        while lost := self._index.gapped():
            for partition in lost:
                _log.warning("A stored page of partition %s is lost: collecting the partition again", partition)
                self.restart(partition)
        _log.info("Resuming after %d stored pages", self._index.sums()[0])
