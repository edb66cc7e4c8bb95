"""What the machine says about proxies and credentials counts only where it is let in; proxies and cookies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from requests.auth import HTTPBasicAuth

from airflow_paginated.core.errors import ConfigurationError, PageFailed
from airflow_paginated.core.values import PageRequest
from airflow_paginated.transport import SessionOptions
from tests.servers import FaultServer, Given, Reply, Request, ServerError
from tests.transport.clients import API, SECRET, connect, fetch, headers_of, lines, page, refused, refusing

OPEN = SessionOptions(trust_env=True)
Netrc = Callable[..., None]


@pytest.fixture
def netrc(server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave credentials for the server where ``requests`` finds them."""
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login somebody password else\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))


def test_a_proxy_of_the_environment_is_ignored(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer(API) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        fetch(server.url)
        assert not proxy.log.requests
        assert fetch(server.url, session=OPEN).lines == lines(1)
        assert [seen.request.path for seen in proxy.log.requests] == [f"{server.url}/employees"]
    assert len(server.log.requests) == 1


def test_an_exception_of_the_environment_counts_with_its_proxies(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer(API) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        fetch(server.url, session=OPEN)
        assert not proxy.log.requests


def test_a_proxy_of_the_connection_gets_absolute_urls_and_its_own_credentials(server: FaultServer) -> None:
    with FaultServer(API) as proxy:
        session = SessionOptions(proxies={"http": proxy.url.replace("//", "//me:pass@")})
        assert fetch(server.url, page(2), session=session).lines == lines(2)
        request = proxy.log.requests[0].request
    assert (request.path, request.query["page"]) == (f"{server.url}/employees", "2")
    assert request.headers["proxy-authorization"] == "Basic bWU6cGFzcw=="
    assert not server.log.requests


def test_a_proxy_that_is_not_there_is_tried_again_even_for_a_post(server: FaultServer) -> None:
    with refusing() as port:
        session = SessionOptions(proxies={"http": f"http://me:{SECRET.replace(' ', '')}@127.0.0.1:{port}"})
        error = refused(server.url, PageRequest("employees", "POST"), session=session)
    assert isinstance(error, PageFailed)
    assert str(error).endswith("failed in 3 attempts; last cause: the proxy failed")
    assert SECRET.replace(" ", "") not in str(error)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "ftp://127.0.0.1:9", "http://"])
def test_a_proxy_that_speaks_no_http_fails_at_once(server: FaultServer, proxy: str) -> None:
    error = refused(server.url, session=SessionOptions(proxies={"http": proxy}))
    assert isinstance(error, ConfigurationError)
    assert "proxies: " in str(error)
    assert not server.log.requests


@pytest.mark.usefixtures("netrc")
def test_netrc_is_ignored(server: FaultServer) -> None:
    fetch(server.url)
    assert "authorization" not in headers_of(server)[0]


@pytest.mark.usefixtures("netrc")
def test_netrc_counts_where_the_machine_is_let_in(server: FaultServer) -> None:
    fetch(server.url, session=OPEN)
    assert headers_of(server)[0]["authorization"] == "Basic c29tZWJvZHk6ZWxzZQ=="
    server.faults = lambda request, nth: Given(403, b"not with c29tZWJvZHk6ZWxzZQ== nor somebody:else")
    assert str(refused(server.url, session=OPEN)).endswith("the API says: 'not with *** nor ***'")


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize(
    "given", [{"headers": {"authorization": "Basic bXk6b3du"}}, {"auth": HTTPBasicAuth("my", "own")}]
)
def test_netrc_never_replaces_credentials(server: FaultServer, given: dict[str, Any]) -> None:
    fetch(server.url, session=OPEN, **given)
    assert headers_of(server)[0]["authorization"] == "Basic bXk6b3du"


def test_the_bundle_of_the_environment_does_not_replace_that_of_the_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with FaultServer(API, tls=True) as server:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.ca_file))
        assert fetch(server.url, session=OPEN).count == 100
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
        session = SessionOptions(verify=str(server.ca_file), trust_env=True)
        assert fetch(server.url, session=session).count == 100


def test_cookies_are_not_kept(server: FaultServer) -> None:
    def app(request: Request) -> Reply:
        good = API(request)
        return Reply(good.body, 200, (*good.headers, ("Set-Cookie", "session=1; Path=/")))

    server.app = app
    server.faults = lambda request, nth: ServerError() if nth == 1 else None
    with connect(server.url) as client:
        for number in (1, 2, 3):
            client.fetch(page(number))
    assert not any("cookie" in headers for headers in headers_of(server))
