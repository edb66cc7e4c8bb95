"""Tokens that are asked for: once for all threads, before they expire, with the policies of the run."""

from __future__ import annotations

import json
import logging
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_paginated.core.errors import (
    Cancelled,
    LimitExceeded,
    PageFailed,
    PaginatedApiError,
    PermanentError,
    QuotaExceeded,
    RequestRefused,
    TransientError,
)
from airflow_paginated.core.policies import Timeouts
from airflow_paginated.transport import PageClient, RateLimit, SessionOptions
from airflow_paginated.transport.auth.credentials import Credentials
from tests.servers import (
    DribbleBody,
    Fault,
    FaultServer,
    Given,
    HtmlOK,
    Raw,
    Redirect,
    Reply,
    Request,
    ResetInBody,
    RetryLater,
    ServerError,
    ShortBody,
    StallInBody,
    TruncatedJson,
)
from tests.transport.clients import QUICK, Calls, eventually, page, short
from tests.transport.tokens import (
    BASIC,
    BIG,
    CLIENT_SECRET,
    HERE,
    Guarded,
    Tokens,
    auth_options,
    authenticated,
)

THREADS = 16
LOGIN: dict[str, Any] = {"kind": "session_token", "auth": {"session_path": "session.id"}}
BOTH = pytest.mark.parametrize("kind", [{}, LOGIN], ids=["OAuth2", "login"])
PARTS = ("s3cr3t", "c3VjcmV0", BASIC, "token-number", "dG9rZW4tbnVtYmVy")


@pytest.fixture
def guarded() -> Iterator[tuple[FaultServer, Guarded]]:
    app = Guarded()
    with FaultServer(app) as server:
        yield server, app


def at_token(fault: Fault, times: int = 1000) -> Any:
    """Return a schedule that spoils the first answers with a token."""
    return lambda request, nth: fault if request.path in ("/token", "/login") and nth <= times else None


def asked_for_tokens(server: FaultServer) -> list[Request]:
    return [each.request for each in server.log.requests if each.request.path in ("/token", "/login")]


def fetched(client: PageClient, numbers: range) -> list[int]:
    """Fetch pages in many threads, and return the attempts at each."""
    lines = list(BIG.reference_lines())
    with ThreadPoolExecutor(THREADS) as threads:
        pages = list(threads.map(client.fetch, [page(number) for number in numbers]))
    for each, number in zip(pages, numbers, strict=True):
        assert each.lines == b"".join(lines[(number - 1) * 10 : number * 10])
    return [each.attempts for each in pages]


def failed(server: FaultServer, **given: Any) -> PaginatedApiError:
    """Return what fetching a page comes to."""
    with authenticated(server.url, **given) as client, pytest.raises(PaginatedApiError) as caught:
        client.fetch(page(1))
    assert "token-number" not in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    return caught.value


@BOTH
def test_a_token_that_expires_in_mid_run_is_renewed_once(
    guarded: tuple[FaultServer, Guarded], kind: dict[str, Any]
) -> None:
    server, app = guarded
    app.expires_at = {60, 120}
    with authenticated(server.url, **kind) as client:
        attempts = fetched(client, range(1, 181))
    assert (app.tokens.issued, len(asked_for_tokens(server))) == (3, 3)
    assert set(attempts) == {1, 2}
    assert app.refused == sum(attempts) - 180 <= 2 * THREADS
    assert client.traffic.requests == 180 + app.refused + 3
    assert client.traffic.retries == app.refused


@BOTH
def test_the_others_wait_for_the_one_that_asks(guarded: tuple[FaultServer, Guarded], kind: dict[str, Any]) -> None:
    server, app = guarded
    with authenticated(server.url, **kind) as client:
        assert set(fetched(client, range(1, 33))) == {1}
    assert (app.tokens.issued, app.refused) == (1, 0)
    assert server.log.requests[0].request.path in ("/token", "/login")


