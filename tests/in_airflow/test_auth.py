"""Authentication as Airflow sees it: connections of the environment, logs at DEBUG, plain sessions, HttpHook's ways."""

from __future__ import annotations

import json
import logging
import os
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
import requests
from airflow.sdk.log import redact

from airflow_paginated import JsonLink, PageNumber
from airflow_paginated.core.errors import ConfigurationError, RequestRefused, TransientError
from airflow_paginated.hooks.paginated_api import PaginatedApiHook
from airflow_paginated.provider_info import get_provider_info
from airflow_paginated.transport.auth import AUTH_OPTIONS, AUTH_TYPES
from tests.airflow_runs import Outcome
from tests.servers import (
    FaultServer,
    Given,
    PagedApi,
    Redirect,
    Request,
    RetryLater,
    ServerError,
    first_of,
    on_page,
)
from tests.transport.test_auth_custom import DigestApi, Renewed
from tests.transport.test_auth_query import API as LINKED_API
from tests.transport.test_auth_query import KEY, Echo
from tests.transport.tokens import BASIC, CLIENT, CLIENT_SECRET, Guarded, Tokens

Run = Callable[..., Outcome]
Connect = Callable[..., str]
OAUTH2 = {"auth_type": "oauth2_client_credentials", "token_url": "/token", "scope": "read"}
SESSION = {"auth_type": "session_token", "login_endpoint": "/login", "session_path": "session.id"}
PAGES: dict[str, Any] = {
    "endpoint": "/employees",
    "pagination": PageNumber(total_path="meta.total"),
    "data_selector": "data",
}
SPELLED = quote_plus(CLIENT_SECRET)
SECRETS = (CLIENT_SECRET, SPELLED, BASIC, "token-number", KEY, quote_plus(KEY))


@pytest.fixture
def guarded() -> Iterator[tuple[FaultServer, Guarded]]:
    app = Guarded(api=PagedApi(rows=1_000, page_size=20))
    with FaultServer(app) as server:
        yield server, app


def robot(connect: Connect, url: str, **extra: Any) -> str:
    return connect(url, login=CLIENT, password=CLIENT_SECRET, extra=json.dumps({**OAUTH2, **extra}))


