"""Tokens that expire in mid-run: one refresh for all threads, one replay for each page, then an error that helps."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
import requests
from requests.auth import HTTPBasicAuth

from airflow_paginated.core.errors import ConfigurationError, PageFailed, PermanentError, QuotaExceeded, RequestRefused
from airflow_paginated.core.values import PageRequest
from airflow_paginated.transport import PageClient, RateLimit, ResponseRules
from airflow_paginated.transport.retry import Throttled
from tests.servers import FaultServer, Given, PagedApi, Reply, Request, ServerError
from tests.transport.clients import ONCE, QUICK, Calls, connect, eventually, page

THREADS = 16
BIG = PagedApi(rows=2000, page_size=10)


@dataclass
class TokenApi:
    """An API whose tokens expire when a page is seen for the first time; the server's thread changes it."""

    api: PagedApi = BIG
    refusal: int = 401
    expires_at: set[int] = field(default_factory=set)
    issued: int = 0
    valid: str = "none yet"
    good: bool = True

    def __call__(self, request: Request) -> Reply:
        if request.path == "/token":
            self.issued += 1
            self.valid = f"token-number-{self.issued}" if self.good else "none that is told"
            return Reply(json.dumps({"token": f"token-number-{self.issued}"}).encode())
        number = int(request.query["page"])
        if number in self.expires_at:
            self.expires_at.remove(number)
            self.valid = "none any more"
        told = request.headers.get("authorization", "")
        if told != f"Bearer {self.valid}":
            return Reply(json.dumps({"error": f"expired: {told}"}).encode(), self.refusal)
        return self.api(request)

    def page_of(self, request: Request) -> tuple[str, int] | None:
        return None if request.path == "/token" else self.api.page_of(request)


@dataclass
class TokenAuth:
    """Asks for a token first and whenever it is told to refresh, as an OAuth client does."""

    url: str
    before: Callable[[], object] = lambda: None
    token: str = "token-number-0"
    refreshes: int = 0

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request

    def refresh(self) -> None:
        self.refreshes += 1
        self.before()
        with requests.post(f"{self.url}/token", timeout=20) as answer:
            answer.raise_for_status()
            self.token = answer.json()["token"]


@pytest.fixture
def tokens() -> Iterator[tuple[FaultServer, TokenApi]]:
    app = TokenApi()
    with FaultServer(app) as server:
        yield server, app


def big_lines(number: int) -> bytes:
    return b"".join(list(BIG.reference_lines())[(number - 1) * 10 : number * 10])


def fetched(client: PageClient, numbers: range) -> list[int]:
    """Fetch pages in many threads, and return the attempts at each."""
    with ThreadPoolExecutor(THREADS) as threads:
        pages = list(threads.map(client.fetch, [page(number) for number in numbers]))
    assert [each.lines for each in pages] == [big_lines(number) for number in numbers]
    return [each.attempts for each in pages]


@pytest.mark.parametrize("refusal", [401, 403])
def test_each_expiry_costs_one_refresh_and_no_page(tokens: tuple[FaultServer, TokenApi], refusal: int) -> None:
    server, app = tokens
    app.refusal = refusal
    auth = TokenAuth(server.url)
    rules = ResponseRules(response_actions=[{"status": 403, "action": "REFRESH_TOKEN_THEN_RETRY"}])
    with connect(server.url, auth=auth, retry=ONCE, rules=rules) as client:
        for expiry in range(3):
            app.expires_at = {expiry * 50 + 25} if expiry else set()
            attempts = fetched(client, range(expiry * 50 + 1, expiry * 50 + 51))
            assert (auth.refreshes, app.issued) == (expiry + 1, expiry + 1)
            assert set(attempts) == {1, 2}
        counts = server.log.counts
        assert client.traffic.requests == sum(counts.values())
        assert client.traffic.retries == sum(counts.values()) - 150 <= 3 * THREADS


