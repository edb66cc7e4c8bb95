"""The examples of the README and the guides, executed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_paginated import PageNumber
from airflow_paginated.hooks.paginated_api import PaginatedApiHook
from tests.servers import FaultServer, Given, PagedApi, Request

ROOT = Path(__file__).resolve().parents[2]


def blocks(name: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)


def test_the_operator_of_the_readme() -> None:
    exec(blocks("README.md")[0], {})


def test_the_task_of_the_readme() -> None:
    from airflow.sdk import task

    exec(blocks("README.md")[1], {"task": task, "PaginatedApiHook": PaginatedApiHook, "PageNumber": PageNumber})


def test_the_custom_strategy_of_the_guide(connect: Callable[..., str]) -> None:
    names: dict[str, Any] = {}
    exec(blocks("docs/pagination.md")[-1], names)

    def api(request: Request, nth: int) -> Given:
        chunk = int(request.query["chunk"])
        return Given(200, json.dumps({"data": [chunk * 2, chunk * 2 + 1], "end": chunk == 4}).encode())

    with FaultServer(PagedApi(), api) as server:
        hook = PaginatedApiHook(connect(server.url))
        rows = list(hook.rows("/chunks", pagination=names["UntilMarker"](), data_selector="data"))
    assert rows == list(range(10))


@pytest.mark.parametrize(
    "page", ["README.md", "SECURITY.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / target).exists(), target
