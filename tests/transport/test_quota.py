"""What an API says of its quota in a response, and how the client reacts."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Final

import pytest

from airflow_paginated.core.errors import QuotaExceeded
from airflow_paginated.transport import RequestRetry
from airflow_paginated.transport.gate import MAX_WAIT_SECONDS, quota_wait
from tests.servers import FaultServer, Given, PagedApi, Reply, Request
from tests.transport.clients import Calls, connect, page

NOW: Final = 1_700_000_000.0


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "30"}, 30),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1.5"}, 1.5),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1700000030"}, 30),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1700000030000"}, 30),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1600000000"}, 0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9" * 18}, MAX_WAIT_SECONDS),
        ({"x-ratelimit-remaining": "1", "x-ratelimit-reset": "30"}, None),
        ({"x-ratelimit-remaining": "0"}, None),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "7"}, 7),
        ({"x-rate-limit-remaining": "0", "x-rate-limit-reset": "7"}, 7),
        ({"ratelimit": "limit=100, remaining=0, reset=9"}, 9),
        ({"ratelimit": "limit=100, remaining=3, reset=9"}, None),
        ({"ratelimit": '"default";r=0;t=12'}, 12),
        ({"ratelimit": '"burst";r=5;t=1, "daily";r=0;t=3600'}, 3600),
        ({"ratelimit": '"burst";r=0;t=1, "daily";r=7;t=3600'}, 1),
        (
            {
                "ratelimit-remaining": "0",
                "ratelimit-reset": "7",
                "x-ratelimit-remaining": "0",
                "x-ratelimit-reset": "8",
            },
            8,
        ),
    ],
)
def test_a_quota_that_is_used_up_tells_when_there_is_more(headers: dict[str, str], wait: float | None) -> None:
    assert quota_wait(headers, NOW) == wait


@pytest.mark.parametrize("left", ["", "-1", "none", "0x0", "1e3", "0 0", "9" * 30])
@pytest.mark.parametrize("reset", ["", "-5", "soon", "Tue, 14 Nov 2023 22:13:20 GMT", "1e9"])
def test_what_is_malformed_says_nothing(left: str, reset: str) -> None:
    assert quota_wait({"x-ratelimit-remaining": left, "x-ratelimit-reset": "30"}, NOW) is None
    assert quota_wait({"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}, NOW) is None
    assert quota_wait({"ratelimit": f"remaining={left}, reset={reset}"}, NOW) is None


@dataclass(frozen=True)
class Counting:
    """An API that says what is left of its quota: nothing after so many pages."""

    reset: str
    after: int = 1
    api: PagedApi = PagedApi()  # noqa: RUF009  # a frozen value

    def __call__(self, request: Request) -> Reply:
        left = max(0, self.after - int(request.query["page"]))
        told = (("X-RateLimit-Remaining", str(left)), ("X-RateLimit-Reset", self.reset))
        found = self.api(request)
        return replace(found, headers=(*found.headers, *told))

    page_of = PagedApi().page_of


def test_the_last_of_a_quota_pauses_all_threads() -> None:
    with FaultServer(Counting("1")) as server, connect(server.url) as client:
        got = client.fetch(page(1))
        began = time.monotonic()
        Calls(client.fetch, [page(number) for number in (2, 3, 4)]).join()
        assert got.attempts == 1
        assert client.throttled_seconds > 0.9
        assert time.monotonic() - began >= 0.8
    assert server.log.summary().requests == 4


def test_what_is_left_is_no_reason_to_wait() -> None:
    with FaultServer(Counting("3600", after=100)) as server, connect(server.url) as client:
        Calls(client.fetch, [page(number) for number in (1, 2, 3)]).join()
        assert client.throttled_seconds == 0


def test_a_long_wait_is_the_end_of_the_try_and_the_page_is_there() -> None:
    with FaultServer(Counting("3600")) as server, connect(server.url) as client:
        assert client.fetch(page(1)).count == 100
        with pytest.raises(QuotaExceeded, match=r"used up for 3600 s, more than retry\.retry_after_max=300") as caught:
            client.fetch(page(2))
        assert caught.value.seconds == 3600
    assert server.log.summary().requests == 1


def test_the_policy_may_leave_it_alone() -> None:
    deaf = RequestRetry(respect_retry_after_header=False)
    with FaultServer(Counting("3600")) as server, connect(server.url, retry=deaf) as client:
        assert [client.fetch(page(number)).attempts for number in (1, 2)] == [1, 1]


@pytest.mark.parametrize(("after", "waited"), [(None, 1.0), ("2", 2.0)])
def test_a_429_waits_for_the_reset_unless_it_says_retry_after(after: str | None, waited: float) -> None:
    told = [("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "1")]
    if after is not None:
        told.append(("Retry-After", after))

    def faults(request: Request, nth: int) -> Given | None:
        return Given(429, b"", headers=tuple(told)) if nth == 1 else None

    with FaultServer(PagedApi(), faults) as server, connect(server.url) as client:
        assert client.fetch(page(1)).attempts == 2
        assert waited - 0.1 < client.throttled_seconds <= waited
