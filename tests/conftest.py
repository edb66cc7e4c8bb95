"""An Airflow of the tests' own, set up before anything imports Airflow."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

pytest_plugins = ("tests.airflow_runs",)

ROOT = Path(__file__).resolve().parents[1]


def _own_airflow() -> None:
    home = tempfile.mkdtemp(prefix="airflow-home-")
    owner = os.getpid()
    # Task processes are forked from this one and inherit the handler: only the owner may clean up.
    atexit.register(lambda: shutil.rmtree(home, ignore_errors=True) if os.getpid() == owner else None)
    for name in [name for name in os.environ if name.startswith(("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_"))]:
        del os.environ[name]
    os.environ["AIRFLOW_HOME"] = home
    os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(ROOT / "dags")
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"


_own_airflow()
