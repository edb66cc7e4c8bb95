"""What lies on the disk, read with no code of the package: the staging's frames, and what is published."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

Partition = tuple[int, ...]

FOLLOWING = ("stop", "split", "successor")

_SEGMENT = re.compile(r"segment-(\d+)-(\d+)")


@dataclass(frozen=True)
class Landed:
    """So many pages of a partition are stored, and whether its end is among them."""

    pages: int
    ended: bool

    @property
    def final(self) -> int:
        """How many of them must not be fetched again: all, but of an open partition the last one."""
        return self.pages if self.ended else max(self.pages - 1, 0)


def frames(data: bytes) -> Iterator[dict[str, Any]]:
    """Yield the headers of all whole frames, with ``whole`` false in a last one that is none."""
    at = 0
    while at < len(data):
        end = data.find(b"\n", at) + 1
        try:
            header = json.loads(data[at:end])
        except ValueError:
            header = {}
        size = header.get("bytes", 0)
        payload = data[end : end + size]
        good = "restart" in header or sha256(payload).hexdigest() == header.get("sha256")
        yield {**header, "whole": good and bool(end)}
        if not (good and end):
            return
        at = end + size


def landed(staging: Path) -> Mapping[Partition, Landed]:
    """Return what is stored of each partition, by the frames in a staging area."""
    pages: dict[Partition, dict[int, tuple[int, str]]] = {}
    names = [found for path in staging.glob("shard-0000/*") if (found := _SEGMENT.fullmatch(path.name))]
    for claim, segments in groupby(sorted(names, key=lambda n: (int(n[1]), int(n[2]))), key=lambda n: int(n[1])):
        for frame in _of_claim(staging, [name[0] for name in segments]):
            if "restart" in frame:
                pages.pop(tuple(frame["restart"]), None)
                continue
            partition, index = tuple(frame["partition"]), frame["index"]
            kept = {at: page for at, page in pages.get(partition, {}).items() if at <= index or page[0] == claim}
            pages[partition] = {**kept, index: (claim, next(name for name in FOLLOWING if name in frame))}
    whole = {partition: found[max(found)][1] for partition, found in pages.items() if len(found) == max(found) + 1}
    split = {partition for partition, following in whole.items() if following == "split"}
    return {
        partition: Landed(len(pages[partition]), following != "successor")
        for partition, following in whole.items()
        # A part counts as long as the page that was split into it does.
        if split.issuperset(partition[:length] for length in range(1, len(partition)))
    }


def _of_claim(staging: Path, names: list[str]) -> Iterator[dict[str, Any]]:
    for name in names:
        for frame in frames((staging / "shard-0000" / name).read_bytes()):
            if not frame["whole"]:
                return
            yield frame


def manifest(path: str) -> dict[str, Any] | None:
    """Return the manifest of a target, a folder's or a file's."""
    text = _read(_manifest_path(path))
    return None if text is None else json.loads(text)


def published(path: str) -> bytes | None:
    """Return the rows that a reader sees at a target, or ``None`` where nothing is visible.

    Whatever a folder's manifest says of its files must hold; a file is visible by itself.
    """
    if not path.endswith("/"):
        return _read(Path(path))
    said = manifest(path)
    if said is None:
        return None
    parts = [(Path(path) / file["path"]).read_bytes() for file in said["files"]]
    for part, file in zip(parts, said["files"], strict=True):
        assert (len(part), sha256(part).hexdigest()) == (file["bytes"], file["sha256"])
        assert rows_in(part).count(b"\n") == file["rows"]
    return b"".join(parts)


def rows_in(data: bytes) -> bytes:
    """Return the rows in a data file, zipped or not."""
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def proved(path: str) -> bytes:
    """Return the rows at a target after a run that ended well: its manifest is there, and true."""
    said, data = manifest(path), published(path)
    assert said is not None
    assert data is not None
    if not path.endswith("/"):
        assert [(len(data), sha256(data).hexdigest())] == [(file["bytes"], file["sha256"]) for file in said["files"]]
    rows = rows_in(data)
    assert (said["rows"], said["bytes"]) == (rows.count(b"\n"), len(rows))
    assert gzip.decompress(_accounting(path, said).read_bytes()).count(b"\n") == said["pages"]
    return rows


def leftovers(path: str) -> set[str]:
    """Return the files and folders in a target's folder that its manifest does not account for."""
    root, said = folder_of(path), manifest(path)
    listed = [root / file["path"] for file in said["files"]] + [_accounting(path, said)] if said else []
    known = {_manifest_path(path), *listed, *(each.parent for each in listed)}
    return {str(each.relative_to(root)) for each in root.rglob("*") if each not in known}


def folder_of(path: str) -> Path:
    """Return the folder that a target, a folder or a file, lies in."""
    return Path(path) if path.endswith("/") else Path(path).parent


def _accounting(path: str, said: Mapping[str, Any]) -> Path:
    pages = "_pages" if path.endswith("/") else f"_{Path(path).name}.pages"
    return folder_of(path) / pages / f"{said['digest']}.ndjson.gz"


def _manifest_path(path: str) -> Path:
    return (
        Path(path) / "_manifest.json" if path.endswith("/") else Path(path).parent / f"_{Path(path).name}.manifest.json"
    )


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
