"""A target with its staging folders: what it contains, and what a run may replace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from airflow_paginated.core.errors import TargetError
from airflow_paginated.sinks.files.formats import FileFormat
from airflow_paginated.sinks.files.layout import STAGING, Layout
from airflow_paginated.sinks.files.manifest import Manifest, load, stands
from airflow_paginated.sinks.files.storage import Storage, temp_owner
from airflow_paginated.sinks.protocol import Owner, Run

IfExists: TypeAlias = Literal["replace", "fail", "skip"]

_LISTED_NAMES: Final = 3


@dataclass(frozen=True, slots=True)
class TargetSite:
    """A target with its options; ``stagings`` holds one folder for each run key.

    ``part_bytes`` is ``None`` for a one-file target, ``stagings_inside`` says that ``stagings`` belongs to the target.
    """

    target: Storage
    stagings: Storage
    stagings_inside: bool
    layout: Layout
    file_format: FileFormat
    part_bytes: int | None
    if_exists: IfExists

    def inspect(self, run: Run) -> Manifest | None:
        """Return the manifest that makes a run unnecessary (``if_exists="skip"``), if there is one.

        Raises ``TargetError`` if the run must not publish here.
        """
        manifest = load(self.target, self.layout)
        self._refuse_foreign(manifest)
        if manifest is None:
            return None
        self.admit(manifest, run.owner)
        # A sample or a result with a waived check does not make a run unnecessary.
        whole = manifest.complete and stands(manifest, self.target, self.layout)
        if whole and run.rows.changes is not None and manifest.owner == run.owner:
            whole = self._is_done(manifest, run)
        return manifest if whole and self.if_exists == "skip" else None

    def _is_done(self, manifest: Manifest, run: Run) -> bool:
        """Whether an incremental run has already published and moved the watermark.

        Raises ``TargetError`` if later runs have moved the watermark since: this run would now publish less.
        """
        then, now = (plan.get("incremental", {}).get("after") for plan in (manifest.plan, run.plan))
        gone_on = then is not None and now is not None and then < now
        if gone_on and self.if_exists != "skip":
            raise TargetError(
                f"{self.target.identity} has what this run published, up to {manifest.watermark!r}, and later runs have"
                " gone on from there: collected again, it would be replaced by less. It stays as it is; to collect it"
                " all again, set the watermark back and start a new run"
            )
        return gone_on or (then == now and run.rows.changes is not None and run.rows.changes.counted)

    def admit(self, manifest: Manifest, owner: Owner) -> None:
        """Raise ``TargetError`` if ``owner`` must not replace the files that a manifest lists."""
        held = manifest.owner
        if held == owner:
            return
        if (held.dag, held.task, held.run) == (owner.dag, owner.task, owner.run):
            raise TargetError(
                f"{self.target.identity} was published by map index {held.map_index} of this same run; "
                "put {{ ti.map_index }} into the path of the sink"
            )
        if self.if_exists == "fail" and stands(manifest, self.target, self.layout):
            raise TargetError(
                f"{self.target.identity} was published by run {held.run!r} of {held.dag}.{held.task}, "
                "and if_exists is 'fail'"
            )

    def _refuse_foreign(self, manifest: Manifest | None) -> None:
        if self.layout.name is not None:
            if manifest is None and self.target.size(self.layout.name) is not None:
                raise TargetError(
                    f"{self.target.identity}/{self.layout.name} exists and was not written by this package: "
                    "remove it or choose another path"
                )
            return
        foreign = [name for name in self.target.entries() if not self._is_ours(name, manifest)]
        if foreign:
            more = ", ..." if len(foreign) > _LISTED_NAMES else ""
            raise TargetError(
                f"{self.target.identity} holds what this package did not write"
                f" ({', '.join(foreign[:_LISTED_NAMES])}{more}): remove it or choose another folder"
            )

    def _is_ours(self, name: str, manifest: Manifest | None) -> bool:
        if name in (f"{STAGING}/", "_pages/", self.layout.manifest):
            return True
        listed = manifest is not None and any(file.path == name for file in manifest.files)
        return listed or self.layout.owns(name) or temp_owner(name) is not None
