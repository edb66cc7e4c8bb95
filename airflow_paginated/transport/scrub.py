"""Known secrets taken out of a text that a server wrote."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus


class Scrubber:
    """Replaces each secret, plain or as it is often written, by stars."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        # Hex digits and host names come in either case.
        self._forms = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))), re.IGNORECASE)
        self._any = bool(forms)

    def __call__(self, text: str) -> str:
        """Return the text without the secrets."""
        return self._forms.sub("***", text) if self._any else text


def _forms(secret: str) -> Iterable[str]:
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
