"""Retry policies and rate limits: their values, their dict forms, and how they combine."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3.util import Retry

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.transport.retry import (
    ANY_METHOD,
    TRANSIENT_STATUSES,
    RateLimit,
    RequestRetry,
    backoff,
    combined_rate_limit,
    combined_retry,
)

DEFAULT = RequestRetry()


@given(st.integers(1, 10**6), st.floats(0, 1e6), st.floats(0, 1e6))
def test_backoff_has_full_jitter_below_a_doubling_ceiling(retries: int, base: float, most: float) -> None:
    assert 0 <= backoff(retries, base, most) <= min(most, base * 2.0 ** min(retries - 1, 60))


def test_backoff_uses_its_whole_room() -> None:
    assert all(backoff(1, 1.0, 20.0, first=0.2) <= 0.2 for _ in range(200))
    assert max(backoff(2, 1.0, 20.0, first=0.2) for _ in range(200)) > 0.4
    drawn = [backoff(3, 1.0, 20.0) for _ in range(2000)]
    assert min(drawn) < 0.4
    assert max(drawn) > 3.6


def test_the_defaults_are_what_the_documentation_says() -> None:
    assert DEFAULT.status_forcelist == {408, 425, 500, 502, 503, 504}
    assert DEFAULT.allowed_methods == {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"}
    assert (DEFAULT.max_attempts, DEFAULT.backoff_factor, DEFAULT.backoff_max) == (5, 0.5, 20.0)
    assert (DEFAULT.respect_retry_after_header, DEFAULT.retry_after_max) == (True, 300.0)


@pytest.mark.parametrize(("workers", "budget", "size"), [(1, None, 20), (32, None, 96), (32, 0, 0), (1, 7, 7)])
def test_the_budget_grows_with_the_workers(workers: int, budget: int | None, size: int) -> None:
    assert RequestRetry(budget=budget).budget_for(workers) == size


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_attempts", 0),
        ("max_attempts", 1.5),
        ("max_attempts", True),
        ("max_attempts", "5"),
        ("budget", -1),
        ("budget", 0.5),
        ("backoff_factor", -0.1),
        ("backoff_max", None),
        ("retry_after_max", "300"),
        ("status_forcelist", "503"),
        ("status_forcelist", 503),
        ("status_forcelist", None),
        ("status_forcelist", ["503"]),
        ("status_forcelist", {503: True}),
        ("allowed_methods", "POST"),
        ("allowed_methods", None),
        ("allowed_methods", [1]),
    ],
)
def test_a_wrong_value_is_named(field: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"^retry: {field}"):
        combined_retry({}, {field: value})


def test_lists_become_sets_and_methods_upper_case() -> None:
    retry = combined_retry(None, {"status_forcelist": [503, 503], "allowed_methods": ["post", "Get"]})
    assert (retry.status_forcelist, retry.allowed_methods) == ({503}, {"POST", "GET"})
    assert hash(retry) == hash(RequestRetry(status_forcelist={503}, allowed_methods=("GET", "POST")))


@pytest.mark.parametrize(
    ("connection", "operator", "expected"),
    [
        (None, None, DEFAULT),
        ({}, {}, DEFAULT),
        ({"max_attempts": 3}, None, RequestRetry(max_attempts=3)),
        ({"max_attempts": 3, "budget": 1}, {"max_attempts": 7}, RequestRetry(max_attempts=7, budget=1)),
        ({"max_attempts": 3}, RequestRetry(budget=2), RequestRetry(budget=2)),
        ({"max_attempts": 3}, Retry(2, backoff_factor=1), RequestRetry(max_attempts=3, backoff_factor=1)),
    ],
)
def test_default_connection_operator(connection: Any, operator: Any, expected: RequestRetry) -> None:
    assert combined_retry(connection, operator) == expected


@pytest.mark.parametrize(
    ("connection", "operator", "said"),
    [
        (
            {"max_attemps": 3},
            None,
            r"retry \(on the connection\): unknown key 'max_attemps' \(did you mean 'max_attempts'",
        ),
        (None, {"total": 3}, "retry: unknown key 'total'; allowed: allowed_methods, backoff_factor"),
        (None, [3], "retry: expected a dict or RequestRetry, got list"),
    ],
)
def test_a_wrong_dict_is_named(connection: Any, operator: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        combined_retry(connection, operator)


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (Retry(), RequestRetry(max_attempts=11)),
        (Retry(total=3), RequestRetry(max_attempts=4)),
        (Retry(total=0), RequestRetry(max_attempts=1)),
        (Retry(total=False), RequestRetry(max_attempts=1)),
        (Retry(total=None), DEFAULT),
        (Retry(total=10, read=2, status=4), RequestRetry(max_attempts=3)),
        (Retry(3, status_forcelist=[500, 404]), RequestRetry(max_attempts=4, status_forcelist=[404, 500])),
        (Retry(3, allowed_methods=None), RequestRetry(max_attempts=4, allowed_methods=ANY_METHOD)),
        (Retry(3, allowed_methods=["POST"]), RequestRetry(max_attempts=4, allowed_methods=["POST"])),
        (Retry(3, backoff_factor=2), RequestRetry(max_attempts=4, backoff_factor=2)),
        (Retry(3, backoff_max=7), RequestRetry(max_attempts=4, backoff_max=7)),
        (Retry(3, retry_after_max=60), RequestRetry(max_attempts=4, retry_after_max=60)),
        (Retry(3, respect_retry_after_header=False), RequestRetry(max_attempts=4, respect_retry_after_header=False)),
    ],
)
def test_from_urllib3(given_: Retry, expected: RequestRetry) -> None:
    assert RequestRetry.from_urllib3(given_) == expected


def test_to_urllib3() -> None:
    retry = RequestRetry(max_attempts=3, backoff_factor=0.1, backoff_max=5, retry_after_max=60).to_urllib3()
    assert (retry.total, retry.backoff_factor, retry.backoff_max, retry.retry_after_max) == (2, 0.1, 5, 60)
    assert set(retry.status_forcelist) == TRANSIENT_STATUSES | {429}
    assert set(retry.allowed_methods or ()) == DEFAULT.allowed_methods
    assert not retry.raise_on_status


@given(
    st.builds(
        RequestRetry,
        max_attempts=st.integers(1, 100),
        backoff_factor=st.floats(0.01, 100),
        backoff_max=st.floats(0, 119),
        retry_after_max=st.integers(0, 10000),
        respect_retry_after_header=st.booleans(),
    )
)
def test_there_and_back(retry: RequestRetry) -> None:
    back = RequestRetry.from_urllib3(retry.to_urllib3())
    assert back == RequestRetry(**{**vars(retry), "status_forcelist": [*TRANSIENT_STATUSES, 429]})


def test_the_interval_of_a_rate_limit() -> None:
    assert RateLimit(requests=20).interval == 0.05
    assert RateLimit(requests=1, per_seconds=60).interval == 60


@pytest.mark.parametrize(
    ("connection", "operator", "expected"),
    [
        (None, None, None),
        ({"requests": 10}, None, RateLimit(requests=10)),
        (None, {"requests": 5, "per_seconds": 2}, RateLimit(requests=5, per_seconds=2)),
        ({"requests": 10}, {"requests": 5}, RateLimit(requests=5)),
        ({"requests": 10}, {"requests": 50}, RateLimit(requests=10)),
        ({"requests": 10}, RateLimit(requests=600, per_seconds=60), RateLimit(requests=10)),
        ({"requests": 600, "per_seconds": 60}, RateLimit(requests=11), RateLimit(requests=600, per_seconds=60)),
    ],
)
def test_a_rate_limit_can_only_be_tightened(connection: Any, operator: Any, expected: RateLimit | None) -> None:
    combined = combined_rate_limit(connection, operator)
    assert (combined and combined.interval) == (expected and expected.interval)


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"per_seconds": 2}, "rate_limit: 'requests' is required"),
        ({"requests": 0}, "rate_limit: requests"),
        ({"requests": -1}, "rate_limit: requests"),
        ({"requests": 1, "per_seconds": 0}, "rate_limit: per_seconds"),
        ({"requests": 1, "burst": 5}, "rate_limit: unknown key 'burst'"),
        (20, "rate_limit: expected a dict or RateLimit, got int"),
    ],
)
def test_a_wrong_rate_limit_is_named(given_: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        combined_rate_limit(None, given_)
