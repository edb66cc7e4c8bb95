"""kill -9 at random moments: what is visible is absent or complete, and the retry is exact."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.sinks.conftest import Lake
from tests.sinks.test_publish import leftovers, visible
from tests.sinks.victim import api_of

ROOT = Path(__file__).resolve().parents[2]


class Victim:
    """The process that forks; see ``tests.sinks.victim``."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.sinks.victim"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, root: str, path: str, version: int, kill_after: float | None) -> int:
        """Run a child, kill it after so many seconds, and return its status."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(root, path, version, file=self._process.stdin, flush=True)
        pid = int(self._process.stdout.readline())
        if kill_after is not None:
            time.sleep(kill_after)
            # It may have ended: its parent has not waited for another child since, so the id is not in use again.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture
def victim() -> Iterator[Victim]:
    victim = Victim()
    yield victim
    victim.close()


def seconds(victim: Victim, root: str, path: str) -> float:
    started = time.monotonic()
    assert victim.run(root, path, 0, None) == 0
    return time.monotonic() - started


@pytest.mark.parametrize("path", ["out/", "out/e.jsonl"])
@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_kill_at_random_moments(local: Lake, victim: Victim, path: str, kills: int) -> None:
    chance = random.Random(f"{path}{kills}")
    usual = min(seconds(victim, local.root, path) for _ in range(3))
    done, version = 0, 1
    while done < kills:
        status = victim.run(local.root, path, version, chance.uniform(0, 1.3 * usual))
        done += status == signal.SIGKILL
        assert status in (0, signal.SIGKILL)
        assert visible(local, path) in (api_of(version - 1).lines(), api_of(version).lines())
        if status == 0:
            assert visible(local, path) == api_of(version).lines()
            assert leftovers(local, path) == set()
            version += 1
    assert victim.run(local.root, path, version, None) == 0
    assert visible(local, path) == api_of(version).lines()
    assert leftovers(local, path) == set()