def leaks(*folders: Path, texts: tuple[str, ...] = ()) -> list[str]:
    """Return where a secret stands: in which file below the folders, or in one of the texts."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert files
    found = [str(path) for path in files if any(secret.encode() in path.read_bytes() for secret in SECRETS)]
    return found + [text for text in texts if any(secret in text for secret in SECRETS)]


def airflow_home() -> Path:
    """Return where the database and the logs are: rendered fields, XCom, and all that was written down."""
    return Path(os.environ["AIRFLOW_HOME"])


def test_a_connection_of_the_environment_leaves_no_trace(
    guarded: tuple[FaultServer, Guarded],
    run_operator: Run,
    connect: Connect,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    server, app = guarded
    app.expires_at = {25}
    flaky = first_of([on_page(10, ServerError(), times=1), on_page(30, RetryLater("0"), times=1)])
    server.faults = lambda request, nth: None if request.path == "/token" else flaky(request, nth)
    outcome = run_operator(http_conn_id=robot(connect, server.url, query_param="t"), sink=f"{tmp_path}/q/", **PAGES)
    assert outcome.state == "failed"  # that API wants its token in a header
    outcome = run_operator(http_conn_id=robot(connect, server.url), sink=f"{tmp_path}/out/", max_workers=16, **PAGES)
    assert outcome.state == "success"
    assert outcome.result["rows"] == 1_000
    assert app.tokens.issued == 4
    assert "200 OK, " in caplog.text
    assert leaks(airflow_home(), tmp_path, texts=(caplog.text, *capfd.readouterr(), *map(str, outcome.errors))) == []
    assert redact("token-number-4") == "***"


def test_a_key_in_links_leaves_no_trace(
    run_operator: Run,
    connect: Connect,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    with FaultServer(Echo(), on_page(15, Given(403, KEY.encode()))) as server:
        outcome = run_operator(
            http_conn_id=connect(
                server.url, password=KEY, extra=json.dumps({"auth_type": "api_key", "query_param": "api_key"})
            ),
            endpoint="/employees?page=1",
            pagination=JsonLink(next_url_path="links.next"),
            data_selector="data",
            sink=f"{tmp_path}/out/",
        )
    assert outcome.state == "failed"
    assert "the API says: '***'" in str(outcome.errors[0])
    assert list(tmp_path.rglob("segment-*"))
    assert LINKED_API.pages() == 20
    assert leaks(airflow_home(), tmp_path, texts=(caplog.text, *capfd.readouterr(), *map(str, outcome.errors))) == []


def test_a_hook_asks_for_one_token(guarded: tuple[FaultServer, Guarded], connect: Connect) -> None:
    server, app = guarded
    hook = PaginatedApiHook(robot(connect, server.url))
    for _ in range(3):
        assert len(list(hook.rows(**PAGES))) == 1_000
    with hook.get_conn() as session:
        assert session.get(hook.url("/employees?page=1"), timeout=10).status_code == 200
    assert app.tokens.issued == 1
    assert redact("token-number-1") == "***"


@pytest.mark.parametrize("extra", [OAUTH2, SESSION], ids=["OAuth2", "login"])
def test_plain_sessions_share_a_token_and_do_not_renew_it(
    guarded: tuple[FaultServer, Guarded], connect: Connect, extra: dict[str, str]
) -> None:
    server, app = guarded
    hook = PaginatedApiHook(connect(server.url, login=CLIENT, password=CLIENT_SECRET, extra=json.dumps(extra)))
    for number in (1, 2):
        with hook.get_conn() as session:
            answer = session.get(f"{server.url}/employees?page={number}", timeout=10)
            assert answer.json() == json.loads(app.api(Request("GET", "/employees", {"page": str(number)})).body)
    app.tokens.valid = "another"
    assert session.get(f"{server.url}/employees?page=3", timeout=10).status_code == 401
    assert (app.tokens.issued, app.refused) == (1, 1)


class Unsteady(Renewed):
    """Cannot be had at first."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if not self.token:
            raise requests.ConnectionError(CLIENT_SECRET)
        return super().__call__(request)


def test_a_plain_session_says_that_credentials_cannot_be_had(connect: Connect) -> None:
    extra = json.dumps({"auth_type": "custom", "auth_class": f"{__name__}.Unsteady"})
    with FaultServer(PagedApi()) as server:
        hook = PaginatedApiHook(connect(server.url, login=CLIENT, password=CLIENT_SECRET, extra=extra))
        with hook.get_conn() as session, pytest.raises(TransientError) as caught:
            session.get(f"{server.url}/employees?page=1", timeout=10)
    assert str(caught.value) == "connection 'test_api': no credentials could be obtained (ConnectionError)"


def test_a_plain_session_raises_what_a_token_endpoint_refuses(
    guarded: tuple[FaultServer, Guarded], connect: Connect
) -> None:
    server, app = guarded
    app.tokens.known = "another"
    hook = PaginatedApiHook(robot(connect, server.url))
    with pytest.raises(RequestRefused, match="invalid_client: check login"):
        hook.get_conn()
    fine, message = PaginatedApiHook(robot(connect, server.url)).test_connection()
    assert not fine
    assert message.startswith(f"connection 'test_api': requesting a token from {server.url}: 401 Unauthorized")
    assert CLIENT_SECRET not in message
    assert BASIC not in message


def everywhere(home: str, elsewhere: str) -> Callable[[Request, int], Any]:
    """Return faults that redirect within the own origin and away from it, with the query that was sent."""

    def fault(request: Request, nth: int) -> Any:
        query = request.target.partition("?")[2]
        to = {"/away": f"{elsewhere}/employees?page=1&{query}", "/moves": f"/stays?{query}"}.get(request.path)
        return None if request.path == "/token" else Redirect(to, 307) if to else Given(200)

    return fault


