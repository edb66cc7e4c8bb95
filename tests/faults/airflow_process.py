"""Tasks as an executor runs them: ``python -m tests.faults.airflow_process HOME``.

Each line of the input is JSON. ``{"dag_id": ID, "run_id": ID}`` lets the task of that run be run (again), in a process
of its own under Airflow's supervisor, which talks to the execution API with its routes and database; the answer is JSON
in a line, when the process has ended. ``{"mark": STATE}`` meanwhile does to the task what the UI does.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TextIO


def settle(home: Path) -> None:
    """Let Airflow live in a home of its own. To be called before anything imports Airflow."""
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # A supervisor learns by its heartbeat that its task should not run any more.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    }


def prepare() -> None:
    """Make the database."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.utils.db import initdb

    initdb()
    DagBundlesManager().sync_bundles_to_db()


def queued(dag_id: str, run_id: str) -> Any:
    """Return the task instance of a run, made where it is not there, as a scheduler leaves it to an executor."""
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
    from airflow.models.dagrun import DagRun, get_or_create_dagrun
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState
    from airflow.utils.types import DagRunTriggeredByType

    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    bag = BundleDagBag(dag_folder=folder / f"{dag_id}.py", bundle_path=folder, bundle_name="dags-folder")
    sync_bag_to_db(bag, "dags-folder", None)
    with create_session() as session:
        run = session.query(DagRun).filter_by(dag_id=dag_id, run_id=run_id).one_or_none()
        if run is None:
            serialized = SerializedDagModel.get(dag_id, session=session)
            assert serialized is not None, bag.import_errors
            now = datetime.now(UTC)
            run = get_or_create_dagrun(
                dag=serialized.dag,
                run_id=run_id,
                logical_date=None,
                data_interval=None,
                run_after=now,
                conf=None,
                triggered_by=DagRunTriggeredByType.TEST,
                triggering_user_name="test",
                start_date=now,
                session=session,
            )
        ti = run.get_task_instance("collect", session=session)
        assert ti is not None
        ti.try_number += 1
        ti.state = TaskInstanceState.QUEUED
        session.flush()
        session.expunge(ti)
        return ti


def mark(dag_id: str, run_id: str, state: str | None = None) -> str:
    """Return the state of the task, having changed it."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState

    with create_session() as session:
        ti = session.query(TaskInstance).filter_by(dag_id=dag_id, run_id=run_id, task_id="collect").one()
        if state is not None:
            ti.set_state(TaskInstanceState(state), session=session)
        return str(ti.state)


def supervised(given: dict[str, Any], home: Path) -> dict[str, Any]:
    """Run a task in its process and return how that ended."""
    from airflow.executors.workloads import BundleInfo
    from airflow.executors.workloads.task import TaskInstanceDTO
    from airflow.models.xcom import XComModel
    from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor, supervise_task
    from airflow.utils.session import create_session

    ti = queued(**given)
    log = home / "logs" / f"{ti.id}-{ti.try_number}.log"
    # The execution API itself, its routes and its database; only the socket to it is left out.
    client = InProcessTestSupervisor._api_client()
    exit_code = supervise_task(
        ti=TaskInstanceDTO.model_validate(ti, from_attributes=True),
        bundle_info=BundleInfo(name="dags-folder"),
        dag_rel_path=f"{given['dag_id']}.py",
        token="",
        client=client,
        log_path=str(log),
    )
    with create_session() as session:
        found = session.query(XComModel).filter_by(dag_id=ti.dag_id, run_id=ti.run_id, key="return_value").one_or_none()
        result = None if found is None else found.value
    return {"exit_code": exit_code, "state": mark(**given), "result": result, "log": log.read_text()}


def serve(home: Path, answers: TextIO) -> None:
    """Do what the lines say, until the input is closed."""
    runs: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
    latest: dict[str, Any] = {}

    def listen() -> None:
        for line in sys.stdin:
            given = json.loads(line)
            if "mark" in given:
                mark(**latest, state=given["mark"])
            else:
                latest.update(given)
                runs.put(given)
        runs.put(None)

    threading.Thread(target=listen, daemon=True).start()
    while given := runs.get():
        try:
            answer = supervised(given, home)
        except Exception:  # noqa: BLE001  # told to the test
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    home = Path(sys.argv[1])
    settle(home)
    answers = sys.stdout
    # Airflow logs to the output, where only answers are to be.
    with redirect_stdout(sys.stderr):
        prepare()
        print(json.dumps("ready"), file=answers, flush=True)
        serve(home, answers)


if __name__ == "__main__":
    main()
