"""One pause for all threads, a rate limit, and a budget of retries: what the server sees of them.

Only lower bounds of waits are asserted, each of them certain: a slow machine makes a request later, never earlier.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from airflow_paginated.core.errors import PageFailed, QuotaExceeded, RetryBudgetExhausted
from airflow_paginated.transport import PageClient, RateLimit, RequestRetry
from tests.servers import FaultServer, Redirect, RetryLater, ServerError, on_page
from tests.transport.clients import ONCE, Calls, connect, eventually, fetch, lines, page, refused, short


def paused(server: FaultServer, client: PageClient) -> float:
    """Make page 1 run into a Retry-After; return when the server saw it, once the client knows of it."""
    Calls(client.fetch, [page(1)])
    eventually(lambda: client.throttled_seconds)
    return server.log.requests[0].time


@pytest.mark.parametrize("status", [429, 503])
def test_one_retry_after_pauses_all_threads(server: FaultServer, status: int) -> None:
    server.faults = on_page(1, RetryLater("1", status), times=1)
    with connect(server.url, retry=ONCE) as client:
        began = paused(server, client)
        calls = Calls(client.fetch, [page(number) for number in (2, 3, 2, 3, 2, 3, 2, 3)])
        assert all(got.count == 100 for got in calls.join())  # type: ignore[attr-defined]
        eventually(lambda: len(server.log.requests) == 10)
        assert 0.9 < client.throttled_seconds <= 1.0
    assert min(seen.time for seen in server.log.requests[1:]) >= began + 1.0


def test_a_date_is_waited_for(server: FaultServer) -> None:
    opens_at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    server.faults = on_page(1, RetryLater(format_datetime(opens_at, usegmt=True)), times=1)
    assert fetch(server.url, retry=ONCE).attempts == 2
    assert datetime.now(UTC) >= opens_at


def test_the_longer_of_two_pauses_holds(server: FaultServer) -> None:
    after = {"1": "1", "2": "0", "3": "1"}
    server.faults = lambda request, nth: RetryLater(after[request.query["page"]]) if nth == 1 else None
    with connect(server.url, retry=ONCE) as client:
        Calls(client.fetch, [page(1), page(2), page(3)]).join()
        assert 0.9 < client.throttled_seconds < 3
    first = [seen.time for seen in server.log.requests if seen.nth == 1]
    again = [seen.time for seen in server.log.requests if seen.nth == 2]
    assert len(again) == 3
    assert max(again) >= min(first) + 1.0


ODD = ["-5", "1.5", "abc", "", "0", "1_0", "Mon, 99999999999 Jan 2049 00:00:00 GMT", "Sat, 31 Feb 2049 0:0:0 GMT"]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("after", [*ODD, "Thu, 01 Jan 1970 00:00:00 GMT", "0 0:0:0 +0"])
def test_what_is_no_time_to_come_is_a_plain_backoff(server: FaultServer, after: str, status: int) -> None:
    server.faults = on_page(1, RetryLater(after, status), times=1)
    got = fetch(server.url)
    assert (got.lines, got.attempts) == (lines(1), 2)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("after", "least"),
    [("301", 301), ("1000000000", 1e9), ("9" * 400, 1e10), ("Fri, 01 Jan 2049 00:00:00 GMT", 1e8)],
    ids=["cap + 1", "1e9", "400 digits", "2049"],
)
def test_a_wait_over_the_cap_ends_the_run_at_once(server: FaultServer, after: str, least: float, status: int) -> None:
    server.faults = on_page(1, RetryLater(after, status))
    error = refused(server.url, retry=RequestRetry(budget=0))
    assert isinstance(error, QuotaExceeded)
    assert least <= error.seconds <= max(least, 1e9)
    assert f"{status} " in str(error)
    assert str(error).endswith(f"the API asks to wait {error.seconds:.0f} s, more than retry.retry_after_max=300")
    assert str(error).startswith(f"page 1 (GET {server.url}/employees?page=1&token=***)")
    assert len(server.log.requests) == 1


def test_a_retry_after_can_be_disregarded(server: FaultServer) -> None:
    server.faults = on_page(1, RetryLater("1000"), times=1)
    retry = RequestRetry(backoff_factor=0.002, respect_retry_after_header=False)
    assert fetch(server.url, retry=retry).attempts == 2


def test_a_plain_backoff_is_never_a_quota(server: FaultServer) -> None:
    server.faults = on_page(1, RetryLater("soon"), times=3)
    assert fetch(server.url, retry=RequestRetry(backoff_factor=0.002, retry_after_max=0)).attempts == 4


def test_throttling_is_not_charged_and_does_not_hammer(server: FaultServer) -> None:
    server.faults = on_page(1, RetryLater("0"))
    error = refused(server.url, retry=RequestRetry(max_attempts=1, budget=0), timeouts=short(page=1.5))
    assert isinstance(error, PageFailed)
    assert "429 Too Many Requests; no time left" in str(error)
    assert len(server.log.requests) < 50


@pytest.mark.parametrize("budget", [0, 1, 10])
def test_a_total_outage_costs_what_is_in_flight_and_the_budget(server: FaultServer, budget: int) -> None:
    server.faults, server.latency = (lambda request, nth: ServerError()), 0.02
    retry = RequestRetry(max_attempts=1000, budget=budget, backoff_factor=0.002)
    with connect(server.url, retry=retry) as client:
        outcomes = Calls(client.fetch, [page(number) for number in range(1, 9)]).join()
    assert len(server.log.requests) == 8 + budget
    assert {type(each) for each in outcomes} == {RetryBudgetExhausted}
    said = str(outcomes[2])
    assert f"(retry.budget={budget}, and 1 for every 5 pages that succeed) is used up; last cause: page 3 (GET" in said
    assert said.endswith("503 Service Unavailable")


def test_five_pages_that_succeed_earn_a_retry(server: FaultServer) -> None:
    server.faults = lambda request, nth: ServerError() if request.query["page"] == "1" and nth < 3 else None
    with connect(server.url, retry=RequestRetry(budget=0, backoff_factor=0.002)) as client:
        for number in (2, 3, 2, 3, 2, 3, 2, 3, 2, 3):
            client.fetch(page(number))
        assert client.fetch(page(1)).attempts == 3
        server.faults = lambda request, nth: ServerError()
        with pytest.raises(RetryBudgetExhausted):
            client.fetch(page(1))


def test_a_rate_limit_spaces_the_requests_of_all_threads(server: FaultServer) -> None:
    started = time.monotonic()
    with connect(server.url, rate_limit=RateLimit(requests=20)) as client:
        Calls(client.fetch, [page(1 + number % 3) for number in range(8)]).join()
    arrivals = sorted(seen.time for seen in server.log.requests)
    assert all(arrivals[nth] >= started + nth * 0.05 for nth in range(8))


def test_a_rate_limit_also_spaces_the_retries(server: FaultServer) -> None:
    server.faults = on_page(1, ServerError(), times=2)
    started = time.monotonic()
    fetch(server.url, rate_limit=RateLimit(requests=5))
    assert server.log.requests[-1].time >= started + 0.4


def test_a_rate_limit_also_spaces_redirects(server: FaultServer) -> None:
    server.faults = lambda request, nth: Redirect("/v2/employees") if request.path == "/employees" else None
    started = time.monotonic()
    with connect(server.url, rate_limit=RateLimit(requests=10)) as client:
        for number in (1, 2, 3):
            client.fetch(page(number))
        assert (client.traffic.requests, client.traffic.retries) == (6, 0)
    assert all(seen.time >= started + nth * 0.1 for nth, seen in enumerate(server.log.requests))


def test_a_rate_limit_holds_when_a_pause_ends(server: FaultServer) -> None:
    server.faults = on_page(1, RetryLater("1"), times=1)
    with connect(server.url, rate_limit=RateLimit(requests=10), retry=ONCE) as client:
        began = paused(server, client)
        Calls(client.fetch, [page(2 + number % 2) for number in range(7)]).join()
        eventually(lambda: len(server.log.requests) == 9)
    arrivals = sorted(seen.time for seen in server.log.requests)[1:]
    assert all(arrivals[nth] >= began + 1.0 + nth * 0.1 for nth in range(8))


def test_a_slow_rate_limit_does_not_eat_the_time_of_a_page(server: FaultServer) -> None:
    timeouts = short(attempt=1.8, page=1.8)
    with connect(server.url, rate_limit=RateLimit(requests=2), timeouts=timeouts) as client:
        outcomes = Calls(client.fetch, [page(1) for _ in range(5)]).join()
    assert [type(each).__name__ for each in outcomes] == ["Page"] * 5
