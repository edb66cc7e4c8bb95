"""Django REST framework and Django OAuth toolkit: every way in, tokens that expire, clients that are revoked."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_paginated import JsonLink, PageNumber
from airflow_paginated.core.errors import RequestRefused
from airflow_paginated.hooks.paginated_api import PaginatedApiHook
from tests.airflow_runs import Outcome
from tests.real_servers.drf_app import CLIENT_SECRET, PASSWORD, TOKEN, USER
from tests.real_servers.rows import Rows, employees, published
from tests.servers import ChildServer

Collect = Callable[..., Rows]
Connect = Callable[..., str]
PAGES: dict[str, Any] = {"pagination": PageNumber(total_path="count"), "data_selector": "results"}
ROBOT: dict[str, Any] = {"auth_type": "oauth2_client_credentials", "token_url": "/o/token/", "scope": "read"}
SESSION: dict[str, Any] = {"auth_type": "session_token", "login_endpoint": "/login/", "header_prefix": "Token"}


@pytest.fixture(scope="module")
def server() -> Iterator[ChildServer]:
    with ChildServer(sys.executable, "-m", "tests.real_servers.drf_app") as process:
        yield process


@pytest.fixture
def connected(server: ChildServer, connect: Connect) -> Connect:
    """Return a function that makes a connection to the server from its fields and its extra."""
    return lambda login, password, **extra: connect(server.url, login=login, password=password, extra=json.dumps(extra))


@pytest.fixture
def issued(server: ChildServer, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return a function that asks how many tokens clients got."""
    key = {"conn_type": "paginated_api", "host": server.url, "password": TOKEN}
    extra = {"auth_type": "api_key", "header_name": "Authorization", "header_prefix": "Token"}
    monkeypatch.setenv("AIRFLOW_CONN_COUNTER", json.dumps({**key, "extra": json.dumps(extra)}))
    hook = PaginatedApiHook("counter")

    def count() -> int:
        with hook.get_conn() as session:
            found: int = session.get(hook.url("/issued/"), timeout=30).json()
        return found

    return count


def test_basic(collect: Collect, connected: Connect) -> None:
    assert collect(connected(USER, PASSWORD), "/basic/", **PAGES) == employees()


def test_a_key_with_a_prefix(collect: Collect, connected: Connect) -> None:
    conn_id = connected("", TOKEN, auth_type="api_key", header_name="Authorization", header_prefix="Token")
    assert collect(conn_id, "/pages/", **PAGES) == employees()


@pytest.mark.parametrize("login_format", ["json", "form"])
def test_a_login(collect: Collect, connected: Connect, login_format: str) -> None:
    conn_id = connected(USER, PASSWORD, **SESSION, login_format=login_format)
    assert collect(conn_id, "/pages/", **PAGES) == employees()


@pytest.mark.parametrize("collect", [16], indirect=True)
def test_a_session_that_ends_in_mid_run_is_begun_anew(collect: Collect, connected: Connect) -> None:
    assert collect(connected(USER, PASSWORD, **SESSION), "/forgetting/", **PAGES) == employees()


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_client_credentials(collect: Collect, connected: Connect, issued: Callable[[], int], method: str) -> None:
    before = issued()
    conn_id = connected("robot", CLIENT_SECRET, **ROBOT, client_auth_method=method)
    assert collect(conn_id, "/clients/", **PAGES) == employees()
    assert issued() == before + 1


def test_client_credentials_and_links(collect: Collect, connected: Connect) -> None:
    conn_id = connected("robot", CLIENT_SECRET, **ROBOT)
    links = {"pagination": JsonLink(next_url_path="next", total_path="count"), "data_selector": "results"}
    assert collect(conn_id, "/clients/?page_size=100", **links) == employees()


def test_a_token_that_expires_in_mid_run_is_renewed_once_for_all_threads(
    connected: Connect, issued: Callable[[], int], run_operator: Callable[..., Outcome], tmp_path: Path
) -> None:
    before = issued()
    outcome = run_operator(
        http_conn_id=connected("robot", CLIENT_SECRET, **ROBOT),
        endpoint="/expiring/",
        sink=f"{tmp_path}/out/",
        max_workers=16,
        **PAGES,
    )
    assert outcome.state == "success"
    assert published(tmp_path / "out") == employees()
    assert issued() == before + 2
    assert 1 <= outcome.result["retries"] <= 16


def test_a_client_that_is_revoked_in_mid_run_fails_at_once_with_advice(
    connected: Connect, issued: Callable[[], int], run_operator: Callable[..., Outcome], tmp_path: Path
) -> None:
    before = issued()
    outcome = run_operator(
        http_conn_id=connected("revoked", CLIENT_SECRET, **ROBOT),
        endpoint="/revoking/",
        sink=f"{tmp_path}/out/",
        max_workers=16,
        retries=3,
        **PAGES,
    )
    # The tokens of a client are gone with it.
    assert issued() == before
    assert (outcome.state, outcome.try_number, len(outcome.errors)) == ("failed", 1, 1)
    assert isinstance(outcome.errors[0], AirflowFailException)
    told = str(outcome.errors[0])
    assert "connection 'test_api': requesting a token from http://127.0.0.1:" in told
    assert "401 Unauthorized, invalid_client: check login (client_id), password (client_secret)" in told
    assert not (tmp_path / "out/_manifest.json").exists()


@pytest.mark.parametrize(
    ("login", "password", "extra", "told"),
    [
        (USER, "wrong", {}, "401 Unauthorized: check the credentials on connection 'test_api'"),
        (USER, "wrong", SESSION, "logging in at http://127.0.0.1:"),
        ("robot", "wrong", ROBOT, "401 Unauthorized, invalid_client: check login (client_id)"),
        ("robot", CLIENT_SECRET, {**ROBOT, "scope": "write"}, "invalid_scope: check scope"),
        ("robot", CLIENT_SECRET, {**ROBOT, "token_url": "/nowhere/"}, "404 Not Found: check token_url"),
    ],
)
def test_what_is_wrong_is_told(connected: Connect, login: str, password: str, extra: dict[str, Any], told: str) -> None:
    hook = PaginatedApiHook(connected(login, password, **extra))
    with pytest.raises(RequestRefused) as caught:
        list(hook.rows("/basic/" if not extra else "/pages/", **PAGES))
    assert told in str(caught.value)
    assert "connection 'test_api'" in str(caught.value)
    fine, message = PaginatedApiHook(connected(login, password, **extra)).test_connection()
    assert extra == {} or (not fine and told in message)


@pytest.mark.parametrize(("login", "password", "extra"), [("robot", CLIENT_SECRET, ROBOT), (USER, PASSWORD, SESSION)])
def test_test_connection_gets_a_token(connected: Connect, login: str, password: str, extra: dict[str, Any]) -> None:
    fine, message = PaginatedApiHook(connected(login, password, **extra)).test_connection()
    assert (fine, message) == (True, "the API responded: 404 Not Found")