@pytest.mark.parametrize(
    "extra",
    [
        {"auth_type": "api_key"},
        {"auth_type": "api_key", "query_param": "key"},
        {"auth_type": "bearer"},
        {"auth_type": "custom", "auth_class": "tests.transport.test_auth_custom.Signature"},
        OAUTH2,
    ],
    ids=str,
)
def test_credentials_of_a_plain_session_stay_at_home(connect: Connect, extra: dict[str, str]) -> None:
    tokens = Tokens()
    with FaultServer(PagedApi()) as elsewhere, FaultServer(tokens.oauth2) as home:
        home.faults = everywhere(home.url, elsewhere.url)
        given = json.dumps({**extra, "headers": {"X-Tenant": "t-of-mine"}})
        conn_id = connect(home.url, login=CLIENT, password=CLIENT_SECRET, extra=given)
        with PaginatedApiHook(conn_id).get_conn() as session:
            for url in (f"{home.url}/moves?a=1", f"{home.url}/away", f"{elsewhere.url}/employees?page=1"):
                assert session.get(url, timeout=10).status_code == 200
        told = [f"{each.request.target} {each.request.headers}".lower() for each in elsewhere.log.requests]
        stays = [each.request for each in home.log.requests if each.request.path != "/token"]
    assert len(told) == 2
    secrets = (*SECRETS, "t-of-mine", "authorization", "signature", "signed_by")
    assert not [secret for secret in secrets for text in told if secret in text]
    assert [each.path for each in stays] == ["/moves", "/stays", "/away"]
    for each in stays:
        assert each.headers["x-tenant"] == "t-of-mine"
        carried = f"{each.target} {each.headers}"
        assert sum(carried.count(secret) for secret in (CLIENT_SECRET, SPELLED, "token-number", "x-signature")) == 1


def test_a_plain_session_answers_the_challenge_of_no_other_origin(connect: Connect) -> None:
    extra = json.dumps({"auth_type": "custom", "auth_class": "requests.auth.HTTPDigestAuth"})
    with FaultServer(DigestApi()) as elsewhere, FaultServer(DigestApi()) as home:
        home.faults = lambda request, nth: Redirect(f"{elsewhere.url}/employees?page=1", 307) if nth == 2 else None
        with PaginatedApiHook(
            connect(home.url, login=CLIENT, password=CLIENT_SECRET, extra=extra)
        ).get_conn() as session:
            assert session.get(f"{home.url}/employees?page=1", timeout=10).status_code == 401
            assert session.get(f"{home.url}/employees?page=1", timeout=10).status_code == 200
        assert ["authorization" in each.request.headers for each in elsewhere.log.requests] == [False]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"login": "ann", "password": "pw"},
        {"password": "alone"},
        {"login": "ann", "password": "pw", "extra": '{"X-Tenant": "t1", "timeout": 5, "token_url": "a header, too"}'},
        {"password": "pw", "extra": '{"Authorization": "Token abc"}'},
    ],
    ids=str,
)
def test_a_plain_http_connection_does_what_http_hook_does(connect: Connect, fields: dict[str, str]) -> None:
    from airflow.providers.http.hooks.http import HttpHook

    with FaultServer(PagedApi(rows=10)) as server:
        conn_id = connect(server.url, conn_type="http", **fields)
        HttpHook("GET", conn_id).run("/employees?page=1")
        list(PaginatedApiHook(conn_id).rows(**PAGES))
        with PaginatedApiHook(conn_id).get_conn() as session:
            session.get(f"{server.url}/employees?page=1", timeout=10)
        names = {"authorization", "x-tenant", "token_url"}
        sent = [
            {name: value for name, value in each.request.headers.items() if name in names}
            for each in server.log.requests
        ]
    assert sent[1:] == [sent[0]] * (len(sent) - 1)
    assert len(sent) >= 3


