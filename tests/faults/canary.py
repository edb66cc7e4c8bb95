"""A secret that is found again in whatever spelling, and everywhere that a run may leave it."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

CORE: Final = "c4n4ry"
CANARY: Final = f'{CORE}/+ "k&y"%é\\;'
"""A password that no coding leaves as it is."""
LOGIN: Final = "ro bot"
_BASE64: Final = [base64.b64encode(b"x" * n + CORE.encode()).decode()[2 * (n > 0) + (n > 1) :][:6] for n in range(3)]
"""Its first letters, wherever they stand in what was coded."""
PARTS: Final = [CORE, "k&y", "k%26y", *_BASE64]
"""What shows of it, also where it is cut."""

SPELLINGS: Final[dict[str, Callable[[str], str]]] = {
    "plain": str,
    "percent-encoded": lambda text: quote(text, safe=""),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "in a header": lambda text: f"Bearer {text}, Basic {base64.b64encode(f'{LOGIN}:{text}'.encode()).decode()}",
    "in JSON": lambda text: json.dumps(text)[1:-1],
}


def hits(text: str) -> list[str]:
    """Return the parts of the canary that a text has."""
    lower = text.lower()
    return [part for part in PARTS if part.lower() in lower]


@dataclass
class Witness:
    """Hears all loggers while it listens."""

    records: list[str] = field(default_factory=list)

    def hits(self) -> list[str]:
        """Return the lines that show the canary."""
        return [line for line in self.records if hits(line)]


class _Handler(logging.Handler):
    def __init__(self, witness: Witness) -> None:
        super().__init__(0)
        self._witness = witness

    def emit(self, record: logging.LogRecord) -> None:
        # Also what a formatter leaves out may be sent somewhere.
        self._witness.records.append(f"{self.format(record)} {record.msg!r} {record.args!r} {record.exc_info!r}")


@contextmanager
def listening() -> Iterator[Witness]:
    """Listen to all loggers at DEBUG, also to those that somebody has quieted."""
    witness = Witness()
    handler = _Handler(witness)
    quieted = {logger: logger.level for logger in (logging.getLogger(), logging.getLogger("urllib3"))}
    for logger in quieted:
        logger.setLevel(1)
    logging.getLogger().addHandler(handler)
    try:
        yield witness
    finally:
        logging.getLogger().removeHandler(handler)
        for logger, level in quieted.items():
            logger.setLevel(level)


def chain(error: BaseException | None) -> list[BaseException]:
    """Return an error with all that is reached from it: causes, contexts, whether they are shown or not, arguments."""
    found: list[BaseException] = []
    todo: list[object] = [error]
    while todo:
        each = todo.pop()
        if isinstance(each, BaseException) and not any(each is known for known in found):
            found.append(each)
            todo += [*each.args, each.__cause__, each.__context__]
    return found


def told_by(error: BaseException | None) -> list[str]:
    """Return what of an error shows the canary, in any of the ways to look at one."""
    said = [text for each in chain(error) for text in (str(each), repr(each), repr(vars(each)), _rendered(each))]
    return [text for text in said if hits(text)]


def _rendered(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def left_in(folder: Path) -> list[str]:
    """Return the names of files that hold the canary, or are called by it."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if hits(str(path)) or hits(_text(path))]


def _text(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode("latin-1")
