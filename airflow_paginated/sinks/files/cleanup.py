"""Remove files that no manifest lists, but only those whose names were noted before they were written."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable
from typing import Final

import msgspec

from airflow_paginated.sinks.files.layout import Layout
from airflow_paginated.sinks.files.manifest import Manifest
from airflow_paginated.sinks.files.segments import claim_number
from airflow_paginated.sinks.files.storage import Storage, temp_owner

STALE_STAGING_SECONDS: Final = 7 * 24 * 3600.0

_RUN_KEY: Final = re.compile(r"([0-9a-f]{16})/")

_NOTE: Final = re.compile(r"files-[0-9a-f]{16}\.json")

_log: Final = logging.getLogger(__name__)


class Note(msgspec.Struct, frozen=True):
    """Names of files at a target that are about to be written or replaced."""

    target: str
    files: list[str]


def write_note(staging: Storage, digest: str, target: Storage, files: Iterable[str]) -> None:
    """Note files of one dataset in a staging area."""
    note = Note(target.identity, list(files))
    staging.put(f"files-{digest}.json", msgspec.json.encode(note))


def read_notes(staging: Storage) -> dict[str, Note]:
    """Return the notes in a staging area, by file name."""
    notes = {}
    for name in filter(_NOTE.fullmatch, staging.entries()):
        try:
            notes[name] = msgspec.json.decode(staging.read(name) or b"", type=Note)
        except msgspec.DecodeError:
            _log.warning("Cannot read %s/%s; leaving it in place", staging.identity, name)
    return notes


def remove_unlisted(target: Storage, layout: Layout, committed: Manifest | None, staging: Storage) -> None:
    """Delete files that a staging area notes for this target, unless the committed manifest lists them."""
    keep = {file.path for file in committed.files} | {layout.pages(committed.digest)} if committed else set()
    noted = {name for note in read_notes(staging).values() if note.target == target.identity for name in note.files}
    target.delete(sorted(name for name in noted - keep if layout.owns(name)))


def remove_temporary(target: Storage, layout: Layout, run_keys: Iterable[str]) -> None:
    """Delete unfinished files that these runs left at the target."""
    keys = set(run_keys)
    for folder in layout.folders():
        target.delete(folder + name for name in target.entries(folder.rstrip("/")) if temp_owner(name) in keys)


def stale_stagings(stagings: Storage, own: str, age: float) -> list[str]:
    """Return the run keys whose staging area has no file younger than ``age`` seconds."""
    keys = [found[1] for found in map(_RUN_KEY.fullmatch, stagings.entries()) if found and found[1] != own]
    oldest = time.time() - age
    return [key for key in keys if all((info.modified or 0) < oldest for info in stagings.sub(key).files().values())]


def remove_staging(staging: Storage, target: Storage, newest_claim: int | None = None) -> None:
    """Delete a staging area, except for notes on another target, which a commit there needs.

    A claim above ``newest_claim`` stays: a newer try owns the area then, and finds no pages in it.
    """
    foreign = {name for name, note in read_notes(staging).items() if note.target != target.identity}
    # If this process dies midway, the next try must be able to resume: delete the newest pages first, so that no gap
    # appears, and the claims last.
    names = [name for name in sorted(staging.files(), reverse=True) if name not in foreign]
    claims = {name: number for name in names if (number := claim_number(name)) is not None}
    staging.delete(name for name in names if name not in claims)
    staging.delete(name for name, number in claims.items() if newest_claim is None or number <= newest_claim)
    for folder in (staging.sub("shard-0000"), staging):
        folder.prune()
