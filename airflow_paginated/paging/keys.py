"""Rows that must not be there twice: a key of each row, remembered for the whole run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Final

import msgspec

from airflow_paginated.paging.errors import ConfigurationError, IncompleteError, ResponseError
from airflow_paginated.paging.policies import Completeness, paths_of
from airflow_paginated.paging.seen_set import SeenSet
from airflow_paginated.paging.selectors import parse_path, seen_along
from airflow_paginated.paging.values import Page

KEY_DIGEST_BYTES: Final = 16
"""At this size two keys that differ have one digest in no run that anybody could collect."""
NO_KEY: Final = b"null"
KEYS_CACHE_KIB: Final = 16384


@dataclass(slots=True)
class DuplicateKeyCheck:
    """Tells a row whose key an earlier row of the run has; changed by the caller's thread only.

    Flat in memory: some 30 bytes of temporary disk for each row.
    """

    policy: Completeness
    rows: int = 0
    twice: int = 0
    waived: str | None = None
    _paths: tuple[str, ...] = ()
    _seen: SeenSet | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._paths = paths_of(self.policy.key)
        if self._paths:
            self._seen = SeenSet("BLOB", KEYS_CACHE_KIB)

    @property
    def asked(self) -> bool:
        """Say whether there is a key to look at."""
        return self._seen is not None

    def admit(self, page: Page) -> Page:
        """Return the page, without the rows that are to be dropped.

        Raises ``IncompleteError`` for a row that is there twice, ``ResponseError`` for one without the key.
        """
        if self._seen is None or not page.count:
            return page
        new = [self._seen.add(digest) for digest in self._digests(page)]
        self.rows += len(new)
        if all(new):
            return page
        self._found_twice(page, new)
        if self.policy.on_duplicate == "keep":
            return page
        return page.with_rows(row for row, fresh in zip(page.rows, new, strict=True) if fresh)

    def close(self) -> None:
        """Forget everything."""
        if self._seen is not None:
            self._seen.close()

    def _digests(self, page: Page) -> Iterator[bytes]:
        reader = key_reader(self._paths)
        try:
            for texts in reader.read(page.lines):
                if NO_KEY in texts:
                    raise ResponseError(f"completeness: key {self.policy.key!r} is null in {page.request.name}")
                yield blake2b(b"\0".join(texts), digest_size=KEY_DIGEST_BYTES).digest()
        except msgspec.ValidationError:
            raise ResponseError(
                f"completeness: key {self.policy.key!r} is not in every row of {page.request.name}; {self._there(page)}"
            ) from None

    def _there(self, page: Page) -> str:
        """Say what the first row without the key has in its place."""
        for row in page.rows:
            try:
                list(key_reader(self._paths).read(row + b"\n"))
            except msgspec.ValidationError:
                return seen_along(msgspec.json.decode(row), "a row", *self._paths)
        return "the rows are no objects"

    def _found_twice(self, page: Page, new: list[bool]) -> None:
        count = len(new) - sum(new)
        self.twice += count
        evidence = f"{page.request.name} has {count} rows whose key {self.policy.key!r} an earlier row has"
        if self.policy.on_duplicate == "fail":
            raise IncompleteError(
                f"{evidence}: the table changed while it was read, or pages overlap; completeness.on_duplicate='drop'"
                " keeps the first of them (check unique_key)"
            )
        if self.policy.on_duplicate == "keep":
            self.waived = self.waived or evidence


@dataclass(frozen=True, slots=True)
class KeyReader:
    """Reads some values of each row as JSON texts, and skips the rest unseen."""

    decoder: msgspec.json.Decoder[Any]
    values: tuple[Callable[[Any], msgspec.Raw], ...]

    def read(self, lines: bytes) -> Iterator[list[bytes]]:
        """Yield the values of each row. Raises ``msgspec.ValidationError`` where one is missing."""
        for row in self.decoder.decode_lines(lines):
            yield [bytes(value(row)) for value in self.values]


@lru_cache(maxsize=16)
def key_reader(paths: tuple[str, ...]) -> KeyReader:
    """Return what reads the values at paths.

    Raises ``ConfigurationError`` for a name that has to be escaped in JSON.
    """
    ways = tuple(tuple(map(str, parse_path(path))) for path in paths)
    names = tuple(attrgetter(".".join(_name(step) for step in way)) for way in ways)
    try:
        return KeyReader(msgspec.json.Decoder(_shape(ways)), names)
    except ValueError:
        raise ConfigurationError(
            f"names with a quote, a backslash or a control character cannot be looked for: {', '.join(paths)}"
        ) from None


def _shape(ways: tuple[tuple[str, ...], ...]) -> Any:
    """Return a type with what lies on the ways, and nothing else."""
    if () in ways:
        return msgspec.Raw
    steps = tuple(dict.fromkeys(way[0] for way in ways))
    inner = {step: _shape(tuple(way[1:] for way in ways if way[0] == step)) for step in steps}
    fields = [(_name(step), kind) for step, kind in inner.items()]
    return msgspec.defstruct("Row", fields, rename={_name(step): step for step in steps})


def _name(step: str) -> str:
    """Return a name for a key that may be no name."""
    return f"k{step.encode().hex()}"
