"""An API that is out, or refuses: credentials that expire, pages that may not be read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
import requests

from airflow_paginated.core.errors import RequestRefused, RetryBudgetExhausted, TransientError
from airflow_paginated.transport import RequestRetry
from tests.collect.disk import landed
from tests.collect.running import Job
from tests.faults.endings import exact, refused
from tests.servers import (
    CloseBeforeHeaders,
    Fault,
    FaultServer,
    Given,
    PagedApi,
    Reply,
    Request,
    ResetInBody,
    ServerError,
    on_page,
)

API: Final = PagedApi(rows=990, page_size=50)
FREE: Final = RequestRetry(max_attempts=1, budget=0, backoff_factor=0.02)
"""Any attempt that is charged is the last."""
Record = Callable[[str, object], None]


class Outage:
    """A schedule that fails every request in one way while it is ``on``; it comes by itself after some requests."""

    def __init__(self, fault: Fault, after: int) -> None:
        self.fault = fault
        self.left = after  # the server's thread only
        self.on = False
        self.asked = 0

    def __call__(self, request: Request, nth: int) -> Fault | None:
        self.left -= 1
        if self.left == 0:
            self.on = True
        self.asked += self.on
        return self.fault if self.on else None


OUT: Final = [ServerError(503), CloseBeforeHeaders(), ResetInBody(), Given(200, b"<html>Sorry</html>", "text/html")]


@pytest.mark.fault("L6")
@pytest.mark.parametrize("after", [1, 30])
@pytest.mark.parametrize("fault", OUT, ids=repr)
def test_an_outage_costs_what_is_in_flight_and_the_budget(
    fault: Fault, after: int, tmp_path: Path, record_property: Record
) -> None:
    api, workers = PagedApi(rows=5_000, page_size=50), 8
    retry = RequestRetry(max_attempts=1_000, budget=24, backoff_factor=0.002, backoff_max=0.01)
    with FaultServer(api, outage := Outage(fault, after)) as server:
        job = Job(url=server.url, path=f"{tmp_path}/out/", workers=workers, client={"retry": retry})
        refused(job, RetryBudgetExhausted)
        good = len(server.log.requests) - outage.asked
    # What is earned counts; what found its connection dead, and not the server, does not.
    assert outage.asked <= workers + 24 + good // 5 + workers * isinstance(fault, CloseBeforeHeaders)
    record_property("runs", outage.asked)


@pytest.mark.fault("L6")
def test_an_outage_ends_soon_with_the_usual_policy(tmp_path: Path) -> None:
    with FaultServer(API, outage := Outage(ServerError(503), 10)) as server:
        job = Job(url=server.url, path=f"{tmp_path}/out/", client={"retry": RequestRetry()})
        ending = refused(job, TransientError)
    assert ending.seconds < 60
    assert outage.asked <= 8 + 24 + 10 // 5


@pytest.mark.fault("L7")
@pytest.mark.parametrize("fault", [ServerError(503), CloseBeforeHeaders()], ids=repr)
def test_the_next_try_goes_on_after_an_outage(fault: Fault, tmp_path: Path) -> None:
    api, workers = PagedApi(rows=4_990, page_size=50), 8
    with FaultServer(api, outage := Outage(fault, 40)) as server:
        job = Job(url=server.url, path=f"{tmp_path}/out/", workers=workers)
        refused(job, TransientError)
        stored = landed(job.staging)[(0,)]
        assert stored.final > 0
        outage.on = False
        server.log.clear()
        result = exact(job, api)
        assert result["resumed_pages"] == stored.pages
        # Those that had not landed, and the last one that had: each once, no more of them at once than usual.
        assert server.log.counts == {("", index): 1 for index in range(stored.final, api.pages())}
        assert server.log.summary().peak_in_flight <= workers


@pytest.mark.fault("L7")
def test_nobody_storms_in_when_the_api_is_back(tmp_path: Path) -> None:
    api, workers = PagedApi(rows=4_990, page_size=50), 8
    retry = RequestRetry(max_attempts=20, budget=100, backoff_factor=0.02)

    class Short(Outage):
        def __call__(self, request: Request, nth: int) -> Fault | None:
            fault = super().__call__(request, nth)
            self.on = self.on and self.asked < 4 * workers
            return fault

    with FaultServer(api, outage := Short(ServerError(503), 40), latency=0.005) as server:
        job = Job(url=server.url, path=f"{tmp_path}/out/", workers=workers, client={"retry": retry})
        result = exact(job, api)
        log = server.log
        back = max(number for number, seen in enumerate(log.requests) if seen.fault)
        once = Counter(seen.page for seen in log.requests[back + 1 :])
    assert result["retries"] == outage.asked == 4 * workers
    assert log.summary().peak_in_flight <= workers
    assert set(once.values()) == {1}


@dataclass
class Guarded:
    """An API whose tokens expire when page ``expires_at`` is asked for; ``/token`` gives the newest one, or a bad one.

    Changed by the server's thread.
    """

    api: PagedApi
    expires_at: int
    mends: bool = True
    valid: int = 0
    given: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, request: Request) -> Reply:
        if request.path == "/token":
            self.given += 1
            return Reply(json.dumps({"token": f"t{self.valid if self.mends else -1}"}).encode())
        page = request.query["page"]
        if page == str(self.expires_at) and self.valid == 0:
            self.valid = 1
        if request.headers["authorization"] != f"Bearer t{self.valid}":
            self.refused.append((page, request.headers["authorization"]))
            return Reply(b'{"error": "expired"}', 401)
        return self.api(request)


class SupportsRenewal:
    """A bearer token that is asked for anew when it has expired."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._token = "t0"  # changed by the one thread that refreshes

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def refresh(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(f"{self._url}/token", timeout=30)
            answer.raise_for_status()
            self._token = answer.json()["token"]


@pytest.mark.fault("L8")
def test_credentials_that_expire_are_renewed_once(tmp_path: Path, record_property: Record) -> None:
    app, workers = Guarded(PagedApi(rows=4_990, page_size=50), 40), 16
    with FaultServer(app, latency=0.005) as server:
        client = {"retry": FREE, "auth": SupportsRenewal(server.url)}
        result = exact(Job(url=server.url, path=f"{tmp_path}/out/", workers=workers, client=client), app.api)
    assert app.given == 1
    # Who was refused asked once more; nobody asked with the old token twice.
    assert len(app.refused) == len(set(app.refused)) == result["retries"]
    assert 1 <= result["retries"] <= workers
    record_property("runs", len(app.refused))


@pytest.mark.fault("L8")
def test_fresh_credentials_that_are_refused_fail(tmp_path: Path, record_property: Record) -> None:
    app, workers = Guarded(PagedApi(rows=4_990, page_size=50), 40, mends=False), 16
    with FaultServer(app, latency=0.005) as server:
        client = {"auth": SupportsRenewal(server.url)}
        ending = refused(Job(url=server.url, path=f"{tmp_path}/out/", workers=workers, client=client), RequestRefused)
    assert "the API refuses the credentials, even after renewal: 401" in str(ending.error)
    # Each of the pages in flight was asked for at most once with the old token, and once with the fresh one.
    assert app.given == 1
    assert set(Counter(app.refused).values()) == {1}
    assert len(app.refused) <= 2 * workers
    record_property("runs", len(app.refused))


@pytest.mark.fault("L8")
def test_credentials_that_cannot_be_renewed_fail_at_once(tmp_path: Path) -> None:
    app = Guarded(API, 7)
    with FaultServer(app) as server:
        client = {"headers": {"Authorization": "Bearer t0"}}
        ending = refused(Job(url=server.url, path=f"{tmp_path}/out/", client=client), RequestRefused)
    assert "401 Unauthorized: check the credentials on the connection" in str(ending.error)
    assert set(Counter(app.refused).values()) == {1}


@pytest.mark.fault("L9")
@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_refused_page_fails_the_run_at_once(status: int, tmp_path: Path) -> None:
    api, workers = PagedApi(rows=5_000, page_size=50), 8
    with FaultServer(api, on_page(7, Given(status, b'{"error": "no such thing"}'))) as server:
        ending = refused(Job(url=server.url, path=f"{tmp_path}/out/", workers=workers), RequestRefused)
        assert isinstance(ending.error, RequestRefused)
        assert ending.error.status == status
        assert str(ending.error).startswith(f"page 7 (GET {server.url}/employees?page=7): {status} ")
        assert '\'{"error": "no such thing"}\'' in str(ending.error)
        assert server.log.counts["", 6] == 1
        # Nothing is asked for beyond the window of 32 pages that begins with the one that failed.
        assert len(server.log.requests) <= 6 + 4 * workers
