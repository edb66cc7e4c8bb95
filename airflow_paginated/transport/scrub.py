"""Known secrets taken out of a text that a server wrote."""

from __future__ import annotations

import base64
import json
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
    coded = base64.b64encode(secret.encode()).decode()
    return (secret, quote(secret, safe=""), quote_plus(secret), coded, coded.rstrip("="), json.dumps(secret)[1:-1])