def test_the_others_wait_for_the_one_that_refreshes(tokens: tuple[FaultServer, TokenApi]) -> None:
    server, app = tokens
    seen: list[int] = []

    def all_are_refused() -> None:
        eventually(lambda: len(server.log.requests) == THREADS)
        seen.append(threading.get_ident())

    auth = TokenAuth(server.url, before=all_are_refused)
    with connect(server.url, auth=auth, retry=ONCE) as client:
        outcomes = Calls(client.fetch, [page(number) for number in range(1, THREADS + 1)]).join()
    assert [each.attempts for each in outcomes] == [2] * THREADS  # type: ignore[attr-defined]
    assert (len(seen), auth.refreshes, app.issued) == (1, 1, 1)
    asked = [each.request.path for each in server.log.requests]
    assert asked.index("/token") == THREADS
    assert {each.request.headers["authorization"] for each in server.log.requests[THREADS + 1 :]} == {
        "Bearer token-number-1"
    }


def test_fresh_credentials_that_are_refused_fail_at_once(tokens: tuple[FaultServer, TokenApi]) -> None:
    server, app = tokens
    app.good = False
    auth = TokenAuth(server.url)
    with connect(server.url, auth=auth, retry=QUICK) as client, pytest.raises(RequestRefused) as caught:
        client.fetch(page(7))
    assert str(caught.value).startswith(f"page 7 (GET {server.url}/employees?page=7&token=***): the API refuses")
    assert "the API refuses the credentials, even after renewal: 401 Unauthorized; the API says: " in str(caught.value)
    assert str(caught.value).endswith("; check those on the connection")
    # Nobody told the client of these tokens: it saw them on its requests.
    assert "token-number" not in str(caught.value)
    assert "expired: Bearer ***" in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.status == 401
    assert (auth.refreshes, len(server.log.requests)) == (1, 3)


@pytest.mark.parametrize("auth", [None, HTTPBasicAuth("ann", "pw")])
def test_without_a_refresh_it_fails_at_once(tokens: tuple[FaultServer, TokenApi], auth: object) -> None:
    server, app = tokens
    with connect(server.url, auth=auth) as client, pytest.raises(RequestRefused) as caught:
        client.fetch(page(1))
    assert "401 Unauthorized: check the credentials on the connection" in str(caught.value)
    app.refusal = 403
    rules = ResponseRules(response_actions=[{"status": 403, "action": "REFRESH_TOKEN_THEN_RETRY"}])
    with connect(server.url, auth=auth, rules=rules) as client, pytest.raises(RequestRefused) as caught:
        client.fetch(page(1))
    assert "the connection's authentication cannot be refreshed" in str(caught.value)
    assert len(server.log.requests) == 2


def test_an_action_comes_before_the_refresh(tokens: tuple[FaultServer, TokenApi]) -> None:
    server, _ = tokens
    auth = TokenAuth(server.url)
    rules = ResponseRules(response_actions=[{"status": 401, "action": "END"}])
    with connect(server.url, auth=auth, rules=rules) as client:
        assert client.fetch(page(1)).end == "401 Unauthorized"
    assert auth.refreshes == 0


def test_a_post_is_replayed(tokens: tuple[FaultServer, TokenApi]) -> None:
    server, _ = tokens
    with connect(server.url, auth=TokenAuth(server.url), retry=ONCE) as client:
        got = client.fetch(PageRequest("employees", "POST", query={"page": 2}, body={"a": 1}))
    assert (got.lines, got.attempts) == (big_lines(2), 2)


def test_every_prepared_request_is_made_anew(tokens: tuple[FaultServer, TokenApi]) -> None:
    server, app = tokens
    with connect(server.url, auth=TokenAuth(server.url), retry=ONCE) as client:
        for path in ("a/employees", "b/employees", "a/employees", "b/employees"):
            client.fetch(page(1, path))
        app.expires_at = {2}
        assert client.fetch(page(2, "a/employees")).attempts == 2
        assert client.fetch(page(1, "b/employees")).attempts == 1


