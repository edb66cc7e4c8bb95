"""Runs in a network of its own, where packets may be dropped: server, collection and packet filter in one process.

Each line of the input is a case, ``["lossy", {"percent": 5}]``; each line of the output says what came of it. Nothing
is sent to anything but loopback.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from airflow_paginated.core.policies import Timeouts
from airflow_paginated.transport import RequestRetry
from tests.collect.running import Job
from tests.faults.endings import run
from tests.faults.in_time import PATIENT
from tests.servers import FaultServer, PagedApi, Reply, Request
from tests.servers.server import Application

API: Final = PagedApi(rows=2_000, page_size=50)
FEW: Final = RequestRetry(max_attempts=3, backoff_factor=0.002)
AWAY: Final = "127.9.9.9"
"""An address of loopback where nobody lives."""


def tell(*command: str) -> str:
    """Run a command; what it prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def prepare() -> None:
    """Bring up loopback, with packets as small as on a real line, and a resolver that does not answer."""
    tell("ip", "link", "set", "lo", "up", "mtu", "1500")
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as resolver:
        resolver.write("nameserver 127.0.0.53\noptions timeout:1 attempts:1\n")
        resolver.flush()
        tell("mount", "--bind", resolver.name, "/etc/resolv.conf")


@contextmanager
def dropping(*match: str, target: tuple[str, ...] = ("DROP",)) -> Iterator[None]:
    """Do so with all packets that match, while the block lasts."""
    tell("iptables", "-I", "INPUT", *match, "-j", *target)
    try:
        yield
    finally:
        tell("iptables", "-F", "INPUT")


def dropped() -> int:
    """Count the packets that matched any rule."""
    rules = tell("iptables", "-nvxL", "INPUT").splitlines()[2:]
    return sum(int(rule.split()[0]) for rule in rules)


def clients_of(port: int) -> list[str]:
    """Return the ports of those who are connected to one."""
    here = rf"^ *\d+: \w+:{port:04X} \w+:(\w+) 01 "
    # A connection that moves while the list is read can stand there twice.
    return sorted({str(int(found, 16)) for found in re.findall(here, Path("/proc/net/tcp").read_text(), re.MULTILINE)})


def collected(url: str, workers: int = 4, **client: Any) -> dict[str, Any]:
    """Collect, and say how it ended."""
    with tempfile.TemporaryDirectory() as folder:
        ending = run(Job(url=url, path=f"{folder}/out/", workers=workers, client=client))
    return {
        "exact": ending.visible == API.reference(),
        "visible": ending.visible is not None,
        "error": None if ending.error is None else [type(ending.error).__name__, str(ending.error)],
        "seconds": ending.seconds,
        "retries": (ending.result or {}).get("retries"),
    }


def lossy(percent: int) -> dict[str, Any]:
    """Lose so many of the packets in both directions."""
    chance = ("-m", "statistic", "--mode", "random", "--probability", str(percent / 100))
    with FaultServer(API) as server, dropping("-p", "tcp", *chance):
        return {**collected(server.url), "dropped": dropped()}


@dataclass
class FallsSilent:
    """An API whose connections, all that are open when page 5 is asked for, go dead just before its answer."""

    port: int = 0
    dead: tuple[str, ...] = ()

    def __call__(self, request: Request) -> Reply:
        if request.query["page"] == "5" and not self.dead:
            self.dead = tuple(clients_of(self.port))
            match = ("-m", "multiport", "--sports", ",".join(self.dead))
            tell("iptables", "-I", "INPUT", "-p", "tcp", "--dport", str(self.port), *match, "-j", "DROP")
        return API(request)


def silent(workers: int) -> dict[str, Any]:
    """Let what the client sends on its connections get lost, from one moment on, without a word."""
    app = FallsSilent()
    with FaultServer(app) as server:
        app.port = server.port
        timeouts = Timeouts(read=0.5)
        said = collected(server.url, workers, timeouts=timeouts, retry=PATIENT)
        said |= {"dead": len(app.dead), "dropped": dropped(), "connections": server.log.summary().connections}
        tell("iptables", "-F", "INPUT")
    return said


def rejected(answer: str) -> dict[str, Any]:
    """Refuse connections with a reset or an ICMP message."""
    with dropping("-d", AWAY, "-p", "tcp", target=("REJECT", "--reject-with", answer)):
        return {**collected(f"http://{AWAY}:8080", retry=FEW), "dropped": dropped()}


def swallowed() -> dict[str, Any]:
    """Drop whatever is sent to the host."""
    with dropping("-d", AWAY):
        timeouts = Timeouts(connect=0.2)
        return {**collected(f"http://{AWAY}:8080", retry=FEW, timeouts=timeouts), "dropped": dropped()}


def routed(kind: str) -> dict[str, Any]:
    """Have a route to the host that leads nowhere."""
    tell("ip", "route", "add", kind, f"{AWAY}/32", "table", "local")
    try:
        return collected(f"http://{AWAY}:8080", retry=FEW)
    finally:
        tell("ip", "route", "del", kind, f"{AWAY}/32", "table", "local")


def unnamed(silently: bool) -> dict[str, Any]:
    """Have nobody who resolves a name; or somebody who is asked, and never answers."""
    match = ("-p", "udp", "--dport", "53")
    target = ("DROP",) if silently else ("REJECT", "--reject-with", "icmp-port-unreachable")
    with dropping(*match, target=target):
        return {**collected("http://hr.api.test:8080", retry=FEW), "dropped": dropped()}


def refused_by_turns() -> dict[str, Any]:
    """Refuse every other connection."""
    match = ("-p", "tcp", "--syn", "-m", "statistic", "--mode", "nth", "--every", "2", "--packet", "0")
    with FaultServer(closing(API)) as server, dropping(*match, target=("REJECT", "--reject-with", "tcp-reset")):
        return {**collected(server.url, retry=PATIENT), "dropped": dropped()}


def closing(app: Application) -> Application:
    """Let each connection end with its answer."""

    def close(request: Request) -> Reply:
        reply = app(request)
        return Reply(reply.body, reply.status, (*reply.headers, ("Connection", "close")))

    return close


CASES: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    each.__name__: each for each in (lossy, silent, rejected, swallowed, routed, unnamed, refused_by_turns)
}


if __name__ == "__main__":
    prepare()
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(CASES[name](**arguments)), flush=True)