@dataclass
class Clock:
    """Stands until somebody sets it."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def clocked(url: str, clock: Clock, **auth: Any) -> PageClient:
    """Return a client whose tokens age by this clock."""
    grant = auth_options(url, auth=auth).endpoint.auth
    return authenticated(url, auth=auth, shared=Credentials(grant, clock))


def test_a_token_is_renewed_before_it_expires() -> None:
    app, clock = Guarded(Tokens(lifetime=100)), Clock()
    with FaultServer(app) as server, clocked(server.url, clock) as client:
        client.fetch(page(1))
        for now, issued in ((1089, 1), (1091, 2), (1180, 2), (1182, 3), (5000, 4)):
            clock.now = now
            client.fetch(page(2))
            assert app.tokens.issued == issued
    assert app.refused == 0


def test_while_one_renews_early_the_others_go_on_with_the_old_token() -> None:
    app, clock, ended = Guarded(Tokens(lifetime=100_000)), Clock(), threading.Event()
    with FaultServer(app) as server, FaultServer(app.tokens.oauth2) as idp:
        with clocked(server.url, clock, token_url=f"{idp.url}/token") as client:
            client.fetch(page(1))
            clock.now += 99_950
            app.tokens.before = lambda: ended.wait(20)
            early = Calls(client.fetch, [page(2)])
            eventually(lambda: len(idp.log.requests) == 2)
            old = Calls(client.fetch, [page(number) for number in range(3, 20)]).join()
            ended.set()
            early.join()
        assert not [each for each in (*old, *early.outcomes.values()) if isinstance(each, Exception)]
        assert len(idp.log.requests) == 2
    assert app.refused == 0


@pytest.mark.parametrize("lifetime", [None, 0, -5, "3600", "soon", "", 1e300])
def test_a_lifetime_that_says_nothing(lifetime: Any) -> None:
    app = Guarded(Tokens(lifetime=lifetime))
    with FaultServer(app) as server, authenticated(server.url) as client:
        fetched(client, range(1, 20))
    assert app.tokens.issued == 1


def test_two_clients_share_their_token(guarded: tuple[FaultServer, Guarded]) -> None:
    server, app = guarded
    made = auth_options(server.url)
    shared = Credentials(made.endpoint.auth)
    learned: list[str] = []
    for number in range(1, 4):
        with authenticated(server.url, shared=shared, learned=learned.append) as client:
            client.fetch(page(number))
    assert app.tokens.issued == 1
    assert set(learned) == {"token-number-1"}


def test_a_run_that_ends_does_not_end_another_that_waits_for_its_token(guarded: tuple[FaultServer, Guarded]) -> None:
    server, _ = guarded
    shared = Credentials(auth_options(server.url).endpoint.auth)
    server.faults = at_token(StallInBody(), times=1)
    with authenticated(server.url, shared=shared) as other:
        with authenticated(server.url, shared=shared) as client:
            first = Calls(client.fetch, [page(1)])
            eventually(lambda: asked_for_tokens(server))
            second = Calls(other.fetch, [page(2)])
        assert isinstance(first.join()[0], Cancelled)
        assert not isinstance(second.join()[0], Exception)


@BOTH
def test_fresh_tokens_that_are_refused_fail_at_once(guarded: tuple[FaultServer, Guarded], kind: dict[str, Any]) -> None:
    server, app = guarded
    app.tokens.good = False
    error = failed(server, retry=QUICK, **kind)
    assert isinstance(error, RequestRefused)
    assert "the API refuses the credentials, even after renewal: 401 Unauthorized; the API says: " in str(error)
    assert str(error).endswith(f"; check those on {HERE}")
    assert "expired: Bearer ***" in str(error)
    assert (app.tokens.issued, app.refused) == (2, 2)


@BOTH
def test_a_revoked_client_fails_at_once_and_is_not_asked_for_again(
    guarded: tuple[FaultServer, Guarded], kind: dict[str, Any]
) -> None:
    server, _ = guarded
    with authenticated(server.url, password="another s3cr3t", retry=QUICK, **kind) as client:
        outcomes = Calls(client.fetch, [page(number) for number in range(1, 40)]).join()
    assert {type(each) for each in outcomes} == {RequestRefused}
    assert len(server.log.requests) == 1
    error = str(outcomes[0])
    if kind:
        assert f"{HERE}: logging in at {server.url}/login: 400 Bad Request: check login and password" in error
    else:
        assert f"{HERE}: requesting a token from {server.url}: 401 Unauthorized, invalid_client: check login" in error
        assert "the server says: '" in error
    assert not [part for part in PARTS if part in error]


def test_a_client_that_is_revoked_in_mid_run(guarded: tuple[FaultServer, Guarded]) -> None:
    server, app = guarded
    with authenticated(server.url) as client:
        fetched(client, range(1, 20))
        app.tokens.known, app.tokens.valid = "another", "none any more"
        outcomes = Calls(client.fetch, [page(number) for number in range(30, 46)]).join()
    assert {type(each) for each in outcomes} == {RequestRefused}
    # The page is not gone: it is the credentials.
    assert {each.status for each in outcomes if isinstance(each, RequestRefused)} == {None}
    assert len(asked_for_tokens(server)) == 2


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (400, {"error": "invalid_client"}, "400 Bad Request, invalid_client: check login (client_id), password"),
        (400, {"error": "unauthorized_client"}, "unauthorized_client: this client may not use the grant"),
        (400, {"error": "unsupported_grant_type"}, "unsupported_grant_type: the server does not know the grant"),
        (400, {"error": "invalid_scope", "error_description": "no 'x'"}, "invalid_scope: check scope; the server says"),
        (400, {"error": "invalid_target"}, "invalid_target: check audience"),
        (400, {"error": "invalid_request"}, "invalid_request: check client_auth_method, scope, audience and"),
        (400, {"error": "our own"}, '400 Bad Request: check token_url; the server says: \'{"error": "our own"}\''),
        (400, {"error": {"code": 7}}, "400 Bad Request: check token_url"),
        (400, {"error": None}, "400 Bad Request: check token_url"),
        (401, "", "401 Unauthorized: check login (client_id), password (client_secret) and client_auth_method"),
        (403, "<html>", "403 Forbidden: check login (client_id)"),
        (404, "<html>", "404 Not Found: check token_url"),
        (200, {"error": "invalid_client"}, "200 OK, invalid_client: check login"),
        (200, {"data": {"token": "s3cr3t"}}, "the response has no access_token, it is an object with the keys 'data'"),
        (200, {"access_token": 5}, "the response has no access_token, it is an object with the keys 'access_token'"),
    ],
)
def test_a_refusal_says_what_to_do(guarded: tuple[FaultServer, Guarded], status: int, body: Any, told: str) -> None:
    server, _ = guarded
    text = body if isinstance(body, str) else json.dumps(body)
    server.faults = at_token(Given(status, text.encode()))
    error = failed(server, retry=QUICK)
    assert isinstance(error, PermanentError)
    assert f"{HERE}: requesting a token from {server.url}: " in str(error)
    assert told in str(error)
    assert len(server.log.requests) == 1


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (401, {"detail": "no"}, "401 Unauthorized: check login and password on the connection; the API says:"),
        (422, {"detail": "no"}, "422 Unprocessable"),
        (404, "", "404 Not Found: check login_endpoint on the connection"),
        (405, "", "405 Method Not Allowed: check login_endpoint"),
        (
            200,
            {"session": {"key": "s3cr3t"}},
            "session_path 'session.id' does not lead to a string; 'session' is an object with the keys 'key'",
        ),
        (
            200,
            {"session": {"id": None}},
            "session_path 'session.id' does not lead to a string; 'session.id' is null",
        ),
        (200, ["s3cr3t"], "session_path 'session.id' does not lead to a string; the response is a list of length 1"),
    ],
)
def test_a_login_that_fails_says_what_to_do(
    guarded: tuple[FaultServer, Guarded], status: int, body: Any, told: str
) -> None:
    server, _ = guarded
    text = body if isinstance(body, str) else json.dumps(body)
    server.faults = at_token(Given(status, text.encode()))
    error = failed(server, retry=QUICK, **LOGIN)
    assert isinstance(error, PermanentError)
    assert told in str(error)
    assert len(server.log.requests) == 1


TROUBLE: list[Fault] = [
    ServerError(500),
    ServerError(503),
    ResetInBody(),
    ShortBody(),
    TruncatedJson(),
    HtmlOK(),
    StallInBody(),
    RetryLater("0"),
    Given(400, b'{"error": "temporarily_unavailable"}'),
]


@pytest.mark.parametrize("fault", TROUBLE, ids=repr)
def test_trouble_at_the_token_endpoint_is_retried(guarded: tuple[FaultServer, Guarded], fault: Fault) -> None:
    server, app = guarded
    server.faults = at_token(fault, times=2)
    stalls = isinstance(fault, StallInBody)
    with authenticated(server.url, retry=QUICK, timeouts=short() if stalls else Timeouts()) as client:
        attempts = set(fetched(client, range(1, 33)))
    # So short a time may be too short for a page, too, on a busy machine.
    assert attempts == {1} or stalls
    assert len(asked_for_tokens(server)) == 3
    assert app.refused == 0


@pytest.mark.parametrize("fault", [each for each in TROUBLE if not isinstance(each, RetryLater)], ids=repr)
def test_and_given_up(guarded: tuple[FaultServer, Guarded], fault: Fault) -> None:
    server, _ = guarded
    server.faults = at_token(fault)
    error = failed(server, retry=QUICK, timeouts=short())
    assert isinstance(error, PageFailed)
    assert f"{HERE}: requesting a token from {server.url} failed in 3 attempts; last cause: " in str(error)
    assert len(server.log.requests) == 3


def test_an_outage_of_the_token_endpoint_costs_few_requests(guarded: tuple[FaultServer, Guarded]) -> None:
    server, _ = guarded
    server.faults = at_token(ServerError())
    with authenticated(server.url, retry=QUICK) as client:
        outcomes = Calls(client.fetch, [page(number) for number in range(1, THREADS + 1)]).join()
    assert all(isinstance(each, TransientError) for each in outcomes)
    # Whoever comes when the others have given up tries anew, as a page does.
    assert len(server.log.requests) <= 3 * THREADS


def test_a_long_wait_at_the_token_endpoint_gives_the_slot_back(guarded: tuple[FaultServer, Guarded]) -> None:
    server, _ = guarded
    server.faults = at_token(RetryLater("1000"))
    error = failed(server)
    assert isinstance(error, QuotaExceeded)
    assert error.seconds == 1000


def test_a_dribbled_answer_is_bounded(guarded: tuple[FaultServer, Guarded]) -> None:
    server, _ = guarded
    server.faults = at_token(DribbleBody(1, 0.2))
    started = time.monotonic()
    error = failed(server, timeouts=short(attempt=0.2, page=0.5))
    assert isinstance(error, PageFailed)
    assert time.monotonic() - started < 10


def test_an_endless_answer_is_capped(guarded: tuple[FaultServer, Guarded]) -> None:
    server, _ = guarded
    endless = Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "keep", b" " * 65536, 100)
    server.faults = at_token(endless)
    assert isinstance(failed(server), LimitExceeded)


def test_a_run_that_is_stopped_waits_for_no_token(guarded: tuple[FaultServer, Guarded]) -> None:
    server, _ = guarded
    server.faults = at_token(StallInBody())
    with authenticated(server.url) as client:
        calls = Calls(client.fetch, [page(number) for number in range(1, THREADS + 1)])
        eventually(lambda: asked_for_tokens(server))
    assert {type(each) for each in calls.join(10)} == {Cancelled}


def test_a_token_request_waits_for_its_turn(guarded: tuple[FaultServer, Guarded]) -> None:
    server, _ = guarded
    with authenticated(server.url, rate_limit=RateLimit(requests=20)) as client:
        started = time.monotonic()
        client.fetch(page(1))
    assert server.log.requests[0].time >= started + 0.05


def test_each_secret_goes_to_its_own_origin(caplog: pytest.LogCaptureFixture) -> None:
    app = Guarded()
    with FaultServer(app) as server, FaultServer(app.tokens.oauth2) as idp:
        with authenticated(
            server.url, headers={"X-Tenant": "t1"}, auth={"token_url": f"{idp.url}/token", "scope": "read"}
        ) as client:
            fetched(client, range(1, 20))
        asked, pages = idp.log.requests[0].request, [each.request for each in server.log.requests]
        assert len(idp.log.requests) == 1
    assert asked.headers["authorization"] == f"Basic {BASIC}"
    assert asked.body == b"grant_type=client_credentials&scope=read"
    assert "x-tenant" not in asked.headers
    assert {each.headers["authorization"] for each in pages} == {"Bearer token-number-1"}
    assert {each.headers["x-tenant"] for each in pages} == {"t1"}


def test_headers_of_the_connection_go_with_a_login_at_its_own_origin(guarded: tuple[FaultServer, Guarded]) -> None:
    server, _ = guarded
    with authenticated(server.url, headers={"X-Tenant": "t1"}, **LOGIN) as client:
        client.fetch(page(1))
    assert [each.request.headers["x-tenant"] for each in server.log.requests] == ["t1", "t1"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_secret_follows_no_redirect(guarded: tuple[FaultServer, Guarded], status: int) -> None:
    server, _ = guarded
    with FaultServer(Guarded()) as other:
        for to in (f"{other.url}/token", "/elsewhere"):
            server.faults = at_token(Redirect(to, status))
            error = failed(server)
            assert isinstance(error, RequestRefused)
            assert "secrets are not sent to another URL; give the final one" in str(error)
        assert not other.log.requests
    assert {each.request.path for each in server.log.requests} == {"/token"}


def test_a_token_endpoint_is_reached_as_the_api_is() -> None:
    app = Guarded()
    with FaultServer(app, tls=True) as server:
        error = failed(server)
        assert isinstance(error, PermanentError)
        assert f"{HERE}: requesting a token from {server.url}: the server's certificate is not trusted" in str(error)
        with authenticated(server.url, session=SessionOptions(verify=str(server.ca_file))) as client:
            client.fetch(page(1))


def test_a_token_request_takes_the_proxy_of_the_connection() -> None:
    app = Guarded()

    def proxied(request: Request) -> Reply:
        return app.tokens.oauth2(request) if request.path == "http://idp.test/token" else app(request)

    with FaultServer(proxied) as proxy:
        session = SessionOptions(proxies={"http": proxy.url})
        auth = {"token_url": "http://idp.test/token"}
        with authenticated("http://api.test", session=session, auth=auth) as client:
            client.fetch(page(1))
        assert [each.request.path for each in proxy.log.requests] == [
            "http://idp.test/token",
            "http://api.test/employees",
        ]


def test_a_form_is_a_response_too(guarded: tuple[FaultServer, Guarded]) -> None:
    server, app = guarded
    app.tokens.good = False
    body = b"access_token=none+that+is+told&expires_in=3600"
    server.faults = at_token(Given(200, body, "application/x-www-form-urlencoded"))
    with authenticated(server.url) as client:
        client.fetch(page(1))


def test_a_token_that_http_cannot_carry(guarded: tuple[FaultServer, Guarded]) -> None:
    server, _ = guarded
    server.faults = at_token(Given(200, json.dumps({"access_token": "token-number\n1"}).encode()))
    error = failed(server)
    assert isinstance(error, PermanentError)
    assert "the name or value of 'Authorization' contains characters that HTTP headers cannot carry" in str(error)


@BOTH
def test_nothing_shows_a_secret(
    guarded: tuple[FaultServer, Guarded], kind: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    server, app = guarded
    caplog.set_level(logging.DEBUG)
    said = {"token": CLIENT_SECRET if kind else f"{CLIENT_SECRET} {BASIC}", "page": f"{CLIENT_SECRET} token-number-1"}
    faults = [HtmlOK(), ServerError(), StallInBody(), Given(200, b'{"a": 1}'), RetryLater("1000")]
    for place in ("token", "page"):
        echoes = [Given(status, said[place].encode()) for status in (200, 400, 401, 403, 503)]
        for fault in (*echoes, *faults):
            server.faults = lambda request, nth, fault=fault, place=place: (
                fault if (request.path in ("/token", "/login")) == (place == "token") else None
            )
            query = {"auth": {**kind.get("auth", {}), "query_param": "t0ken"}} if place == "page" else {}
            with authenticated(server.url, **{**kind, **query}, timeouts=short(page=0.5)) as client:
                outcome = Calls(client.fetch, [page(1)]).join()[0]
            assert isinstance(outcome, PaginatedApiError)
            text = "".join(traceback.format_exception(outcome)) + repr(outcome) + caplog.text
            assert [part for part in PARTS if part in text] == [], text
            app.tokens.issued = 0
    assert "(GET " in caplog.text
