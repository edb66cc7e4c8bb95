"""Datasets whose rows are parameters, without files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rows:
    """Rows (raw JSON) in blocks of several."""

    rows: Sequence[bytes]
    name: str = "/lake/orders/_manifest.json"
    digest: str = "0123456789abcdef"
    complete: bool = True
    block: int = 3

    @property
    def count(self) -> int:
        return len(self.rows)

    def blocks(self) -> Iterator[bytes]:
        for at in range(0, len(self.rows), self.block):
            yield b"".join(row + b"\n" for row in self.rows[at : at + self.block])


def rows_of(*rows: Mapping[str, Any] | Any, **known: Any) -> Rows:
    return Rows([json.dumps(row).encode() for row in rows], **known)
