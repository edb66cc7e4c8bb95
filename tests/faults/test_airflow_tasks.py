"""Tasks under a real supervisor that are told to end: never success, nothing left behind, and the next try goes on."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.collect.disk import leftovers, proved, published
from tests.faults.supervised import Ended, Supervisor
from tests.servers import Fault, FaultServer, PagedApi, Request, StallInBody

API = PagedApi(rows=1_000, page_size=10)
PATIENCE = 60.0
SECONDS = 5.0
"""Within which a task must have ended when it is told to; then Airflow kills it."""


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    with Supervisor(tmp_path_factory.mktemp("airflow")) as supervisor:
        yield supervisor


class Hang:
    """A schedule under which page 40 stalls, until it is healed; ``reached`` once it was asked for."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.healed = False

    def __call__(self, request: Request, nth: int) -> Fault | None:
        if self.healed or request.parameters().get("page") != "40":
            return None
        self.reached.set()
        return StallInBody(seconds=600)


def check_the_end(airflow: Supervisor, ended: Ended, target: Path) -> None:
    """Check that the process ended by itself, that the task has not succeeded, and that nothing is left."""
    assert ended.exit_code != -signal.SIGKILL
    assert ended.state in {"failed", "up_for_retry"}
    assert published(f"{target}/") is None
    assert list(target.rglob("*.tmp")) == []
    assert list(airflow.folder("tmp").iterdir()) == []


def check_the_next_try(airflow: Supervisor, dag: str, target: Path, least: int) -> None:
    airflow.start(dag)
    ended = airflow.ended()
    assert ended.state == "success", ended.log
    assert ended.result["resumed_pages"] >= least
    assert proved(f"{target}/") == API.reference()
    assert leftovers(f"{target}/") == set()


def waited(ended: Ended, since: float) -> float:
    """Return how many seconds after a moment (of the epoch) the task failed."""
    return ended.at("Task failed with exception") - since


@pytest.mark.fault("K1")
@pytest.mark.parametrize("how", ["the worker is shut down", "the task is marked failed"])
def test_told_to_end(airflow: Supervisor, how: str, tmp_path: Path) -> None:
    hang, target, dag = Hang(), tmp_path / "out", f"told_{len(how)}"
    shut_down = how == "the worker is shut down"
    with FaultServer(API, hang) as server:
        airflow.write(dag, server.url, sink=f"{target}/", retries=3)
        airflow.start(dag)
        assert hang.reached.wait(PATIENCE)
        told = time.time()
        if shut_down:
            airflow.terminate()
        else:
            airflow.mark("failed")
        ended = airflow.ended()
        if not shut_down:
            # It learns of the mark by its next heartbeat.
            told = ended.at("Server indicated the task shouldn't be running anymore. Terminating process")
        assert waited(ended, told) < SECONDS
        assert ended.state == ("up_for_retry" if shut_down else "failed")
        assert ended.errors[0] == ("Cancelled", "the run was told to stop")
        check_the_end(airflow, ended, target)
        hang.healed = True
        # Page 40 is asked for when 8 pages have landed: 8 workers run ahead by 32.
        check_the_next_try(airflow, dag, target, least=8)


@pytest.mark.fault("K2")
def test_before_its_timeout_a_task_ends_in_order(airflow: Supervisor, tmp_path: Path) -> None:
    hang, target = Hang(), tmp_path / "out"
    with FaultServer(API, hang) as server:
        airflow.write("slow", server.url, sink=f"{target}/", execution_timeout=6)
        airflow.start("slow")
        assert hang.reached.wait(PATIENCE)
        ended = airflow.ended()
        ((kind, text),) = ended.errors
        assert kind == "RunTimeout"
        assert "(3 s of execution_timeout=6 s)" in text
        assert "39 pages with 390 rows are stored, and the next try resumes from there" in text
        check_the_end(airflow, ended, target)
        hang.healed = True
        check_the_next_try(airflow, "slow", target, least=39)


@pytest.mark.fault("K2")
def test_a_timeout_ends_what_hangs(airflow: Supervisor, tmp_path: Path) -> None:
    target = tmp_path / "out"
    # Few pages: they shall be there before half of the timeout is over.
    with FaultServer(replace(API, page_size=250)) as server:
        # Its function of a row hangs: only Airflow's own timeout ends that.
        airflow.write("stuck", server.url, sink=f"{target}/", execution_timeout=5, hangs=True)
        airflow.start("stuck")
        ended = airflow.ended()
        assert waited(ended, ended.at("Worker startup parse complete")) < 5 + SECONDS
        assert [kind for kind, _ in ended.errors] == ["AirflowTaskTimeout"]
        check_the_end(airflow, ended, target)
        airflow.write("stuck", server.url, sink=f"{target}/")
        check_the_next_try(airflow, "stuck", target, least=4)


@pytest.mark.fault("O5")
def test_more_rows_than_an_xcom_may_have(airflow: Supervisor) -> None:
    larger = PagedApi(rows=20_000, page_size=10)
    with FaultServer(larger) as server:
        airflow.write("xcom", server.url, sink="xcom", limits={"xcom_bytes": 10_000})
        airflow.start("xcom")
        ended = airflow.ended()
        requests = server.log.summary().requests
    # No retry would mend it.
    assert (ended.state, ended.result) == ("failed", None)
    assert "xcom_bytes" in ended.errors[0][1]
    assert "FileSink" in ended.errors[0][1]
    assert requests < 200
