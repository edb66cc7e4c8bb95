"""One collection through the hook, from an API that notes every request which no right client would send."""

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
"""The credentials on the connection; no message may show them."""
HIDDEN: Final = "c4n4ry h34der"
RETRY: Final = {"backoff_factor": 0.002, "allowed_methods": ["GET", "POST"]}
"""Faults shall cost little time, and no request of these APIs does harm when it is sent twice."""
POLICIES: Final = ("retry", "rate_limit", "timeouts", "limits", "completeness", "response", "max_workers")

Application: TypeAlias = Callable[[Request], Reply]


@dataclass(frozen=True)
class Collected:
    """What a collection came to."""

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
        """Path and query of each request, to the letter."""
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
        """Return what a collection comes to. Raises what it raises, after a look at each request that was sent."""
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
        """Return the error that a collection ends with; it shows no secret, and takes one line."""
        with pytest.raises(PaginatedApiError) as caught:
            self(app, pagination, **asked)
        shown = "".join(str(each) for each in (caught.value, caught.value.__cause__, caught.value.__context__))
        for secret in (SECRET, HIDDEN):
            assert secret not in shown
        assert "\n" not in str(caught.value)
        return caught.value

    def connection(self, url: str, **headers: str) -> str:
        """Make a connection with secrets and more headers, and return its id."""
        fields = {
            "conn_type": "paginated_api",
            "host": url,
            "password": SECRET,
            "extra": json.dumps({"headers": {"X-Tenant": HIDDEN, **headers}}),
        }
        self.monkeypatch.setenv("AIRFLOW_CONN_STYLED_API", json.dumps(fields))
        return "styled_api"
