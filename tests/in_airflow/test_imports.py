"""What a DAG file imports, and what it does not."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import airflow_paginated

SCRIPT: Final = """
import sys
from airflow.sdk import DAG, BaseOperator, XComArg
before = set(sys.modules)
from airflow_paginated import {names}
print(*sorted({{"requests", "urllib3"}} & (set(sys.modules) - before)))
"""


def test_a_dag_file_loads_no_http_library() -> None:
    # The hook is for tasks: it makes the requests.
    names = ", ".join(name for name in airflow_paginated.__all__ if name != "PaginatedApiHook")
    script = SCRIPT.format(names=names)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True)
    assert ended.stdout.split("\n")[-2] == ""


def test_every_public_name_can_be_imported() -> None:
    assert [name for name in airflow_paginated.__all__ if not hasattr(airflow_paginated, name)] == []
    assert set(airflow_paginated.__all__) <= set(dir(airflow_paginated))
