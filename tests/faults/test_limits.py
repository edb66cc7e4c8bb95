"""What an API allows: pauses that it asks for, and quotas."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Final

import pytest

from airflow_paginated.core.errors import QuotaExceeded
from airflow_paginated.transport import RateLimit, RequestRetry
from tests.collect.running import Job
from tests.faults.endings import exact, refused
from tests.servers import (
    Fault,
    FaultServer,
    Given,
    PagedApi,
    Reply,
    Request,
    RetryLater,
    Schedule,
    ServerError,
    on_page,
)

API: Final = PagedApi(rows=990, page_size=50)
FREE: Final = RequestRetry(max_attempts=1, budget=0, backoff_factor=0.02)
"""Any attempt that is charged is the last."""
Record = Callable[[str, object], None]
Headers = tuple[tuple[str, str], ...]


def latency(request: Request) -> float:
    """Let the pages that are asked for at once after the first one be on their way, all but the fifth."""
    return 0.4 if request.query["page"] in {"2", "3", "4", "6", "7", "8", "9"} else 0.0


def only_those_in_flight(faults: Schedule, opens: Callable[[float], float], path: str, **given: Any) -> dict[str, Any]:
    """Let page 5 be answered in a way that pauses everybody, and assert that nobody asks for anything meanwhile.

    ``opens`` tells when the pause ends, by the moment when page 5 was asked for. All others are in flight then. Only a
    machine that is slow can let one of them come back, and ask for more, before the answer to page 5 is read; and
    that not again and again.
    """
    for nth in range(3):
        with FaultServer(API, faults, latency=latency) as server:
            job = Job(url=server.url, path=f"{path}/{nth}/", client={"retry": FREE}, **given)
            result = exact(job, API)
            log = server.log.requests
        began = next(seen.time for seen in log if seen.fault)
        early = [seen for seen in log if began < seen.time < opens(began)]
        if all(seen.nth == 1 and 2 <= seen.page[1] + 1 <= 9 for seen in early if seen.page):
            return result
    pytest.fail(f"asked for in the pause: {[seen.page for seen in early]}")


@pytest.mark.fault("L1")
@pytest.mark.parametrize("status", [429, 503])
def test_one_refusal_pauses_all_for_seconds(status: int, tmp_path: Path) -> None:
    faults = on_page(5, RetryLater("1", status), times=1)
    result = only_those_in_flight(faults, lambda began: began + 1.0, str(tmp_path))
    assert (result["requests"], result["retries"]) == (API.pages() + 1, 1)
    assert 0.9 < result["throttled_seconds"] <= 1.0


@pytest.mark.fault("L1")
@pytest.mark.parametrize("status", [429, 503])
def test_one_refusal_pauses_all_until_a_date(status: int, tmp_path: Path) -> None:
    dates: list[datetime] = []

    def faults(request: Request, nth: int) -> Fault | None:
        if request.query["page"] != "5" or nth > 1:
            return None
        dates.append(datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2))
        return RetryLater(format_datetime(dates[-1], usegmt=True), status)

    def opens(began: float) -> float:
        return time.monotonic() + (dates[-1] - datetime.now(UTC)).total_seconds()

    result = only_those_in_flight(faults, opens, str(tmp_path))
    assert (result["requests"], result["retries"]) == (API.pages() + 1, 1)
    assert 0.0 < result["throttled_seconds"] <= 2.0


ODD: Final = ("-5", "1.5", "abc", "", "-1", "1e3", "Sat, 31 Feb 2049 0:0:0 GMT")


@pytest.mark.fault("L2")
@pytest.mark.parametrize("status", [429, 503])
def test_what_is_no_time_is_ignored(status: int, tmp_path: Path, record_property: Record) -> None:
    def faults(request: Request, nth: int) -> Fault | None:
        place = int(request.query["page"]) - 1
        return RetryLater(ODD[place], status) if place < len(ODD) and nth == 1 else None

    # Whatever was waited for would be too long.
    retry = RequestRetry(retry_after_max=0, backoff_factor=0.02)
    with FaultServer(API, faults) as server:
        result = exact(Job(url=server.url, path=f"{tmp_path}/out/", client={"retry": retry}), API)
    assert result["retries"] == len(ODD)
    assert result["throttled_seconds"] <= len(ODD) * 0.04
    record_property("runs", len(ODD))


@pytest.mark.fault("L3")
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("after", "least"),
    [("301", 301), ("1000000000", 1e9), ("Fri, 01 Jan 2049 00:00:00 GMT", 1e8)],
    ids=["just over", "seconds", "date"],
)
def test_a_wait_that_is_too_long_is_not_waited_for(after: str, least: float, status: int, tmp_path: Path) -> None:
    with FaultServer(API, on_page(15, RetryLater(after, status), times=1)) as server:
        job = Job(url=server.url, path=f"{tmp_path}/out/", workers=2)
        ending = refused(job, QuotaExceeded)
        assert isinstance(ending.error, QuotaExceeded)
        assert ending.error.seconds >= least
        assert ending.seconds < 30
        assert server.log.counts["", 14] == 1
        # The task gives its slot back; when it comes again, it goes on.
        assert exact(job, API)["resumed_pages"] > 0


class Bucket:
    """A schedule that refuses what exceeds a quota: so many tokens, one for each request, that come back evenly."""

    def __init__(self, rate: float, capacity: int, refusal: Fault) -> None:
        self._rate, self._capacity, self._refusal = rate, capacity, refusal
        self._left = float(capacity)  # the server's thread only
        self._at = time.monotonic()

    def __call__(self, request: Request, nth: int) -> Fault | None:
        now = time.monotonic()
        self._left, self._at = min(self._capacity, self._left + (now - self._at) * self._rate), now
        if self._left < 1:
            return self._refusal
        self._left -= 1
        return None


def too_many(bucket: Bucket, pages: int, path: str, record: Record, **client: Any) -> int:
    """Collect so many pages with 32 workers, and return how many requests were in vain."""
    api = PagedApi(rows=5 * pages - 1, page_size=5)
    with FaultServer(api, bucket) as server:
        result = exact(Job(url=server.url, path=f"{path}/out/", workers=32, client=client), api)
        assert len(server.log.requests) - pages == result["retries"]
    record("in vain", result["retries"])
    record("seconds", result["seconds"])
    return int(result["retries"])


# A twentieth of the time. A Retry-After of whole seconds would not fit, so there is a backoff that is as short.
SCALED: Final = {"rate": 400, "capacity": 40, "refusal": ServerError(429)}
SHORT: Final = RequestRetry(backoff_factor=0.05)


@pytest.mark.fault("L4")
def test_a_quota_is_learned(tmp_path: Path, record_property: Record) -> None:
    assert too_many(Bucket(**SCALED), 800, str(tmp_path), record_property, retry=SHORT) <= 80


@pytest.mark.fault("L4")
def test_a_quota_that_is_known_is_kept(tmp_path: Path, record_property: Record) -> None:
    client = {"retry": SHORT, "rate_limit": RateLimit(requests=390)}
    assert too_many(Bucket(**SCALED), 800, str(tmp_path), record_property, **client) <= 80


@pytest.mark.slow
@pytest.mark.fault("L4")
def test_a_quota_of_twenty_a_second(tmp_path: Path, record_property: Record) -> None:
    bucket = Bucket(rate=20, capacity=20, refusal=RetryLater("1"))
    # Those that are in flight when it runs out for the first time, and a tenth.
    assert too_many(bucket, 200, str(tmp_path), record_property, retry=RequestRetry()) <= 32 + 20


QUOTA: Final[dict[str, Headers]] = {
    "X-RateLimit": (("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "1")),
    "RateLimit": (("RateLimit", '"default";r=0;t=1'),),
}


@dataclass(frozen=True)
class Telling:
    """The good answer, with more headers."""

    headers: Headers

    def steps(self, reply: Reply, framing: Any) -> Any:
        return Given(200, reply.body, headers=self.headers).steps(reply, framing)


@pytest.mark.fault("L5")
@pytest.mark.parametrize("kind", QUOTA)
def test_a_quota_that_is_used_up_pauses_all(kind: str, tmp_path: Path) -> None:
    faults = on_page(5, Telling(QUOTA[kind]), times=1)
    result = only_those_in_flight(faults, lambda began: began + 1.0, str(tmp_path))
    assert (result["requests"], result["retries"]) == (API.pages(), 0)
    assert 0.9 < result["throttled_seconds"] <= 1.0


MALFORMED: Final[tuple[Headers, ...]] = (
    (("X-RateLimit-Remaining", "0"),),
    (("X-RateLimit-Remaining", "none"), ("X-RateLimit-Reset", "9999")),
    (("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "soon")),
    (("X-RateLimit-Remaining", "-1"), ("X-RateLimit-Reset", "9999")),
    (("RateLimit", "r=;t=9999"),),
    (("RateLimit", ""),),
)


@pytest.mark.fault("L5")
def test_a_malformed_quota_is_ignored(tmp_path: Path, record_property: Record) -> None:
    def faults(request: Request, nth: int) -> Fault | None:
        place = int(request.query["page"]) - 1
        return Telling(MALFORMED[place]) if place < len(MALFORMED) else None

    with FaultServer(API, faults) as server:
        result = exact(Job(url=server.url, path=f"{tmp_path}/out/"), API)
    assert (result["requests"], result["throttled_seconds"]) == (API.pages(), 0)
    record_property("runs", len(MALFORMED))


@pytest.mark.fault("L5")
def test_retry_after_counts_where_both_are_told(tmp_path: Path) -> None:
    both = (("Retry-After", "1"), ("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "9999"))
    with FaultServer(API, on_page(5, Given(429, b"{}", headers=both), times=1)) as server:
        result = exact(Job(url=server.url, path=f"{tmp_path}/out/"), API)
    assert 0.9 < result["throttled_seconds"] <= 1.0
