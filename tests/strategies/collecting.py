"""One collection through the hook, from an API that records every request that a correct client would not send."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import pytest

from airflow_paginated import Page
from airflow_paginated.core.errors import PaginatedApiError
from airflow_paginated.hooks.paginated_api import PaginatedApiHook
from tests.servers import FaultServer, Reply, Request, Schedule, Seen, no_faults

SECRET: Final = "c4n4ry/t0ken+=="
"""Credentials on the connection, which no message may contain."""
HIDDEN: Final = "c4n4ry h34der"
RETRY: Final = {"backoff_factor": 0.002, "allowed_methods": ["GET", "POST"]}
"""Retries are fast, and every request to these APIs is safe to repeat."""
POLICIES: Final = ("retry", "rate_limit", "timeouts", "limits", "completeness", "response", "max_workers")

Application: TypeAlias = Callable[[Request], Reply]


@dataclass(frozen=True)
class Collected:
    """The result of a collection."""

    pages: tuple[Page, ...]
    seen: tuple[Seen, ...]

    @property
    def lines(self) -> bytes:
        """All rows as JSON Lines, in the order of the dataset."""
        ordered = sorted(self.pages, key=lambda page: (page.request.partition, page.request.index))
        return b"".join(page.lines for page in ordered)

    @property
    def rows(self) -> list[Any]:
        """All rows, decoded."""
        return [json.loads(line) for line in self.lines.splitlines()]

    @property
    def targets(self) -> list[str]:
        """The exact path and query of each request."""
        return [each.request.target for each in self.seen]


@dataclass(frozen=True)
class Collect:
    """Serves an API and collects it."""

    monkeypatch: pytest.MonkeyPatch

    def __call__(
        self,
        app: Application,
        pagination: object,
        *,
        faults: Schedule = no_faults,
        base: str = "",
        endpoint: str = "items",
        headers: Mapping[str, str] | None = None,
        hook: type[PaginatedApiHook] = PaginatedApiHook,
        **asked: Any,
    ) -> Collected:
        """Return the result of a collection, or raise its error, after checking each request."""
        policies = {"retry": RETRY, **{name: asked.pop(name) for name in POLICIES if name in asked}}
        with FaultServer(app, faults) as server:
            running = hook(self.connection(server.url + base), **policies)
            try:
                found = running.pages(endpoint, pagination=pagination, headers=headers, **asked)
                return Collected(tuple(found), server.log.requests)
            finally:
                check = getattr(app, "wrong", lambda request: None)
                wrong = [check(each.request) for each in server.log.requests]
                assert not any(wrong), wrong

    def error(self, app: Application, pagination: object, **asked: Any) -> PaginatedApiError:
        """Return the error of a collection; its message has one line and no secret."""
        with pytest.raises(PaginatedApiError) as caught:
            self(app, pagination, **asked)
        shown = "".join(str(each) for each in (caught.value, caught.value.__cause__, caught.value.__context__))
        for secret in (SECRET, HIDDEN):
            assert secret not in shown
        assert "\n" not in str(caught.value)
        return caught.value

    def connection(self, url: str, **headers: str) -> str:
        """Create a connection with secrets and extra headers; return its id."""
        fields = {
            "conn_type": "paginated_api",
            "host": url,
            "password": SECRET,
            "extra": json.dumps({"headers": {"X-Tenant": HIDDEN, **headers}}),
        }
        self.monkeypatch.setenv("AIRFLOW_CONN_STYLED_API", json.dumps(fields))
        return "styled_api"
