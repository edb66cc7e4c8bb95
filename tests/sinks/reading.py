"""What a reader gets of a published folder."""

from __future__ import annotations

import json

from tests.sinks.conftest import Lake


def parts(lake: Lake, folder: str = "out") -> dict[str, bytes]:
    return {name: data for name, data in lake.files(folder).items() if name.startswith("part-")}


def published(lake: Lake, folder: str = "out") -> bytes:
    """Return the rows as a reader gets them: by the manifest."""
    files = lake.files(folder)
    return b"".join(files[file["path"]] for file in json.loads(files["_manifest.json"])["files"])
