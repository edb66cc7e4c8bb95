"""Airflow's own API server with variables: ``python -m tests.real_servers.airflow_app``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

from tests.real_servers.child import serve_until_eof
from tests.real_servers.rows import employees

CREDENTIALS = {"username": "ann", "password": "of no use to anybody"}
RUNNING = re.compile(r"running on http://127\.0\.0\.1:(\d+)")


def variables() -> list[dict[str, Any]]:
    """Return the variables as the API shows them: one for each employee, who is its value."""
    return [
        {
            "key": f"employee_{row['id']}",
            "value": json.dumps(row),
            "description": row["name"],
            "is_encrypted": True,
            "team_name": None,
        }
        for row in employees()
    ]


def settle(home: Path) -> None:
    """Let Airflow live in a home of its own, with one user. To be called before anything imports Airflow."""
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps({CREDENTIALS["username"]: CREDENTIALS["password"]}))
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{CREDENTIALS['username']}:admin",
    }


def fill() -> None:
    """Make the database and the variables."""
    from airflow.models import Variable
    from airflow.utils.db import initdb
    from airflow.utils.session import create_session

    initdb()
    with create_session() as session:
        session.add_all(Variable(each["key"], each["value"], each["description"]) for each in variables())


def shown(log: Iterable[str]) -> Iterator[str]:
    """Pass the server's log on, for whoever has to find out why a test failed."""
    for line in log:
        sys.stderr.write(line)
        yield line


def serve() -> None:
    """Run `airflow api-server` until the input is closed."""
    command = [sys.executable, "-m", "airflow", "api-server", "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        log = shown(server.stdout)
        try:
            port = next((int(found[1]) for line in log if (found := RUNNING.search(line))), 0)
            # A pipe that nobody reads would stop the server.
            serve_until_eof(port, lambda: all(log))
        finally:
            server.kill()


def main() -> None:
    """Prepare a home, and serve."""
    with tempfile.TemporaryDirectory() as folder:
        settle(Path(folder))
        # Airflow logs to the output, where the port is to be the first line.
        with redirect_stdout(sys.stderr):
            fill()
        serve()


if __name__ == "__main__":
    main()
