"""Recognizes credentials by name, and scrubs them from messages."""

from __future__ import annotations

import base64
import html
import json
import re
import threading
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Final
from urllib.parse import quote, quote_plus

SENSITIVE: Final = re.compile(
    r"(x[-_])?((access|api|app|auth|client|private|secret|subscription|user)[-_]?)?"
    r"(authorization|credentials?|key|passwd|password|pwd|secret|sig|signature|token)",
    re.IGNORECASE,
)
"""Names of parameters and headers that are credentials."""

MIN_MASKED_CHARS: Final = 8
"""A shorter string is unlikely to be a secret, and would match everywhere."""

EXCERPT_CHARS: Final = 200
"""How much of a server's text a message quotes."""

SCANNED_CHARS: Final = 65536
"""How much of it is scrubbed first: a secret must be found before the text is cut."""

MIN_PART_CHARS: Final = 6
"""A shorter part of an encoded secret could match by chance."""


class Scrubber:
    """Replaces secrets, plain or in the usual encodings, by ``***``. Thread-safe."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._lock = threading.Lock()
        self._known: frozenset[str] = frozenset()
        """Changed under the lock, like the pattern."""
        self._pattern: re.Pattern[str] | None = None
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Scrub these secrets, too."""
        with self._lock:
            known = self._known.union(filter(None, secrets))
            if known != self._known:
                forms = {form for secret in known for form in spellings(secret)}
                longest_first = sorted(forms, key=len, reverse=True)
                # Hex digits and host names occur in either case.
                every = [*longest_first, *(form for secret in known for form in _embedded_forms(secret.encode()))]
                self._pattern = re.compile("|".join(map(re.escape, every)), re.IGNORECASE)
                self._known = known

    def __call__(self, text: str) -> str:
        """Return the text with its secrets replaced."""
        return self._pattern.sub("***", text) if self._pattern else text

    def excerpt(self, text: str) -> str:
        """Return the scrubbed beginning of a text."""
        return self(text[:SCANNED_CHARS])[:EXCERPT_CHARS]

    def quote(self, text: str) -> str:
        """Return a quoted, scrubbed excerpt for a message."""
        return repr(self.excerpt(text))


def spellings(secret: str) -> Iterable[str]:
    """Yield a secret as encoded in URLs, JSON, HTML and headers, each also as ``repr`` shows it."""
    forms = [secret, secret.encode().decode("latin-1"), html.escape(secret)]
    forms += [quote(secret), quote(secret, safe=""), quote_plus(secret)]
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        coded = encode(secret.encode()).decode()
        forms += [coded, coded.rstrip("="), quote_plus(coded)]
    forms += [json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]]
    for form in forms:
        for slashed in (form, form.replace("/", "\\/")):
            yield from (slashed, repr(slashed)[1:-1])


def _embedded_forms(secret: bytes) -> Iterator[str]:
    """Yield the base64 of a secret inside a longer encoded text, for each of its three alignments."""
    for encode, (place, shared) in product((base64.b64encode, base64.urlsafe_b64encode), enumerate((0, 2, 3))):
        coded = encode(bytes(place) + secret).decode().rstrip("=")
        # The characters at both ends also depend on the neighbouring bytes.
        own = coded[shared : len(coded) - ((place + len(secret)) % 3 > 0)]
        if len(own) >= MIN_PART_CHARS:
            yield from (own, quote_plus(own), own.replace("/", "\\/"))
