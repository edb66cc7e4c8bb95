"""What comes back: an answer as it was sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Response:
    """Status, headers (names in lower case) and the body, whole and as it was sent.

    ``url`` is where it came from, without query; ``generation`` that of the credentials it was asked with; ``owned``
    the names of the query parameters that these put on the request.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str = ""
    generation: int = 0
    owned: frozenset[str] = frozenset()
