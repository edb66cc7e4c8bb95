"""Faults of the network itself, by the packet filter and the routes of a network that is the test's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.servers.process import ROOT

OWN: Final = ("unshare", "--net", "--mount")
TRIAL: Final = (
    "ip link set lo up"
    " && iptables -A INPUT -p tcp -m statistic --mode random --probability 0.5 -j DROP"
    " && iptables -A INPUT -p tcp -m multiport --sports 1,2 -j REJECT --reject-with tcp-reset"
    " && mount --bind /dev/null /etc/resolv.conf"
)
PATIENCE: Final = 120.0
Case = Callable[..., dict[str, Any]]
Record = Callable[[str, object], None]


def missing() -> str:
    """Say why there can be no network of our own here, or nothing."""
    absent = [tool for tool in ("unshare", "ip", "iptables", "mount") if shutil.which(tool) is None]
    if absent:
        return f"{', '.join(absent)} not there (Debian: apt-get install iproute2 iptables)"
    if os.geteuid() != 0:
        return "only root may have a network of its own"
    trial = subprocess.run([*OWN, "sh", "-c", TRIAL], capture_output=True, text=True)
    return "" if trial.returncode == 0 else f"no network of its own: {trial.stderr.strip().splitlines()[-1:]}"


@pytest.fixture(scope="module")
def network() -> Iterator[Case]:
    """Run a case of ``tests/faults/network.py``, and return what came of it."""
    if why := missing():
        pytest.skip(why)
    command = [*OWN, sys.executable, "-m", "tests.faults.network"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def case(name: str, **arguments: Any) -> dict[str, Any]:
            alarm = threading.Timer(PATIENCE, process.kill)
            alarm.start()
            process.stdin.write(json.dumps([name, arguments]) + "\n")
            process.stdin.flush()
            said = process.stdout.readline()
            alarm.cancel()
            assert said, f"{name}: it broke down, or took longer than {PATIENCE} s"
            return json.loads(said)  # type: ignore[no-any-return]

        # Leaving the block closes the input, which is what the process waits for.
        yield case


@pytest.mark.fault("T11")
@pytest.mark.parametrize("workers", [1, 4])
def test_idle_connections_die_silently(network: Case, workers: int, record_property: Record) -> None:
    said = network("silent", workers=workers)
    assert said["exact"], said
    # A request on each of those that are used again gets lost, and is sent on a new connection.
    assert said["retries"] >= 1
    assert said["connections"] > said["dead"] >= 1
    assert said["dropped"] >= 1
    record_property("runs", said["dead"])


@pytest.mark.fault("T13")
@pytest.mark.parametrize("percent", [5, 10])
def test_packets_are_lost(network: Case, percent: int, record_property: Record) -> None:
    said = network("lossy", percent=percent)
    assert said["exact"], said
    assert said["dropped"] > 0
    record_property("runs", said["dropped"])


NO_CONNECTION: Final = "no connection ({}): is the API up, and are the connection's host and port right?"
TIMEOUT: Final = "connecting took longer than timeouts.connect"
UNREACHABLE: Final = NO_CONNECTION.format("OSError: No route to host")
NOBODY: Final[dict[str, tuple[str, dict[str, Any], str]]] = {
    "refused": ("rejected", {"answer": "tcp-reset"}, NO_CONNECTION.format("ConnectionRefusedError")),
    "unreachable": ("rejected", {"answer": "icmp-host-unreachable"}, UNREACHABLE),
    "prohibited": ("rejected", {"answer": "icmp-admin-prohibited"}, UNREACHABLE),
    "swallowed": ("swallowed", {}, TIMEOUT),
    "no route": ("routed", {"kind": "unreachable"}, UNREACHABLE),
    "blackhole": ("routed", {"kind": "blackhole"}, NO_CONNECTION.format("OSError: Invalid argument")),
}


@pytest.mark.fault("T14")
@pytest.mark.parametrize("how", NOBODY)
def test_nobody_is_there(network: Case, how: str) -> None:
    name, arguments, cause = NOBODY[how]
    said = network(name, **arguments)
    assert not said["visible"]
    assert said["error"] == [
        "PageFailed",
        f"page 1 (GET http://127.9.9.9:8080/employees?page=1) failed in 3 attempts; last cause: {cause}",
    ]
    assert said.get("dropped", 3) >= 3


@pytest.mark.fault("T14")
@pytest.mark.parametrize("silently", [False, True], ids=["refused", "silent"])
def test_nobody_resolves_the_name(network: Case, silently: bool) -> None:
    said = network("unnamed", silently=silently)
    assert not said["visible"]
    assert said["error"] == [
        "PageFailed",
        "page 1 (GET http://hr.api.test:8080/employees?page=1) failed in 3 attempts;"
        " last cause: the host name does not resolve",
    ]
    assert said["dropped"] >= 3


@pytest.mark.fault("T14")
def test_every_other_connection_is_refused(network: Case, record_property: Record) -> None:
    said = network("refused_by_turns")
    assert said["exact"], said
    assert said["retries"] == said["dropped"] > 0
    record_property("runs", said["dropped"])
