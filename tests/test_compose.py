"""The compose file: complete, sound, and without secrets. Running it takes a container engine."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = ROOT / "docker-compose.yaml"
SERVICES = {
    "postgres",
    "redis",
    "demo-api",
    "airflow-init",
    "airflow-apiserver",
    "airflow-scheduler",
    "airflow-dag-processor",
    "airflow-triggerer",
    "airflow-worker",
}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return found


def test_every_service_is_there_and_watched(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == SERVICES
    assert {name for name in services if "healthcheck" not in services[name]} == {"airflow-init"}


def test_the_worker_can_be_scaled(compose: dict[str, Any]) -> None:
    assert {"container_name", "hostname", "ports"}.isdisjoint(compose["services"]["airflow-worker"])


def test_the_result_backend_names_its_driver(compose: dict[str, Any]) -> None:
    environment = compose["services"]["airflow-worker"]["environment"]
    assert environment["AIRFLOW__CELERY__RESULT_BACKEND"].startswith("db+postgresql+psycopg2://")


def test_no_secret_stands_in_the_file() -> None:
    lines = [line for line in COMPOSE.read_text().splitlines() if re.search(r"PASSWORD|SECRET|FERNET", line)]
    assert lines
    assert all(re.search(r"\$\{\w+:\?", line) for line in lines), lines


def test_every_variable_is_explained_in_the_example() -> None:
    needed = set(re.findall(r"\$\{(\w+):\?", COMPOSE.read_text()))
    explained = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert needed <= explained


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="docker-compose is not installed")
def test_docker_compose_understands_it() -> None:
    command = ["docker-compose", "--env-file", ".env.example", "config", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
