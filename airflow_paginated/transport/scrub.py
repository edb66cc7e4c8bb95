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
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return the text without the secrets."""
        for form in self._forms:
            text = text.replace(form, "***")
        return text


def _forms(secret: str) -> Iterable[str]:
    """Yield a secret as URLs, JSON, HTML and the ``Authorization`` header write it."""
    for coded in (quote(secret), quote(secret, safe=""), quote_plus(secret)):
        yield from (coded, re.sub("%..", lambda found: found.group().lower(), coded))
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        coded = encode(secret.encode()).decode()
        yield from (coded, coded.rstrip("="), quote_plus(coded))
    for form in (secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
        yield from (form, form.replace("/", "\\/"), html.escape(form))
