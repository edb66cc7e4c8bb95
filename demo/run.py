"""The demo: collect a flaky API through Airflow, then prove that every row is there.

    python demo/run.py

Everything it writes stays in ``.demo/`` beside this folder; of the user's Airflow it reads and touches nothing.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from textwrap import shorten
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".demo"
HOME = WORK / "airflow"
DATASETS = WORK / "employees"
LOG = WORK / "airflow.log"

STARTED = time.monotonic()
LOG_LINE = re.compile(r"^\S+ \[(?P<level>\w+) *\] (?P<message>.*?) *\[(?P<logger>[\w.]+)\](?: \w+=.*)?$")
TASK_STARTS = re.compile(r"\[DAG TEST\] starting task_id=(?P<task>\S+)")
EXCEPTION = re.compile(r"^(?:\w+\.)*(?P<name>[A-Z]\w+): (?P<message>.+)")
INTERNAL = "Fault"
"""One failed attempt; in a traceback it precedes the error that it caused."""


class DemoError(Exception):
    """The demo did not end with a complete dataset."""


def say(text: str) -> None:
    """Print one line with the seconds since the start."""
    print(f"{time.monotonic() - STARTED:5.1f} s  {text}", flush=True)


def shown(path: Path) -> str:
    """Return a path as the reader sees it from the checkout."""
    return str(path.relative_to(ROOT))


@contextmanager
def child(command: list[str], env: dict[str, str], stderr: int | IO[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a child process that ends with the block, as do its own children."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=env,
        text=True,
        encoding="utf-8",
        errors="replace",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,  # Ctrl-C reaches this process alone, which then ends its children
    )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """End a child and its descendants: first with SIGTERM, then with SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(3)


def environment(api: Api | None = None) -> dict[str, str]:
    """Return the environment of the children: the user's, without the variables of the user's Airflow."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
    return kept | {
        "AIRFLOW_HOME": str(HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_EMPLOYEES_API": json.dumps(api.connection if api else {}),
        "EMPLOYEES_TARGET": str(DATASETS),
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
    }


@dataclass(frozen=True)
class Api:
    """Client of the running demo API; ignores the user's proxies."""

    url: str

    @property
    def connection(self) -> dict[str, Any]:
        """The Airflow connection to the API, as JSON."""
        parts = urlsplit(self.url)
        return {"conn_type": "paginated_api", "schema": parts.scheme, "host": parts.hostname, "port": parts.port}

    def get(self, path: str) -> Any:
        """Return the JSON response of a path."""
        with build_opener(ProxyHandler({})).open(self.url + path, timeout=10) as response:
            return json.load(response)


@contextmanager
def demo_api(rows: int) -> Iterator[Callable[[], Api]]:
    """Start the demo API on a free port, and yield what waits until it serves."""
    command = [sys.executable, str(ROOT / "demo" / "api.py"), "--port", "0", "--rows", str(rows)]
    with child(command, environment(), sys.stderr) as process:
        assert process.stdout is not None
        output = process.stdout

        def serving() -> Api:
            first_line = output.readline()
            if not first_line.startswith("listening on "):
                raise DemoError("the demo API did not start")
            return Api(first_line.split()[-1])

        yield serving


