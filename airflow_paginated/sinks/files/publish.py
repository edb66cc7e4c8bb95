"""The commit protocol: named steps, between any two of which a run may die.

Nothing is visible before the commit, everything after it. File names are noted before the files are written, so that
the next try can remove whatever this one leaves behind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from airflow_paginated.core.errors import ClaimLost, IncompleteError, StoreError, TargetError
from airflow_paginated.core.values import Check, CollectionReport, Json
from airflow_paginated.sinks.files import cleanup, compose
from airflow_paginated.sinks.files.compose import MappedPages
from airflow_paginated.sinks.files.index import PageIndex
from airflow_paginated.sinks.files.manifest import MANIFEST_VERSION, FileEntry, Manifest, load
from airflow_paginated.sinks.files.segments import Claim, SegmentReader
from airflow_paginated.sinks.files.site import TargetSite
from airflow_paginated.sinks.files.storage import Pending
from airflow_paginated.sinks.protocol import Run

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PublishStep:
    """One step of publishing; the steps of a publication run in order, each once."""

    name: str
    run: Callable[[], None]


class Publication:
    """Publishes one collection; used by one thread, once."""

    def __init__(self, site: TargetSite, claim: Claim, run: Run, index: PageIndex, report: CollectionReport) -> None:
        self._site = site
        self._claim = claim
        self._staging = claim.staging
        self._run = run
        self._index = index
        self._report = report
        self._reader = SegmentReader(claim.staging)
        self._watermark: Json = None
        self._mapped = self._map() if run.rows else None
        self._pages = index if self._mapped is None else self._mapped.index
        stored = None if self._mapped is None else index
        self._plan = compose.plan(self._pages, site.file_format, site.part_bytes, stored)
        self._source = compose.SegmentSource(self._pages, self._mapped or self._reader, run.check_cancelled)
        self._format = site.file_format
        self._files: list[FileEntry] = []
        self._held: Pending | None = None
        """The file of a one-file target, written but not committed."""

    def publish(self) -> Manifest:
        """Run all steps, while this try owns the staging area and, up to the commit, while it is not cancelled."""
        self._check_sums()
        try:
            for step in self.commit_steps():
                self._run.check_cancelled()
                self._claim.check()
                step.run()
            for step in self.cleaning_steps():
                self._claim.check()
                step.run()
        except StoreError:
            # A newer try may have removed files that this one needs.
            self._claim.check()
            raise
        finally:
            self.close()
        return self._manifest()

    def _map(self) -> MappedPages:
        mapped = MappedPages(self._run.base)
        try:
            mapped.fill(self._index, self._reader, self._run.rows, self._run.check_cancelled)
            if self._run.rows.changes is not None:
                self._watermark = self._run.rows.changes.reached(self._report.complete)
        except BaseException:
            mapped.close()
            self._reader.close()
            raise
        return mapped

    def _check_sums(self) -> None:
        report = self._report
        counted, stored = (report.pages, report.rows, report.bytes), self._index.sums()
        if counted != stored:
            raise IncompleteError(f"the audit counted (pages, rows, bytes) {counted}, the staging area has {stored}")

    def commit_steps(self) -> Iterator[PublishStep]:
        """Yield the steps up to and including the commit."""
        yield PublishStep("note new files", self._note_new)
        yield PublishStep("note old files", self._note_old)
        if self._format.look is not None:
            yield PublishStep("collect column names", self._collect_columns)
        if self._site.layout.name is not None:
            yield PublishStep("write the file", lambda: self._hold(self._plan.cuts[0]))
        else:
            for number, cut in enumerate(self._plan.cuts):
                yield PublishStep(f"write part {number}", lambda number=number, cut=cut: self._part(number, cut))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        yield PublishStep("write the accounting", self._accounting)
        yield PublishStep("verify", self._verify)
        if self._run.rows.changes is not None:
            yield PublishStep("check the watermark", self._run.rows.changes.check_unchanged)
        yield PublishStep("write the manifest", self._write_manifest)
        if self._site.layout.name is not None:
            yield PublishStep("replace the file", self._release)

    def cleaning_steps(self) -> Iterator[PublishStep]:
        """Yield the steps after the commit; a later commit makes up for one that fails."""
        for name, run in (
            ("confirm", self._confirm),
            ("remove old files", self._remove_old_files),
            ("remove stale stagings", self._remove_stale_stagings),
            ("remove the staging", self._remove_staging),
        ):
            yield PublishStep(name, lambda run=run, name=name: self._tolerant(name, run))  # type: ignore[misc]  # as above

    def close(self) -> None:
        """Close all files and discard uncommitted ones."""
        self._reader.close()
        if self._mapped is not None:
            self._mapped.close()
        if self._held is not None:
            self._held.discard()
            self._held = None

    def _names(self) -> list[str]:
        layout, digest = self._site.layout, self._plan.digest
        return [*(layout.part(digest, number) for number in range(len(self._plan.cuts))), layout.pages(digest)]

    def _note_new(self) -> None:
        cleanup.write_note(self._staging, self._plan.digest, self._site.target, self._names())

    def _note_old(self) -> None:
        # Another run may have committed since this one began.
        old = load(self._site.target, self._site.layout)
        if old is None:
            return
        self._site.admit(old, self._run.owner)
        if old.digest != self._plan.digest:
            names = [*(file.path for file in old.files), self._site.layout.pages(old.digest)]
            cleanup.write_note(self._staging, old.digest, self._site.target, names)

    def _collect_columns(self) -> None:
        self._format = self._format.seen(
            compose.payloads(self._pages, self._mapped or self._reader, self._run.check_cancelled)
        )

    def _part(self, number: int, cut: compose.Cut) -> None:
        self._settle(self._compose(self._site.layout.part(self._plan.digest, number), cut))

    def _hold(self, cut: compose.Cut) -> None:
        self._held = self._compose(self._site.layout.part(self._plan.digest, 0), cut)

    def _compose(self, name: str, cut: compose.Cut) -> Pending:
        pending = self._site.target.begin(name, cut.bytes)
        try:
            self._files.append(self._source.compose(cut, self._format, pending, name))
        except BaseException:
            pending.discard()
            raise
        return pending

    def _accounting(self) -> None:
        pending = self._site.target.begin(self._site.layout.pages(self._plan.digest))
        try:
            compose.write_accounting(self._index, pending)
        except BaseException:
            pending.discard()
            raise
        self._settle(pending)

    def _settle(self, pending: Pending) -> None:
        """Commit a file unless a newer try has taken over meanwhile: nobody would remove it."""
        try:
            self._claim.check()
        except BaseException:
            pending.discard()
            raise
        pending.commit()

    def _verify(self) -> None:
        if sum(file.rows for file in self._files) != self._plan.rows:
            raise compose.DamagedError("the composed files do not contain all collected rows")
        if self._site.layout.name is not None:
            return
        for file in self._files:
            if self._site.target.size(file.path) != file.bytes:
                raise StoreError(f"{self._site.target.identity}/{file.path} is missing or has the wrong size")

    def _write_manifest(self) -> None:
        self._site.target.put(self._site.layout.manifest, self._manifest().encode())

    def _release(self) -> None:
        if self._held is not None:
            self._held.commit()
            self._held = None

    def _manifest(self) -> Manifest:
        report = self._report
        return Manifest(
            version=MANIFEST_VERSION,
            digest=self._plan.digest,
            complete=report.complete,
            owner=self._run.owner,
            plan=self._run.plan,
            partitions=report.partitions,
            pages=report.pages,
            rows=self._plan.rows,
            bytes=self._plan.bytes,
            files=tuple(self._files),
            checks=(*report.checks, *self._row_checks()),
            stop_reason=report.stop_reason,
            watermark=self._watermark,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _row_checks(self) -> Iterator[Check]:
        rows = self._run.rows
        if rows.changes is not None:
            yield Check("only_changes", "passed", rows.changes.evidence)
        if rows.named:
            given = self._report.rows if rows.changes is None else rows.changes.new
            counts = f"{self._plan.rows} of {given} rows are published"
            yield Check("row_functions", "passed", f"{counts}; {', '.join(rows.named)} saw each of them once")

    def _tolerant(self, name: str, run: Callable[[], None]) -> None:
        try:
            run()
        except StoreError as error:
            # The rows are published: failing now would only collect them again.
            _log.warning("Published, but could not %s; a later run will retry: %s", name, error)

    def _confirm(self) -> None:
        committed = self._committed()
        if committed.digest == self._plan.digest:
            return
        if committed.owner == self._run.owner:
            raise ClaimLost(f"another try of this task published to {self._site.target.identity} at the same time")
        raise TargetError(f"another run published to {self._site.target.identity} at the same time")

    def _committed(self) -> Manifest:
        committed = load(self._site.target, self._site.layout)
        if committed is None:
            raise TargetError(f"the manifest of {self._site.target.identity} was removed while it was published")
        return committed

    def _remove_old_files(self) -> None:
        cleanup.remove_unlisted(self._site.target, self._site.layout, self._committed(), self._staging)
        cleanup.remove_temporary(self._site.target, self._site.layout, [self._run.key])

    def _remove_stale_stagings(self) -> None:
        site = self._site
        keys = cleanup.stale_stagings(
            site.stagings, self._run.key, max(cleanup.STALE_STAGING_SECONDS, self._run.resume_max_age)
        )
        for key in keys:
            staging = site.stagings.sub(key)
            cleanup.remove_unlisted(site.target, site.layout, self._committed(), staging)
            cleanup.remove_staging(staging, site.target)
        if keys:
            cleanup.remove_temporary(site.target, site.layout, keys)

    def _remove_staging(self) -> None:
        cleanup.remove_staging(self._staging, self._site.target, self._claim.number)
        if self._site.stagings_inside:
            with suppress(StoreError):
                self._site.stagings.prune()
