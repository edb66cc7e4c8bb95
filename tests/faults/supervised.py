"""Tasks of a real Airflow, each in a process of its own, seen from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

ROOT: Final = Path(__file__).resolve().parents[2]
DAG: Final = """
import json, time
from datetime import timedelta
from airflow.sdk import DAG
from airflow_paginated.operators.paginated_api import PaginatedApiOperator

given = json.loads({given!r})
if "execution_timeout" in given:
    given["execution_timeout"] = timedelta(seconds=given["execution_timeout"])
if given.pop("hangs", False):
    given["row_map"] = lambda row: time.sleep(600)
with DAG({dag!r}, schedule=None):
    PaginatedApiOperator(
        task_id="collect",
        endpoint="/employees",
        pagination={{"type": "page_number", "total_path": "meta.total"}},
        data_selector="data",
        **{{"retries": 1, **given}},
    )
"""


@dataclass(frozen=True)
class Ended:
    """How the process of a task ended: its exit code, the task's state, what it returned, and its log."""

    exit_code: int
    state: str
    result: Any
    log: list[dict[str, Any]]

    def at(self, event: str) -> float:
        """Return when this was logged, in seconds since 1970."""
        (line,) = (line for line in self.log if line["event"] == event)
        return datetime.fromisoformat(line["timestamp"]).timestamp()

    @property
    def errors(self) -> list[tuple[str, str]]:
        """Type and text of the exceptions in the log."""
        return [
            (each["exc_type"], str(each["exc_value"])) for line in self.log for each in line.get("error_detail", ())
        ]


class Supervisor:
    """A process that runs tasks, one after the other, as ``tests.faults.airflow_process`` does."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._error_log = home / "errors.log"

    def __enter__(self) -> Self:
        self.folder("dags")
        self._errors = self._error_log.open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.airflow_process", str(self._home)],
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(self.folder("tmp"))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        assert self._read() == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._errors.close()

    def folder(self, name: str) -> Path:
        """Return a folder in the home, which is made if it is not there."""
        path = self._home / name
        path.mkdir(exist_ok=True)
        return path

    def write(self, dag: str, url: str, **arguments: Any) -> None:
        """Write a DAG of one task that collects from a URL."""
        given = {"http_conn_id": dag, **arguments}
        connection = json.dumps({"conn_type": "paginated_api", "host": url})
        text = DAG.format(dag=dag, given=json.dumps(given))
        name = f"AIRFLOW_CONN_{dag.upper()}"
        (self._home / "dags" / f"{dag}.py").write_text(f"import os\nos.environ[{name!r}] = {connection!r}\n{text}")

    def start(self, dag: str, run: str = "run-1") -> None:
        """Let the task run, in its next try."""
        self._write({"dag_id": dag, "run_id": run})

    def mark(self, state: str) -> None:
        """Change the state of the task that runs, as its user does."""
        self._write({"mark": state})

    def terminate(self) -> None:
        """Send SIGTERM to the supervisor, as whoever shuts a worker down does."""
        self._process.send_signal(signal.SIGTERM)

    def ended(self) -> Ended:
        """Wait for the end of the task."""
        answer = self._read()
        assert "error" not in answer, answer["error"]
        log = [json.loads(line) for line in answer.pop("log").splitlines()]
        return Ended(**answer, log=log)

    def _write(self, what: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._error_log.read_text()[-5_000:]
        return json.loads(line)
