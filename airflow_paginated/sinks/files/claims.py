"""Who owns a staging area: the try with the highest claim."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from airflow_paginated.paging.errors import ClaimLost, StoreError
from airflow_paginated.sinks.files.storage import Storage

_CLAIM_NAME: Final = re.compile(r"claim-(\d+)")
_CLAIM_ATTEMPTS: Final = 100


@dataclass(frozen=True, slots=True)
class Claim:
    """One try's claim on a staging area; ``text`` tells it from one with the same number in a later life."""

    staging: Storage
    number: int
    text: bytes

    @classmethod
    def take(cls, staging: Storage, above: int = 0) -> Claim:
        """Claim a staging area with a number above ``above``; every earlier try loses it."""
        text = json.dumps({"claim": uuid4().hex, "at": time.time()}).encode()
        for _ in range(_CLAIM_ATTEMPTS):
            number = max(above, _highest(staging.entries())) + 1
            if staging.create(f"claim-{number}", text):
                return cls(staging, number, text)
        raise StoreError(f"cannot claim {staging.identity}: other tries are always faster")

    def check(self) -> None:
        """Raise ``ClaimLost`` unless this try still owns the staging area."""
        newest = _highest(self.staging.entries())
        if newest != self.number or self.staging.read(f"claim-{newest}") != self.text:
            raise ClaimLost(
                f"another try of this task has taken over the staging area {self.staging.identity}; this one gives up"
            )


def claim_number(name: str) -> int | None:
    """Return the number of the claim that a file is, or ``None`` for another file."""
    found = _CLAIM_NAME.fullmatch(name)
    return int(found[1]) if found else None


def _highest(names: Iterable[str]) -> int:
    return max((number for number in map(claim_number, names) if number is not None), default=0)
