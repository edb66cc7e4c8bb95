"""One job, run by one contestant in a child process, and what it cost."""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Job:
    """Collect ``pages`` pages of 100 rows from ``url``, which is Airflow's connection ``conn``, into ``folder``.

    With ``chains``, they are divided among so many partitions, each of which is found page by page.
    """

    contestant: str
    url: str
    pages: int
    workers: int
    chains: int = 0
    folder: str = ""
    conn: str = "bench"

    @property
    def stores(self) -> dict[str, int]:
        """The rows of each partition."""
        return {f"{number:03d}": self.pages // self.chains * 100 for number in range(self.chains)}


@dataclass(frozen=True, slots=True)
class Result:
    """What a contestant hands in: the rows it wrote, whether they are the reference's bytes, and the pages it lost."""

    rows: int
    exact: bool
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """The cost of a job: seconds of CPU in all threads, seconds of wall time, megabytes at the peak.

    ``first`` is the wall time of a job of two pages done before it, which imports whatever is imported late.
    """

    cpu: float
    wall: float
    peak: float
    result: Result
    first: float = 0.0


def _peak_memory() -> float:
    """Return the process's peak of resident memory in MB, since it was last forgotten where the kernel can do that."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _forget_peak() -> None:
    gc.collect()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def measured(work: Callable[[], int], check: Callable[[int], Result]) -> Figures:
    """Run the work, whose return value is the number of lost pages, and check what it wrote outside of the clocks."""
    _forget_peak()
    cpu, wall = time.process_time(), time.perf_counter()
    lost = work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = _peak_memory()
    return Figures(cpu, wall, peak, check(lost))


@contextmanager
def environment(url: str) -> Iterator[dict[str, str]]:
    """Yield the variables of a child that knows one Airflow connection and has a home that goes away."""
    with TemporaryDirectory(prefix="bench-airflow-") as home:
        # Few variables: requests looks through all of them at every call, which would flatter whoever does not ask.
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        yield {**kept, "AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW_CONN_BENCH": url}


def run(job: Job) -> Figures:
    """Run the job in a child process and return its figures; the child's words appear only when it fails."""
    with environment(job.url) as variables, TemporaryDirectory(prefix="bench-out-") as folder:
        argument = json.dumps({**asdict(job), "folder": folder})
        command = [sys.executable, "-m", "benchmarks.contestants", argument]
        child = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=600)
    if child.returncode:
        raise RuntimeError(f"{job} failed:\n{child.stdout[-2000:]}\n{child.stderr[-6000:]}")
    figures = json.loads(child.stdout.splitlines()[-1])
    return Figures(**{**figures, "result": Result(**figures["result"])})
