"""The hook by itself: connections, sessions, pages and rows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from airflow_paginated import Completeness, Limits, Offset, PageNumber, Timeouts
from airflow_paginated.core.errors import (
    ConfigurationError,
    IncompleteError,
    LimitExceeded,
    PageFailed,
    RequestRefused,
    RunTimeout,
)
from airflow_paginated.hooks.paginated_api import PaginatedApiHook
from airflow_paginated.transport import RateLimit, RequestRetry
from tests.servers import FaultServer, Given, PagedApi, ServerError, StallInBody, on_page, seven_faults

Connect = Callable[..., str]
PAGES = PageNumber(total_path="meta.total")


def test_rows_are_decoded_in_order(connect: Connect) -> None:
    api = PagedApi(rows=1_000, page_size=25)
    with FaultServer(api, seven_faults(0.1, seed=5)) as server:
        hook = PaginatedApiHook(connect(server.url))
        rows = list(hook.rows("/employees", pagination=PAGES, data_selector="data"))
    assert rows == [json.loads(line) for line in api.reference().splitlines()]


def test_decimals_keep_their_digits(connect: Connect) -> None:
    with FaultServer(PagedApi(rows=10)) as server:
        rows = PaginatedApiHook(connect(server.url)).rows(
            "/employees", pagination=PAGES, data_selector="data", decimals=True
        )
        rate = next(iter(rows))["rate"]
    assert isinstance(rate, Decimal)
    assert str(rate) == "1.10"


def test_pages_of_several_partitions(connect: Connect) -> None:
    api = PagedApi(rows={"a": 35, "b": 20}, page_size=10)
    with FaultServer(api) as server:
        found = PaginatedApiHook(connect(server.url)).pages(
            "/employees", pagination=PAGES, data_selector="data", partitions=[{"store": "a"}, {"store": "b"}]
        )
        pages = {(page.request.partition, page.request.index): page.lines for page in found}
    assert b"".join(lines for _, lines in sorted(pages.items())) == api.reference(["a", "b"])


def test_a_run_has_a_deadline(connect: Connect) -> None:
    with FaultServer(PagedApi(rows=200, page_size=10), on_page(9, StallInBody(seconds=600))) as server:
        hook = PaginatedApiHook(connect(server.url, extra=json.dumps({"timeouts": {"run": 1}})), timeouts={"run": 600})
        pages = hook.pages("/employees", pagination=PAGES, data_selector="data")
        seen: list[Any] = []
        with pytest.raises(RunTimeout, match=r"timeouts\.run=1 s"):
            list(map(seen.append, pages))
    assert len(seen) == 8


def test_a_deadline_counts_what_the_caller_does_with_the_rows(connect: Connect) -> None:
    with FaultServer(PagedApi(rows=200, page_size=10)) as server:
        hook = PaginatedApiHook(connect(server.url), timeouts={"run": 0.3})
        rows = hook.rows("/employees", pagination=PAGES, data_selector="data")
        next(rows)
        time.sleep(0.35)
        with pytest.raises(RunTimeout):
            list(rows)


def test_the_timeouts_of_connection_and_hook_bound_a_page(connect: Connect) -> None:
    with FaultServer(PagedApi(rows=20, page_size=10), on_page(2, StallInBody(seconds=600))) as server:
        connection = connect(server.url, extra=json.dumps({"timeouts": {"attempt": 0.1, "page": 600}}))
        hook = PaginatedApiHook(
            connection, timeouts={"page": 0.5}, retry={"backoff_factor": 0, "max_attempts": 1000, "budget": 1000}
        )
        with pytest.raises(PageFailed, match=r"no time left within timeouts\.page=0\.5 s"):
            list(hook.rows("/employees", pagination=PAGES, data_selector="data"))


def test_rows_that_do_not_add_up_raise_at_the_end(connect: Connect) -> None:
    body = json.dumps({"data": [{"id": 1}], "meta": {"total": 11}}).encode()
    with FaultServer(PagedApi(rows=11, page_size=10), on_page(2, Given(200, body))) as server:
        hook = PaginatedApiHook(connect(server.url))
        assert len(list(hook.rows("/employees", pagination=PAGES, data_selector="data"))) == 11
    wrong = json.dumps({"data": [{"id": 1}, {"id": 2}], "meta": {"total": 11}}).encode()
    with FaultServer(PagedApi(rows=11, page_size=10), on_page(2, Given(200, wrong))) as server:
        hook = PaginatedApiHook(connect(server.url))
        with pytest.raises(IncompleteError, match="has 12 items, the API declares 11"):
            list(hook.rows("/employees", pagination=PAGES, data_selector="data"))


def test_rows_that_are_not_wanted_any_more_are_not_fetched(connect: Connect) -> None:
    with FaultServer(PagedApi(rows=100_000, page_size=10)) as server:
        rows = PaginatedApiHook(connect(server.url), max_workers=2).rows(
            "/employees", pagination=PAGES, data_selector="data"
        )
        next(rows)
        rows.close()  # type: ignore[attr-defined]
        assert server.log.summary().requests < 100


def test_get_conn_is_a_retrying_session_with_the_credentials(connect: Connect) -> None:
    with FaultServer(PagedApi(rows=10), on_page(1, ServerError(503), times=2)) as server:
        extra = json.dumps({"headers": {"X-Tenant": "t1"}, "retry": {"backoff_factor": 0.01}})
        hook = PaginatedApiHook(connect(server.url, password="tok", extra=extra))
        with hook.get_conn() as session:
            answer = session.get(hook.url("/employees"), params={"page": 1}, timeout=10)
        seen = server.log.requests[-1]
    assert (answer.status_code, seen.nth) == (200, 3)
    assert seen.request.headers["authorization"] == "Bearer tok"
    assert seen.request.headers["x-tenant"] == "t1"


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({}, None),
        ({"login": "ann", "password": "pw"}, "Basic YW5uOnB3"),
        ({"login": "zoë", "password": "ü"}, "Basic em/DqzrDvA=="),
        ({"login": "ann"}, "Basic YW5uOg=="),
        ({"password": "tok"}, "Bearer tok"),
        ({"login": "ann", "password": "tok", "extra": '{"auth_type": "bearer"}'}, "Bearer tok"),
        ({"login": "ann", "password": "pw", "extra": '{"auth_type": "none"}'}, None),
        ({"extra": '{"headers": {"Authorization": "Custom 1"}}'}, "Custom 1"),
    ],
)
def test_authentication(connect: Connect, fields: dict[str, str], sent: str | None) -> None:
    with FaultServer(PagedApi(rows=10)) as server:
        list(PaginatedApiHook(connect(server.url, **fields)).rows("/employees", pagination=PAGES, data_selector="data"))
        assert server.log.requests[0].request.headers.get("authorization") == sent


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "api.example.com"}, "https://api.example.com"),
        ({"host": "api.example.com", "conn_type": "http"}, "http://api.example.com"),
        ({"host": "api.example.com", "schema": "http", "port": 8080}, "http://api.example.com:8080"),
        ({"host": "https://api.example.com/v2", "port": 8443}, "https://api.example.com:8443/v2"),
        ({"host": "api.example.com/v2/"}, "https://api.example.com/v2/"),
    ],
)
def test_base_url(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], url: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_A", json.dumps({"conn_type": "paginated_api", **fields}))
    assert PaginatedApiHook("a").settings.endpoint.base_url == url


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"host": ""}, "the host is missing"),
        ({"host": "ftp://x"}, "host: a URL must be http(s)"),
        ({"host": "http://u:p@x"}, "no user info"),
        ({"host": "http://x/v1?key=s3cret"}, "host: must not contain a query"),
        ({"extra": '{"hedders": {}}'}, "unknown key 'hedders' (did you mean 'headers'?)"),
        ({"extra": '{"headers": [1]}'}, "headers: expected a JSON object"),
        ({"extra": '{"headers": "no"}'}, "headers: not a JSON object"),
        ({"extra": '{"headers": {"a": 1}}'}, "headers: 'a' must be a string"),
        ({"extra": '{"trust_env": "false"}'}, "trust_env: expected true or false, got 'false'"),
        ({"extra": '{"auth_type": "oauth9"}'}, "auth_type: 'oauth9' is not one of none, basic, bearer"),
        ({"extra": '{"auth_type": "basic"}'}, "auth_type 'basic' needs a user name as login"),
        ({"extra": '{"auth_type": "bearer"}'}, "auth_type 'bearer' needs the token as password"),
        ({"extra": '{"retry": {"attempts": 3}}'}, "retry (on the connection): unknown key 'attempts'"),
        ({"extra": '{"limits": {"page_bytes": 0}}'}, "limits: page_bytes"),
        ({"extra": '{"timeouts": {"page": 0}}'}, "timeouts: page"),
        ({"extra": '{"rate_limit": {}}'}, None),
        ({"extra": '{"rate_limit": {"per_seconds": 2}}'}, "rate_limit (on the connection): 'requests' is required"),
    ],
)
def test_a_wrong_connection_is_told_in_one_sentence(connect: Connect, fields: dict[str, str], told: str | None) -> None:
    with FaultServer(PagedApi(rows=5)) as server:
        hook = PaginatedApiHook(connect(fields.pop("host", server.url), **fields))
        if told is None:
            assert len(list(hook.rows("/employees", pagination=PAGES, data_selector="data"))) == 5
            return
        with pytest.raises(ConfigurationError) as caught:
            list(hook.rows("/employees", pagination=PAGES, data_selector="data"))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("extra", "secrets"),
    [
        ({"headers": {"X-Key": "a b"}}, {"a b"}),
        ({"headers": {"X-Region": "middle european"}}, {"middle european"}),
        ({"headers": {"Authorization": "Token 12345678"}}, {"Token 12345678", "12345678"}),
        ({"headers": {"authorization": "Basic YW5uOnMzY3JldA=="}}, {"ann:s3cret", "s3cret", "YW5uOnMzY3JldA=="}),
        ({"headers": {"authorization": "Basic no-base64"}}, {"Basic no-base64", "no-base64"}),
        ({"proxies": {"http": "http://me:p%40ss@proxy:3128"}}, {"me:p@ss", "p@ss", "me:p%40ss"}),
        ({"proxies": {"http": "http://proxy:3128"}}, set()),
    ],
)
def test_what_is_secret_of_a_connection(connect: Connect, extra: dict[str, Any], secrets: set[str]) -> None:
    found = set(PaginatedApiHook(connect("http://localhost", extra=json.dumps(extra))).settings.secrets)
    assert found >= secrets
    assert bool(found) == bool(secrets)
    assert "middle" not in found


def test_an_extra_that_is_no_json_is_not_in_the_error(connect: Connect) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _ = PaginatedApiHook(connect("http://localhost", extra=json.dumps({"headers": "{s3cret"}))).settings
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_a_key_in_the_query_is_sent_with_each_request_and_never_told(connect: Connect) -> None:
    refusal = Given(403, b'{"error": "not with s3cret-s3cret"}')
    with FaultServer(PagedApi(rows=300), on_page(3, refusal)) as server:
        hook = PaginatedApiHook(connect(server.url), retry={"max_attempts": 1})
        query = {"api_key": "s3cret-s3cret", "active": True}
        with pytest.raises(RequestRefused) as caught:
            list(hook.rows("/employees", pagination=PAGES, data_selector="data", query=query))
        sent = [seen.request.query for seen in server.log.requests]
    assert len(sent) >= 2
    assert all(each["api_key"] == "s3cret-s3cret" and each["active"] == "true" for each in sent)
    assert f"{server.url}/employees?api_key=***&active=***&page=3)" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_policies_combine_and_caps_only_tighten(connect: Connect) -> None:
    policies = {
        "retry": '{"max_attempts": 7, "backoff_max": 3}',  # as the form writes it
        "timeouts": {"read": 5, "run": 100},
        "limits": {"page_bytes": 1000},
        "rate_limit": {"requests": 10},
        "completeness": {"min_rows": 3},
    }
    conn_id = connect("http://localhost", extra=json.dumps(policies))
    hook = PaginatedApiHook(
        conn_id,
        retry={"max_attempts": 2},
        timeouts={"read": 9, "run": 200},
        limits={"page_bytes": 5000},
        rate_limit=RateLimit(requests=100),
        completeness={"on_empty": "fail"},
    )
    assert hook.retry == RequestRetry(max_attempts=2, backoff_max=3)
    assert hook.timeouts == Timeouts(read=9, run=100)
    assert hook.limits == Limits(page_bytes=1000)
    assert hook.completeness == Completeness(min_rows=3, on_empty="fail")
    assert PaginatedApiHook(conn_id, limits=Limits(xcom_bytes=7)).limits == Limits(page_bytes=1000, xcom_bytes=7)


def test_the_caps_of_the_connection_hold(connect: Connect) -> None:
    extra = json.dumps({"limits": {"page_bytes": 1000}})
    with FaultServer(PagedApi(rows=100)) as server:
        hook = PaginatedApiHook(connect(server.url, extra=extra), limits={"page_bytes": 10**9})
        with pytest.raises(LimitExceeded, match=r"limits\.page_bytes=1000"):
            list(hook.rows("/employees", pagination=PAGES, data_selector="data"))


@pytest.mark.parametrize(("status", "fine"), [(200, True), (404, True), (500, True), (401, False), (403, False)])
def test_test_connection(connect: Connect, status: int, fine: bool) -> None:
    extra = json.dumps({"retry": {"max_attempts": 1}})
    with FaultServer(PagedApi(), lambda request, nth: Given(status, b"{}")) as server:
        answer, message = PaginatedApiHook(connect(server.url, extra=extra)).test_connection()
    assert answer is fine
    assert str(status) in message


def test_test_connection_without_a_server(connect: Connect) -> None:
    with FaultServer(PagedApi()) as server:
        url = server.url
    extra = json.dumps({"retry": {"max_attempts": 1}})
    fine, message = PaginatedApiHook(connect(url, password="s3cr3t", extra=extra)).test_connection()
    assert not fine
    assert url in message
    assert "s3cr3t" not in message


def test_a_sample_stops_early(connect: Connect) -> None:
    with FaultServer(PagedApi(rows=1_000, page_size=10)) as server:
        hook = PaginatedApiHook(connect(server.url), limits={"sample_pages": 3})
        rows = list(
            hook.rows("/employees", pagination=Offset(page_size=10, total_path="meta.total"), data_selector="data")
        )
        assert server.log.summary().requests == 3
    assert len(rows) == 30
