"""Servers in processes of their own: a fault server for clients that get killed or measured, and any other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.request import ProxyHandler, Request, build_opener

from tests.servers.log import Summary

ROOT = Path(__file__).resolve().parents[2]
# Proxies of the environment must not come between a test and loopback.
_OPENER = build_opener(ProxyHandler({}))


class ChildServer:
    """Run a server by its command, which prints its port first; it ends with the block, or with this process."""

    def __init__(self, *command: str) -> None:
        self._command = command
        self.port = 0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline().strip()
        if not said.isdigit() or said == "0":
            self.__exit__()
            raise RuntimeError(f"the server did not start, it said {said!r}: {' '.join(self._command)}")
        self.port = int(said)
        return self

    def __exit__(self, *_: object) -> None:
        # communicate() closes the input, which is what the process waits for.
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    @property
    def pid(self) -> int:
        """The id of the server's process."""
        return self._process.pid

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end; plain HTTP."""
        return f"http://127.0.0.1:{self.port}"


class ServerProcess(ChildServer):
    """Run ``tests.servers.fault_server`` with this configuration."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        module = (sys.executable, "-m", "tests.servers.fault_server")
        super().__init__(*module, "--until-eof", "--config", json.dumps(config))

    def _control(self, path: str, body: bytes | None = None) -> bytes:
        with _OPENER.open(Request(self.url + path, data=body), timeout=30) as response:
            text: bytes = response.read()
        return text

    def summary(self) -> Summary:
        """Return the server's counts."""
        return Summary.from_json(self._control("/__counts__"))

    def requests(self) -> list[dict[str, Any]]:
        """Return every request that the server saw, as JSON."""
        seen: list[dict[str, Any]] = json.loads(self._control("/__log__"))
        return seen

    def reset(self) -> None:
        """Make the server forget what it saw."""
        self._control("/__reset__", b"")

    def set_faults(self, config: Any) -> None:
        """Replace the fault schedule, in the JSON form of ``schedule_from``."""
        self._control("/__faults__", json.dumps(config).encode())


def _environment() -> dict[str, str]:
    # A server runs none of the code that is measured: coverage would only slow it down.
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
