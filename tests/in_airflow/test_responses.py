"""Rules for answers as a task meets them: on the operator, on the hook and on the connection."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_paginated import Offset, PageNumber, SinglePage
from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.hooks.paginated_api import PaginatedApiHook
from airflow_paginated.operators.paginated_api import PaginatedApiOperator
from airflow_paginated.transport import ResponseAction, ResponseRules
from tests.airflow_runs import Outcome
from tests.servers import FaultServer, Given, PagedApi, Reply, Request

Run = Callable[..., Outcome]
Connect = Callable[..., str]
PAST_THE_END = {"response_actions": [{"status": 404, "action": "END"}]}


def csv_api(request: Request) -> Reply:
    """Answer 45 rows, 10 a page, with their number and a text that looks like a number."""
    offset, limit = int(request.query["offset"]), int(request.query["limit"])
    rows = (f"{number},00{number}\r\n" for number in range(offset, min(offset + limit, 45)))
    return Reply(f"id,code\r\n{''.join(rows)}".encode(), 200, (("Content-Type", "text/csv"),))


def test_a_404_after_the_last_page_is_the_end_where_it_is_declared_so(run_operator: Run, connect: Connect) -> None:
    api = PagedApi(rows=45, page_size=10, totals=False, has_more=False, past_end="not_found")
    given: dict[str, Any] = {
        "endpoint": "/employees",
        "pagination": PageNumber(page_size=10, stop_after_empty_page=True),
        "data_selector": "data",
    }
    with FaultServer(api) as server:
        ended = run_operator(http_conn_id=connect(server.url), response=PAST_THE_END, **given)
        failed = run_operator(http_conn_id=connect(server.url), **given)
    assert ended.result == [json.loads(line) for line in api.reference().splitlines()]
    assert failed.state == "failed"
    assert "404 Not Found" in str(failed.errors[0])


def test_csv_becomes_a_dataset_of_strings(run_operator: Run, connect: Connect, tmp_path: Path) -> None:
    with FaultServer(csv_api) as server:
        outcome = run_operator(
            http_conn_id=connect(server.url),
            endpoint="/rows",
            pagination=Offset(page_size=10, stop_after_empty_page=True),
            response={"response_format": "csv"},
            sink=f"{tmp_path}/rows.jsonl",
        )
    assert outcome.state == "success"
    expected = "".join(f'{{"id":"{number}","code":"00{number}"}}\n' for number in range(45))
    assert (tmp_path / "rows.jsonl").read_text() == expected
    manifest = json.loads((tmp_path / "_rows.jsonl.manifest.json").read_text())
    assert manifest["plan"]["response"] == {"response_format": "csv"}


def test_rules_of_the_connection_are_overridden_field_by_field(connect: Connect) -> None:
    rules = {"error_path": "error", "response_actions": [{"action": "END", "status": 404}]}
    extra = json.dumps({"response": json.dumps(rules)})  # as the form writes it
    hook = PaginatedApiHook(connect("http://localhost", extra=extra), response={"null_rows": "empty"})
    assert hook.response == ResponseRules(
        error_path="error", null_rows="empty", response_actions=[ResponseAction(action="END", status=404)]
    )


def test_rules_of_the_connection_hold(connect: Connect) -> None:
    extra = json.dumps({"response": {"error_path": "error"}})
    body = b'{"data": [1], "error": "quota"}'
    with FaultServer(PagedApi(), lambda request, nth: Given(200, body)) as server:
        rows = PaginatedApiHook(connect(server.url, extra=extra)).rows(
            "/x", pagination=SinglePage(), data_selector="data"
        )
        with pytest.raises(Exception, match="the body says at error_path 'error': 'quota'"):
            list(rows)


def test_a_selector_does_not_go_with_the_lines_of_the_connection(connect: Connect) -> None:
    extra = json.dumps({"response": {"response_format": "jsonl"}})
    hook = PaginatedApiHook(connect("http://localhost", extra=extra))
    with pytest.raises(ConfigurationError, match="data_selector: every line of a jsonl response is a row"):
        list(hook.rows("/x", pagination=SinglePage(), data_selector="data"))


def test_lines_are_read_by_the_hook(connect: Connect) -> None:
    body = b'{"a": 1.10}\n{"a": 2}\n'
    with FaultServer(PagedApi(), lambda request, nth: Given(200, body, "application/jsonl")) as server:
        hook = PaginatedApiHook(connect(server.url), response=ResponseRules(response_format="jsonl"))
        assert list(hook.rows("/x", pagination=SinglePage())) == [{"a": 1.1}, {"a": 2}]


@pytest.mark.parametrize(
    ("response", "told"),
    [
        ({"response_fromat": "csv"}, "response: unknown key 'response_fromat' (did you mean 'response_format'?)"),
        ({"response_actions": [{"stauts": 404}]}, "response: response_actions[0]: unknown key 'stauts'"),
        ({"response_format": "csv"}, "data_selector: every line of a csv response is a row"),
        ({"error_path": "data[*].error"}, "response: error_path 'data[*].error' leads into the rows"),
        ("csv", "response: expected a dict or ResponseRules, got str"),
    ],
)
def test_wrong_rules_are_told_when_the_dag_is_parsed(response: Any, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PaginatedApiOperator(
            task_id="collect",
            endpoint="/x",
            pagination=SinglePage(),
            data_selector="data",
            response=response,
            sink="xcom",
        )
    assert told in str(caught.value)