@pytest.mark.parametrize(
    ("conn_type", "fields", "told"),
    [
        ("http", {"extra": '{"auth_type": "bearer"}'}, "auth_type requires a connection of type 'paginated_api'"),
        ("paginated_api", {"extra": "[1]"}, "extra: expected a JSON object, got list"),
        ("paginated_api", {"extra": '{"token_url": "https://x/"}'}, "'token_url' goes with an auth_type: 'oauth2_"),
        (
            "paginated_api",
            {"password": "k", "extra": '{"auth_type": "api_key", "headers": {"x-api-key": "other"}}'},
            "headers sets 'x-api-key', which authentication also sets: remove one of them",
        ),
        (
            "paginated_api",
            {"login": "a", "password": "k", "extra": '{"headers": {"Authorization": "other"}}'},
            "headers sets 'Authorization', which authentication also sets: remove one of them",
        ),
    ],
)
def test_wrong_combinations_are_refused(connect: Connect, conn_type: str, fields: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _ = PaginatedApiHook(connect("http://localhost", conn_type=conn_type, **fields)).settings
    assert str(caught.value).startswith("connection 'test_api': ")
    assert told in str(caught.value)


def test_what_a_form_leaves_empty_is_not_given(connect: Connect) -> None:
    empty = {"auth_type": "", "token_url": None, "scope": "", "login_body": None, "header_name": ""}
    hook = PaginatedApiHook(connect("http://localhost", password="tok", extra=json.dumps(empty)))
    request = requests.Request("GET", "http://localhost/").prepare()
    hook.credentials.put_on(request)
    assert request.headers["Authorization"] == "Bearer tok"


def test_words_of_the_connection_that_are_no_secrets_are_not_masked(connect: Connect) -> None:
    from airflow.sdk._shared.secrets_masker import reset_secrets_masker

    # What the connections of earlier tests have masked is no matter of this one.
    reset_secrets_masker()
    login = {**SESSION, "login_format": "json", "login_endpoint": "https://idp.test/in", "header_name": "X-Session"}
    oauth2 = {**OAUTH2, "token_url": "https://idp.test/oauth2/token", "client_auth_method": "client_secret_post"}
    for extra in (login, oauth2):
        conn_id = connect("http://localhost", login=CLIENT, password=CLIENT_SECRET, extra=json.dumps(extra))
        assert PaginatedApiHook(conn_id).settings.endpoint.base_url == "http://localhost"
    text = "https://idp.test https://idp.test/in X-Session session.id header query token client_secret_post robot"
    assert redact(text) == text
    coded = b64encode(CLIENT_SECRET.encode()).decode()
    shown = str(redact(f"{CLIENT_SECRET} {quote_plus(CLIENT_SECRET)} {coded} {BASIC}"))
    assert shown.replace("=", "") == "*** *** *** ***"


def test_no_word_of_the_form_is_taken_for_a_secret() -> None:
    from airflow.sdk._shared.secrets_masker import should_hide_value_for_key

    (connection,) = get_provider_info()["connection-types"]
    fields = connection["conn-fields"]
    assert [name for name in fields if should_hide_value_for_key(name)] == ["token_url"]
    assert set(AUTH_OPTIONS) | {"auth_type"} <= set(fields)
    assert fields["auth_type"]["schema"]["enum"] == list(AUTH_TYPES)


def test_netrc_counts_for_a_plain_session_where_it_is_let_in(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login somebody password else\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))
    with FaultServer(PagedApi()) as server:
        for extra in ("{}", '{"trust_env": true}'):
            hook = PaginatedApiHook(connect(server.url, extra=extra))
            with hook.get_conn() as session:
                session.get(f"{server.url}/employees?page=1", timeout=10)
        sent = [each.request.headers.get("authorization") for each in server.log.requests]
    assert sent == [None, "Basic c29tZWJvZHk6ZWxzZQ=="]
