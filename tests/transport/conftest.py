"""One good server for each test, and an environment without proxies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import FaultServer
from tests.transport.clients import API


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "curl_ca_bundle", "netrc"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """Return a server of 300 employees in 3 pages."""
    with FaultServer(API) as running:
        yield running
