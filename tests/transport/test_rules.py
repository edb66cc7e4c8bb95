"""Rules for answers as pure values: which action holds, and what is refused when they are written."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.paths import ABSENT
from airflow_paginated.transport import ResponseAction, ResponseRules
from airflow_paginated.transport.decode import json_value
from airflow_paginated.transport.rules import combined_response


@dataclass
class Body:
    """A body that notes how often it was read."""

    text_: str = ""
    reads: int = 0

    @property
    def text(self) -> str:
        self.reads += 1
        return self.text_

    @property
    def value(self) -> Any:
        self.reads += 1
        return json_value(self.text_)


@pytest.mark.parametrize(
    ("predicates", "held"),
    [
        ({"status": 404}, True),
        ({"status": 410}, False),
        ({"status": [410, 404]}, True),
        ({"header": "X-Error-Code"}, True),
        ({"header": "x-other"}, False),
        ({"header": "x-error-code", "header_matches": "^E4"}, True),
        ({"header": "x-error-code", "header_matches": "^4"}, False),
        ({"content": "no more"}, True),
        ({"content": "No more"}, False),
        ({"path": "error.code"}, True),
        ({"path": "error.retry"}, False),
        ({"path": "error.none"}, False),
        ({"path": "error.count"}, False),
        ({"path": "error.code", "equals": 1}, True),
        ({"path": "error.code", "equals": "1"}, False),
        ({"path": "error.code", "equals": True}, False),
        ({"path": "error.retry", "equals": False}, True),
        ({"path": "error.retry", "equals": 0}, False),
        ({"path": "error.null", "equals": None}, True),
        ({"path": "error.none", "equals": None}, False),
        ({"path": "error.count", "equals": 0}, True),
        ({"path": "error.list", "equals": []}, True),
        ({"status": 404, "header": "x-error-code", "content": "no", "path": "error"}, True),
        ({"status": 404, "header": "x-error-code", "content": "no", "path": "error", "equals": {}}, False),
        ({"status": 410, "path": "error"}, False),
    ],
)
def test_all_that_is_given_must_hold(predicates: dict[str, Any], held: bool) -> None:
    error = {"code": 1, "retry": False, "null": None, "count": 0, "list": [], "message": "no more pages"}
    body = Body(json.dumps({"error": error}))
    action = ResponseAction(action="END", **predicates)
    assert action.matches(404, {"x-error-code": "E404"}, body) is held


def test_what_is_no_json_has_no_paths() -> None:
    assert not ResponseAction(action="END", path="a", equals=None).matches(200, {}, Body("<html>"))
    assert json_value("<html>") is ABSENT
    assert json_value("[" * 100_000) is ABSENT


def test_the_first_action_that_holds_decides_and_no_body_is_read_for_the_others() -> None:
    rules = ResponseRules(
        response_actions=[
            {"action": "FAIL", "status": 500, "content": "fatal"},
            {"action": "RETRY", "status": [500, 404]},
            {"action": "IGNORE", "content": "x"},
        ]
    )
    body = Body("fatal")
    assert rules.first_match(404, {}, body) == ResponseAction(action="RETRY", status=(500, 404))
    assert body.reads == 0
    found = rules.first_match(500, {}, body)
    assert found is not None
    assert found.action == "FAIL"
    assert rules.first_match(200, {}, body) is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"response_formt": "csv"}, "unknown key 'response_formt' (did you mean 'response_format'?)"),
        ({"response_format": "xml"}, "response_format: 'xml' is not one of json, jsonl, csv"),
        ({"missing_rows": "skip"}, "missing_rows: 'skip' is not one of fail, empty"),
        ({"null_rows": None}, "null_rows: None is not one of fail, empty"),
        ({"error_path": "a..b"}, "error_path: invalid path 'a..b'"),
        ({"error_path": ""}, "error_path: expected a non-empty string"),
        ({"csv_delimiter": ";;"}, "csv_delimiter: expected one character, got ';;'"),
        ({"csv_delimiter": None}, "csv_delimiter: expected one character, got None"),
        ({"csv_delimiter": "\n"}, "csv_delimiter: expected one character"),
        ({"csv_quotechar": ""}, "csv_quotechar: expected one character, got ''"),
        ({"csv_quotechar": ","}, "csv_delimiter and csv_quotechar must differ"),
        ({"csv_columns": "a,b"}, "csv_columns: expected a list of different names, got 'a,b'"),
        ({"csv_columns": []}, "csv_columns: expected a list"),
        ({"csv_columns": ["a", "a"]}, "csv_columns: expected a list of different names"),
        ({"csv_columns": [1]}, "csv_columns: expected a list"),
        ({"response_actions": {"status": 404}}, "response_actions: expected a list, got dict"),
        ({"response_actions": ["END"]}, "response_actions[0]: expected a dict or ResponseAction, got str"),
        (
            {"response_actions": [{"action": "END", "status": 404}, {"status": 404}]},
            "response_actions[1]: 'action' is required",
        ),
        (
            {"response_actions": [{"action": "END", "code": 1}]},
            "response_actions[0]: unknown key 'code'; allowed: action, ",
        ),
        ({"response_actions": [{"action": "STOP", "status": 404}]}, "response_actions[0]: action: 'STOP' is not one"),
        ({"response_actions": [{"action": "END"}]}, "response_actions[0]: END: give at least one of status, "),
        ({"response_actions": [{"action": "END", "status": "404"}]}, "status: expected a number from 100 to 599 or a"),
        ({"response_actions": [{"action": "END", "status": []}]}, "status: expected a number"),
        ({"response_actions": [{"action": "END", "status": [True]}]}, "status: expected a number"),
        ({"response_actions": [{"action": "END", "status": [404, "410"]}]}, "status: expected a number"),
        ({"response_actions": [{"action": "END", "header_matches": "x"}]}, "header_matches: give header, too"),
        (
            {"response_actions": [{"action": "END", "header": "a", "header_matches": "("}]},
            "header_matches: '(' is not a regular expression",
        ),
        ({"response_actions": [{"action": "END", "equals": None}]}, "equals: give path, too"),
        ({"response_actions": [{"action": "END", "path": "a["}]}, "response_actions[0]: path: invalid path 'a['"),
        (
            {"response_actions": [{"action": "END", "content": 1}]},
            "response_actions[0]: content: expected a non-empty string",
        ),
        (3, "expected a dict or ResponseRules, got int"),
    ],
)
def test_wrong_rules_name_their_argument(given: Any, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        combined_response(None, given)
    assert str(caught.value).startswith("response: ")
    assert told in str(caught.value)
    assert str(caught.value).count("response_actions[0]") <= 1


def test_wrong_rules_of_the_connection_name_it() -> None:
    with pytest.raises(ConfigurationError, match=r"response \(on the connection\): unknown key 'x'"):
        combined_response({"x": 1}, None)


@pytest.mark.parametrize(
    ("rules", "selector", "told"),
    [
        ({"response_format": "csv"}, "data", "data_selector: every line of a csv response is a row; leave it out"),
        ({"response_format": "jsonl"}, "data", "data_selector: every line of a jsonl response is a row; leave it out"),
        ({"error_path": "data[*].error"}, "data", "response: error_path 'data[*].error' leads into the rows"),
        ({"error_path": "data.e[*].x"}, "data.e[*].node", "leads into the rows"),
        ({"error_path": "[*].error"}, None, "leads into the rows"),
        ({"error_path": "data.error"}, "data", None),
        ({"error_path": "errors[*].message"}, "data", None),
        ({"response_format": "csv"}, None, None),
        ({}, "data", None),
    ],
)
def test_rules_and_the_selector_must_go_together(rules: dict[str, Any], selector: str | None, told: str | None) -> None:
    if told is None:
        ResponseRules(**rules).check_selector(selector)
        return
    with pytest.raises(ConfigurationError) as caught:
        ResponseRules(**rules).check_selector(selector)
    assert told in str(caught.value)


def test_rules_combine_field_by_field() -> None:
    connection = {"error_path": "errors", "response_actions": [{"action": "END", "status": 404}]}
    assert combined_response(None, None) == ResponseRules()
    assert combined_response(connection, {"null_rows": "empty", "response_actions": []}) == ResponseRules(
        error_path="errors", null_rows="empty"
    )
    assert combined_response(connection, ResponseRules()) == ResponseRules()


def test_the_description_is_json_of_what_is_not_usual() -> None:
    assert ResponseRules().described() == {}
    given = {
        "response_format": "csv",
        "csv_columns": ["a", "b"],
        "csv_quotechar": None,
        "response_actions": [
            {"action": "END", "status": [404, 410]},
            {"action": "IGNORE", "path": "a", "equals": None, "message": "gone"},
        ],
    }
    described = combined_response(None, given).described()
    assert json.loads(json.dumps(described)) == given
    assert combined_response(None, described) == combined_response(None, given)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_rules_survive_a_copy(again: Any) -> None:
    rules = ResponseRules(response_actions=[ResponseAction(action="END", path="a"), {"action": "FAIL", "status": 418}])
    copied = again(rules)
    assert copied == rules
    assert copied.actions[0].matches(200, {}, Body('{"a": 1}'))
    assert not copied.actions[0].matches(200, {}, Body('{"a": null}'))
    assert " at 0x" not in repr(rules)
