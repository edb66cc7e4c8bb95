"""Which names and values are credentials, and hardly ever anything else."""

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
"""A shorter text is hardly a secret, and would be found in every other one."""

EXCERPT_CHARS: Final = 200
"""How many characters of a server's own words stand in a message."""

SCANNED_CHARS: Final = 65536
"""How many of them are read: secrets must be found before they are cut."""

MIN_PART_CHARS: Final = 6
"""Of a secret within a coded text, so many characters are too many to be there by chance."""


class Scrubber:
    """Replaces each secret, plain or as it is often written, by stars. All threads use it."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._lock = threading.Lock()
        self._known: frozenset[str] = frozenset()
        """Changed under the lock, as the pattern is."""
        self._pattern: re.Pattern[str] | None = None
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Replace these, too, from now on."""
        with self._lock:
            known = self._known.union(filter(None, secrets))
            if known != self._known:
                forms = {form for secret in known for form in spellings(secret)}
                longest_first = sorted(forms, key=len, reverse=True)
                # Hex digits and host names come in either case.
                every = [*longest_first, *(form for secret in known for form in _embedded_forms(secret.encode()))]
                self._pattern = re.compile("|".join(map(re.escape, every)), re.IGNORECASE)
                self._known = known

    def __call__(self, text: str) -> str:
        """Return the text without the secrets."""
        return self._pattern.sub("***", text) if self._pattern else text

    def excerpt(self, text: str) -> str:
        """Return the beginning of a long text, without the secrets."""
        return self(text[:SCANNED_CHARS])[:EXCERPT_CHARS]

    def quote(self, text: str) -> str:
        """Return an excerpt as it stands in a message."""
        return repr(self.excerpt(text))


def spellings(secret: str) -> Iterable[str]:
    """Yield a secret as URLs, JSON, HTML and headers write it, each also as ``repr`` shows it."""
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
    """Yield what a secret becomes within a longer text that is coded, where it may begin at each of three places."""
    for encode, (place, shared) in product((base64.b64encode, base64.urlsafe_b64encode), enumerate((0, 2, 3))):
        coded = encode(bytes(place) + secret).decode().rstrip("=")
        # The characters at both ends depend on what is beside it, too.
        own = coded[shared : len(coded) - ((place + len(secret)) % 3 > 0)]
        if len(own) >= MIN_PART_CHARS:
            yield from (own, quote_plus(own), own.replace("/", "\\/"))
