"""The example DAGs, run by Airflow against the demo API."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

ROOT = Path(__file__).resolve().parents[2]
ROWS = 2_000


@pytest.fixture(scope="module")
def demo_api() -> Iterator[str]:
    """Run the demo API in a process of its own and yield its URL."""
    command = [sys.executable, "demo/api.py", "--port", "0", "--rows", str(ROWS), "--latency-ms", "1", "5"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().rpartition(" ")[2].strip()
        process.terminate()


@pytest.fixture
def example_dags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, demo_api: str) -> dict[str, DAG]:
    """Import the example DAGs with a target and a connection of the test's own."""
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("EMPLOYEES_TARGET", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_CONN_EMPLOYEES_API", json.dumps({"conn_type": "paginated_api", "host": demo_api}))
    bag = DagBag(dag_folder=ROOT / "dags")
    assert bag.import_errors == {}
    return dict(bag.dags)


def test_all_examples_are_here(example_dags: dict[str, DAG]) -> None:
    assert set(example_dags) == {"paginated_employees", "paginated_payroll"}


def test_employees_are_collected_and_checked(
    example_dags: dict[str, DAG], run_dag: Callable[..., Any], tmp_path: Path
) -> None:
    run = run_dag(example_dags["paginated_employees"])
    assert str(run.state) == "success"
    checked = run.get_task_instance("check").xcom_pull(task_ids="check", run_id=run.run_id)
    (manifest,) = tmp_path.glob("*/_manifest.json")
    published = json.loads(manifest.read_text())
    assert checked["rows"] == published["rows"] > ROWS * 0.8
    assert published["complete"] is True


def test_payroll_is_exact_to_the_cent(example_dags: dict[str, DAG], run_dag: Callable[..., Any]) -> None:
    run = run_dag(example_dags["paginated_payroll"])
    assert str(run.state) == "success"
    payroll = run.get_task_instance("payroll").xcom_pull(task_ids="payroll", run_id=run.run_id)
    departments = run.get_task_instance("departments").xcom_pull(task_ids="departments", run_id=run.run_id)
    assert set(payroll) == {each["name"] for each in departments}
    assert all(-Decimal(total).as_tuple().exponent == 2 for total in payroll.values())  # type: ignore[operator]
