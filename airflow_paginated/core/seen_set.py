"""A set that only grows, in bounded memory: the rest is in a temporary file."""

from __future__ import annotations

import sqlite3
from typing import Final, Literal

# The file is deleted with the connection, so durability does not matter; the cache bounds the memory.
_SEEN_TABLE: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -{cache_kib};
CREATE TABLE seen (value {kind} PRIMARY KEY) WITHOUT ROWID;
BEGIN;
"""


class SeenSet:
    """Values of one kind, 64-bit integers or bytes. Used by one thread at a time."""

    def __init__(self, kind: Literal["INTEGER", "BLOB"], cache_kib: int) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript(_SEEN_TABLE.format(kind=kind, cache_kib=cache_kib))
        self._execute = self._db.cursor().execute

    def add(self, value: int | bytes) -> bool:
        """Add a value; return whether it is new."""
        return self._execute("INSERT OR IGNORE INTO seen VALUES (?)", (value,)).rowcount == 1

    def close(self) -> None:
        """Discard the set."""
        self._db.close()
