"""A run in a process of its own, with an environment of its own, which tells how much memory it took."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.collect.running import Job
from tests.faults.endings import run

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Told:
    """How the run ended: the sink's result or the error, with its class; and what it took beside the imports."""

    result: dict[str, Any] | None
    error: str
    text: str
    grown: int
    """In bytes."""
    seconds: float


def in_child(job: Job, **environment: str) -> Told:
    """Run a job in another process, which has these variables beside those that every process needs."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "TMPDIR") if name in os.environ}
    covered = {name: each for name, each in os.environ.items() if name.startswith("COVERAGE_")}
    ended = subprocess.run(
        [sys.executable, "-m", __name__],
        cwd=ROOT,
        env={**kept, **covered, **environment},
        input=pickle.dumps(job),
        capture_output=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr.decode()
    return Told(**json.loads(ended.stdout))


def _peak() -> int:
    # The peak that getrusage tells may be that of the process before it became this one.
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def main() -> None:
    """Run the job that comes in, and print how it went."""
    job: Job = pickle.load(sys.stdin.buffer)
    before = _peak()
    ending = run(job)
    grown = _peak() - before
    name = type(ending.error).__name__ if ending.error else ""
    print(json.dumps(asdict(Told(ending.result, name, str(ending.error or ""), grown, ending.seconds))))


if __name__ == "__main__":
    main()
