"""An Airflow of the tests' own, set up before anything imports Airflow, and how tests are dealt out to processes."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ("tests.airflow_runs", "tests.faults.matrix")

ROOT = Path(__file__).resolve().parents[1]


# The first run of a DAG in an Airflow costs as much as a hundred later ones; the others share a process that is slow to
# start.
TOGETHER: Final = (
    "tests/in_airflow/",
    "tests/faults/test_airflow_",
    "tests/faults/test_network.py",
    "tests/faults/test_wiremock.py",
)


class _Shards(LoadScopeScheduling):
    """Deals out single tests, except those that must stay together."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith("tests/real_servers/"):
            return nodeid.partition("::")[0]
        return next((scope for scope in TOGETHER if nodeid.startswith(scope)), nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Shards | None:
    """Deal out the tests in our way when several processes run them (``-n``), unless ``--dist`` asks for another."""
    return _Shards(config, log) if config.getvalue("dist") == "load" else None


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
# How long an example takes depends on what else the machine does.
# Every run draws the same examples: a run that fails can be repeated. `--hypothesis-profile=search` draws new ones.
_ANY_MACHINE: Final[dict[str, Any]] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("repeatable", derandomize=True, **_ANY_MACHINE)
settings.register_profile("search", **_ANY_MACHINE)
settings.load_profile("repeatable")
