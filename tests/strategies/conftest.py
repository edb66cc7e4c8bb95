"""Fixtures of the strategy tests."""

from __future__ import annotations

import pytest

from tests.strategies.collecting import Collect


@pytest.fixture
def collect(monkeypatch: pytest.MonkeyPatch) -> Collect:
    """Serve an API and collect it through the hook."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return Collect(monkeypatch)
