"""Servers that are not there, or not who they should be."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_paginated.core.errors import ConfigurationError, PageFailed, PermanentError
from airflow_paginated.transport import SessionOptions
from tests.servers import FaultServer, ResetOnReuse, on_page
from tests.servers.tls import self_signed
from tests.transport.clients import API, ONCE, connect, fetch, lines, page, raw_server, refused, refusing


@pytest.fixture(scope="module")
def tls() -> Iterator[FaultServer]:
    with FaultServer(API, tls=True) as running:
        yield running


def trusting(server: FaultServer) -> SessionOptions:
    return SessionOptions(verify=str(server.ca_file))


def test_a_refused_connection_is_tried_again_and_names_the_host() -> None:
    with refusing() as port:
        error = refused(f"http://127.0.0.1:{port}")
    assert isinstance(error, PageFailed)
    assert f"(GET http://127.0.0.1:{port}/employees?" in str(error)
    assert "failed in 3 attempts; last cause: no connection (ConnectionRefusedError): is the API up" in str(error)


def test_a_name_that_does_not_resolve_is_tried_again_and_named() -> None:
    error = refused("http://no-such-host.invalid")
    assert isinstance(error, PageFailed)
    assert "http://no-such-host.invalid/employees" in str(error)
    assert str(error).endswith("failed in 3 attempts; last cause: the host name does not resolve")


def test_a_name_with_an_empty_label_is_no_name() -> None:
    error = refused("http://a..b")
    assert isinstance(error, PermanentError)
    assert "the host name is not valid" in str(error)


def test_the_second_address_of_a_name_is_tried(server: FaultServer) -> None:
    # localhost is ::1 first on many machines, where the server does not listen.
    assert fetch(f"http://localhost:{server.port}").lines == lines(1)


def test_a_certificate_that_is_trusted(tls: FaultServer) -> None:
    assert fetch(tls.url, session=trusting(tls)).lines == lines(1)


def test_a_directory_of_certificates(tls: FaultServer, tmp_path: Path) -> None:
    pem = tls.ca_file.read_text()
    context = ssl.create_default_context(cadata=pem)
    assert context.cert_store_stats()["x509_ca"] >= 1
    error = refused(tls.url, session=SessionOptions(verify=str(tmp_path)))  # an empty one trusts nobody
    assert isinstance(error, PermanentError)


@pytest.mark.parametrize("verify", [True, None])
def test_a_certificate_that_is_not_trusted_fails_at_once(tls: FaultServer, verify: bool | None, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(self_signed(["127.0.0.1"])[0])
    before = len(tls.log.requests)
    error = refused(tls.url, session=SessionOptions(verify=verify or str(other)))
    assert isinstance(error, PermanentError)
    assert str(error).startswith(f"page 1 (GET {tls.url}/employees?")
    assert "the server's certificate is not trusted" in str(error)
    assert len(tls.log.requests) == before


def test_a_certificate_of_another_name_fails_at_once() -> None:
    with FaultServer(API, tls=True, tls_names=("other.test",)) as server:
        error = refused(server.url, session=trusting(server))
        assert "the server's certificate is not trusted" in str(error)
        assert not server.log.requests


def test_verification_can_be_turned_off(tls: FaultServer, recwarn: pytest.WarningsRecorder) -> None:
    with pytest.warns(Warning, match="Unverified HTTPS request"):
        assert fetch(tls.url, session=SessionOptions(verify=False)).lines == lines(1)


def test_a_server_that_speaks_no_tls_is_bounded() -> None:
    with raw_server(lambda peer: peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        error = refused(f"https://127.0.0.1:{port}")
    assert isinstance(error, PageFailed)
    assert "failed in 3 attempts; last cause: the connection broke (SSLError)" in str(error)


def test_a_tls_connection_that_died_while_it_was_idle_is_free(tls: FaultServer) -> None:
    tls.faults = on_page(1, ResetOnReuse())
    with connect(tls.url, session=trusting(tls), retry=ONCE) as client:
        client.fetch(page(1))
        assert client.fetch(page(2)).attempts == 2


@pytest.mark.parametrize("given", [{"verify": "/no/ca.pem"}, {"cert": "/no/c.pem"}, {"cert": ("/no/c.pem", "/no/k")}])
def test_a_file_that_is_not_there_fails_at_once(server: FaultServer, given: dict[str, str]) -> None:
    error = refused(server.url, session=SessionOptions(**given))  # type: ignore[arg-type]
    assert isinstance(error, ConfigurationError)
    assert f"{next(iter(given))}: there is no file or directory '/no/c" in str(error)
    assert not server.log.requests


def test_a_client_certificate_is_sent(tls: FaultServer, tmp_path: Path) -> None:
    certificate, key = self_signed(["client"])
    pair = tmp_path / "client.pem"
    pair.write_bytes(certificate + key)
    assert fetch(tls.url, session=SessionOptions(verify=str(tls.ca_file), cert=str(pair))).count == 100
