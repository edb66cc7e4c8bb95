"""How the files of a target are called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

STAGING: Final = "_staging"
_FOLDER_FILE: Final = re.compile(r"(part-\d{5,}-[0-9a-f]{16}\.[a-z0-9.]{1,16}|_pages/[0-9a-f]{16}\.ndjson\.gz)")
_DIGEST_FILE: Final = re.compile(r"[0-9a-f]{16}\.ndjson\.gz")


@dataclass(frozen=True, slots=True)
class Layout:
    """The names of a folder target, or of the one file ``name`` and what stands beside it."""

    suffix: str
    name: str | None = None

    @property
    def manifest(self) -> str:
        """The commit point of a folder, the companion of a file."""
        return "_manifest.json" if self.name is None else f"_{self.name}.manifest.json"

    def part(self, digest: str, number: int) -> str:
        """The name of a data file."""
        return self.name or f"part-{number:05d}-{digest}.{self.suffix}"

    def pages(self, digest: str) -> str:
        """The name of the accounting of all pages."""
        return f"{self._pages_folder}{digest}.ndjson.gz"

    def owns(self, name: str) -> bool:
        """Say whether a file may be deleted: its name is one of ours, and never the one file itself."""
        if self.name is None:
            return bool(_FOLDER_FILE.fullmatch(name))
        folder, slash, base = name.rpartition("/")
        return folder + slash == self._pages_folder and bool(_DIGEST_FILE.fullmatch(base))

    def folders(self) -> tuple[str, ...]:
        """The folders of the target in which files of ours are written."""
        return "", self._pages_folder

    @property
    def _pages_folder(self) -> str:
        return "_pages/" if self.name is None else f"_{self.name}.pages/"
