"""Scripted responses, for APIs that fit no style."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.servers import Reply, Request


@dataclass(frozen=True)
class Scripted:
    """Answers by the value of one query parameter, ``None`` where it is absent: a reply, or what its JSON body says."""

    param: str
    answers: Mapping[str | None, Any]

    def __call__(self, request: Request) -> Reply:
        """Respond to one request."""
        asked = request.query.get(self.param)
        if asked not in self.answers:
            return Reply(b'{"error": "never offered"}', 400)
        answer = self.answers[asked]
        return answer if isinstance(answer, Reply) else Reply(json.dumps(answer).encode())

    def wrong(self, request: Request) -> str | None:
        """Say what is wrong with a request, or nothing."""
        asked = request.query.get(self.param)
        return None if asked in self.answers else f"{self.param}={asked} was never offered"


def always(answer: Any) -> Scripted:
    """Return an API with the same response to every request."""

    class Always(dict[str | None, Any]):
        def __contains__(self, asked: object) -> bool:
            return True

        def __missing__(self, asked: object) -> Any:
            return answer

    return Scripted("", Always())


def with_headers(answer: Any, **headers: str) -> Reply:
    """Return a JSON response with headers; in their names, ``_`` stands for ``-``."""
    named = ((name.replace("_", "-"), value) for name, value in headers.items())
    return Reply(json.dumps(answer).encode(), 200, (("Content-Type", "application/json"), *named))