def airflow(arguments: list[str], api: Api | None = None) -> None:
    """Run an Airflow command to its end, show what the collector says, and keep the rest in the log file."""
    command = [sys.executable, "-m", "airflow", *arguments]
    with LOG.open("a", encoding="utf-8") as log, child(command, environment(api), subprocess.STDOUT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            if news := worth_showing(line):
                say(news)
        if process.wait() != 0:
            raise DemoError(f"airflow {' '.join(arguments)} ended with {process.returncode}; see {shown(LOG)}")


def worth_showing(line: str) -> str | None:
    """Return what a line of Airflow's log tells of the tasks' beginnings, of this package's work, or of an error."""
    if task := TASK_STARTS.search(line):
        return f"task {task['task']}"
    if (error := EXCEPTION.match(line)) and error["name"] != INTERNAL:
        return f"  {error['name']}: {error['message']}"
    match = LOG_LINE.match(line)
    if match is None:
        return None
    news = "airflow_paginated" in match["logger"] or match["level"] in ("error", "critical")
    return f"  {match['message']}" if news else None


def newest_dataset() -> Path:
    """Return the folder of the dataset that the run published."""
    manifests = sorted(DATASETS.glob("*/_manifest.json"), key=lambda path: path.stat().st_mtime)
    if not manifests:
        raise DemoError(f"nothing was published under {shown(DATASETS)}")
    return manifests[-1].parent


def rows_of(dataset: Path, manifest: dict[str, Any]) -> Iterator[bytes]:
    """Yield each row of a dataset, each file checked against the manifest."""
    for file in manifest["files"]:
        path = dataset / file["path"]
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != file["sha256"]:
                raise DemoError(f"{shown(path)} differs from its manifest")
            stream.seek(0)
            yield from stream


def retries_of(dataset: Path) -> int:
    """Return the number of failed attempts behind this dataset."""
    retries = 0
    for path in dataset.glob("_pages/*.gz"):
        with gzip.open(path, "rt", encoding="utf-8") as records:
            retries += sum(json.loads(record).get("attempts", 1) - 1 for record in records)
    return retries


def report(api: Api) -> None:
    """Show the dataset, then prove that it is complete."""
    dataset = newest_dataset()
    manifest = json.loads((dataset / "_manifest.json").read_bytes())
    faults = api.get("/stats")["faults"]
    kinds = ", ".join(f"{times} {kind}" for kind, times in faults.items())
    print(f"\ndataset   {shown(dataset)}/")
    for file in manifest["files"]:
        print(f"          {file['path']}  {file['bytes']:,} bytes")
    print(f"rows      {manifest['rows']:,} on {manifest['pages']:,} pages; the first ones:")
    for row in islice(rows_of(dataset, manifest), 3):
        print(f"          {shorten(row.decode(), 100, placeholder=' ...')}")
    print(f"faults    {sum(faults.values())} thrown by the API: {kinds}")
    print(f"retries   {retries_of(dataset)} survived")
    prove(api, dataset, manifest)


def prove(api: Api, dataset: Path, manifest: dict[str, Any]) -> None:
    """Compare the rows in the files with the API's own count; raise unless all agree."""
    numbers = [json.loads(row)["id"] for row in rows_of(dataset, manifest)]
    rows, different, counted = len(numbers), len(set(numbers)), api.get("/employees/count?active=true")["count"]
    print(f"proof     {rows:,} rows in the files, {different:,} different ids, {counted:,} by the API's own count")
    if not (manifest["complete"] and manifest["rows"] == rows == different == counted):
        raise DemoError("these numbers do not agree: the dataset is not complete")


def run(rows: int) -> None:
    """Run the whole demo."""
    shutil.rmtree(DATASETS, ignore_errors=True)
    HOME.mkdir(parents=True, exist_ok=True)
    LOG.write_text("")
    with demo_api(rows) as serving:
        say(f"Airflow creates its database in {shown(HOME)}")
        airflow(["db", "migrate"])
        api = serving()
        say(f"the demo API serves {rows:,} employees on {api.url}, slowly, and fails about every eighth request")
        say("Airflow runs dags/paginated_employees.py")
        airflow(["dags", "test", "paginated_employees"], api)
        report(api)
    print(f"\ncomplete  in {time.monotonic() - STARTED:.0f} s")


def main() -> int:
    """Run the demo and return the exit code."""
    parser = argparse.ArgumentParser(description="Collect a flaky demo API through Airflow.")
    parser.add_argument("--rows", type=int, default=50_000)
    args = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        run(args.rows)
    except DemoError as error:
        print(f"\nfailed    {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