def test_a_replay_waits_for_its_turn(tokens: tuple[FaultServer, TokenApi]) -> None:
    server, _ = tokens
    started = time.monotonic()
    with connect(server.url, auth=TokenAuth(server.url), rate_limit=RateLimit(requests=5)) as client:
        client.fetch(page(1))
    assert server.log.requests[-1].time >= started + 0.2


def test_a_page_may_fail_otherwise_before_and_after(tokens: tuple[FaultServer, TokenApi]) -> None:
    server, _ = tokens
    due = iter([ServerError(), None, None, ServerError(), None])
    server.faults = lambda request, nth: next(due)
    with connect(server.url, auth=TokenAuth(server.url)) as client:
        assert client.fetch(page(1)).attempts == 4
    assert [each.request.path for each in server.log.requests].index("/token") == 2


def test_a_refresh_that_fails_is_tried_again_like_a_page(tokens: tuple[FaultServer, TokenApi]) -> None:
    server, app = tokens
    server.faults = lambda request, nth: ServerError() if request.path == "/token" and nth < 3 else None
    with connect(server.url, auth=TokenAuth(server.url)) as client:
        got = client.fetch(PageRequest("employees", "POST", query={"page": 1}, body={}))
    assert (got.attempts, app.issued) == (2, 3)
    server.faults = lambda request, nth: Given(400) if request.path == "/token" else None
    app.valid = "none"
    with connect(server.url, auth=TokenAuth(server.url)) as client, pytest.raises(PageFailed) as caught:
        client.fetch(page(1))
    assert str(caught.value).endswith(
        "refreshing the credentials failed in 3 attempts; last cause: no credentials could be obtained (HTTPError)"
    )


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (PermanentError("the client is unknown: s3cr3t-w0rd"), PermanentError, "the client is unknown: ***"),
        (Throttled("the token endpoint is busy", 1000), QuotaExceeded, "the token endpoint is busy; the API asks to"),
        (KeyError("access_token"), PermanentError, "failed: unexpected KeyError"),
    ],
)
def test_what_a_refresh_raises_is_told_of_the_page(
    tokens: tuple[FaultServer, TokenApi], error: Exception, kind: type[Exception], told: str
) -> None:
    server, _ = tokens

    def fail() -> None:
        raise error

    auth = TokenAuth(server.url, before=fail)
    with connect(server.url, auth=auth, secrets=["s3cr3t-w0rd"]) as client, pytest.raises(kind) as caught:
        client.fetch(page(1))
    assert told in str(caught.value)
    assert str(caught.value).startswith("page 1 (GET ")


def test_credentials_that_take_the_network_may_be_had_later(tokens: tuple[FaultServer, TokenApi]) -> None:
    server, _ = tokens
    failures = [requests.ConnectionError("secret"), requests.ReadTimeout("secret")]

    class Lazy(TokenAuth):
        def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
            if failures:
                raise failures.pop()
            return super().__call__(request)

    with connect(server.url, auth=Lazy(server.url)) as client:
        assert client.fetch(page(1)).lines == big_lines(1)


def test_credentials_that_http_cannot_carry(tokens: tuple[FaultServer, TokenApi]) -> None:
    server, _ = tokens
    for auth in (TokenAuth(server.url, token="\u2713"), HTTPBasicAuth("ann", "\u2713")):
        with (
            connect(server.url, auth=auth) as client,
            pytest.raises(ConfigurationError, match="characters that HTTP headers cannot carry"),
        ):
            client.fetch(page(1))


def test_a_key_in_the_query_is_sent_and_not_told(server: FaultServer) -> None:
    def auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.prepare_url(request.url, {"api_key": "k3y-of-the-house"})
        return request

    server.faults = lambda request, nth: Given(403, json.dumps(request.query).encode())
    with connect(server.url, auth=auth) as client, pytest.raises(RequestRefused) as caught:
        client.fetch(PageRequest("employees?page=1", query={"a": 1}))
    assert server.log.requests[0].request.target == "/employees?api_key=k3y-of-the-house&page=1&a=1"
    assert """'{"api_key": "***", "page": "1", "a": "1"}'""" in str(caught.value)
