"""The audit of the pinned versions: it fails where one is known to be vulnerable, and says where nothing is known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import FaultServer, Reply, Request
from tests.transport.clients import refusing

ROOT = Path(__file__).resolve().parents[1]


def audit(port: int) -> subprocess.CompletedProcess[str]:
    """Run the audit against a database on loopback."""
    database = f"http://127.0.0.1:{port}/v1/query"
    environment = {**os.environ, "PIP_AUDIT_OSV_URL": database, "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
    return subprocess.run([sys.executable, ".ci/audit"], cwd=ROOT, env=environment, capture_output=True, text=True)


def knowing(vulnerable: str) -> Callable[[Request], Reply]:
    """Return a database that knows one package to be vulnerable."""
    advisory = {
        "id": "GHSA-0000-0000-0000",
        "published": "2026-01-01T00:00:00Z",
        "summary": "It is.",
        "affected": [{"package": {"name": vulnerable, "ecosystem": "PyPI"}, "ranges": []}],
    }

    def app(request: Request) -> Reply:
        asked = json.loads(request.body)["package"]["name"]
        return Reply(json.dumps({"vulns": [advisory]} if asked == vulnerable else {}).encode())

    return app


@pytest.mark.parametrize(("vulnerable", "passes"), [("requests", False), ("nothing-that-is-pinned", True)])
def test_a_vulnerable_version_fails(vulnerable: str, passes: bool) -> None:
    pytest.importorskip("pip_audit", reason="pip-audit is not installed: run make")
    with FaultServer(knowing(vulnerable)) as server:
        ended = audit(server.port)
        asked = {json.loads(seen.request.body)["package"]["name"] for seen in server.log.requests}
    assert (ended.returncode == 0) is passes, ended.stderr
    assert ("GHSA-0000-0000-0000" in ended.stdout) is not passes
    assert asked >= {"requests", "urllib3", "apache-airflow", "msgspec"}


def test_a_database_that_is_not_there_is_said() -> None:
    with refusing() as port:
        ended = audit(port)
    assert ended.returncode == 0
    assert "audit: NOT AUDITED: " in ended.stdout
    assert "nothing is known of the versions in constraints.txt" in ended.stdout
