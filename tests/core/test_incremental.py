"""Incremental: the request of each run, and invalid arguments."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_paginated.core.cursor_values import cursor_value_from_json
from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.policies import Incremental, State, incremental_from, pack_digests
from airflow_paginated.core.values import PageRequest

REQUEST = PageRequest("/orders", query={"active": "true"}, headers={"X-Tenant": "a"}, body={"page": {"size": 5}})


def asked(start: Any = None, request: PageRequest = REQUEST, **policy: Any) -> PageRequest:
    found = Incremental(field="at", **policy)
    return found.build_request(request, None if start is None else cursor_value_from_json(start, "auto"))


@pytest.mark.parametrize(
    ("policy", "start", "expected"),
    [
        ({}, None, {"query": {"active": "true"}}),
        ({}, "2024-01-01T00:00:00Z", {"query": {"active": "true"}}),
        ({"param": "since"}, None, {"query": {"active": "true"}}),
        ({"param": "since", "initial_value": 0}, None, {"query": {"active": "true", "since": 0}}),
        ({"param": "since", "initial_value": 0}, 17, {"query": {"active": "true", "since": 17}}),
        ({"param": "since"}, {"number": "1.10"}, {"query": {"active": "true", "since": "1.10"}}),
        (
            {"param": "$filter", "initial_value": "2024-01-01", "expression": "active and at ge {start}"},
            None,
            {"query": {"active": "true", "$filter": "active and at ge 2024-01-01"}},
        ),
        (
            {"param": "$filter", "initial_value": 5, "expression": "at ge {start}"},
            17,
            {"query": {"active": "true", "$filter": "at ge 17"}},
        ),
        ({"param": "Since", "inject_into": "header"}, 17, {"headers": {"X-Tenant": "a", "Since": "17"}}),
        ({"param": "page.since", "inject_into": "body"}, 17, {"body": {"page": {"size": 5, "since": 17}}}),
        ({"param": "since", "inject_into": "body"}, "17", {"body": {"page": {"size": 5}, "since": "17"}}),
        ({"param": "since", "inject_into": "body"}, {"number": "1.5"}, {"body": {"page": {"size": 5}, "since": 1.5}}),
        (
            {"param": "since", "inject_into": "body"},
            {"number": "1700000000.1234567891"},
            {"body": {"page": {"size": 5}, "since": "1700000000.1234567891"}},
        ),
    ],
)
def test_where_a_run_begins(policy: Any, start: Any, expected: dict[str, Any]) -> None:
    request = asked(start, **policy)
    assert {name: getattr(request, name) for name in expected} == expected


def test_a_parameter_that_is_there_already_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the request already has the parameter 'active' in its query"):
        asked(17, param="active")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"field": "a[*].b"}, "field must lead to a single value of a row"),
        ({"field": ""}, "incremental: field: expected a non-empty string"),
        ({"lookback": -1}, "incremental: lookback: expected a number of at least 0"),
        ({"lookback": 5, "kind": "text"}, "lookback cannot be applied to strings"),
        ({"kind": "date"}, "incremental: kind: 'date' is not one of auto, number, timestamp, text"),
        ({"missing_value": "skip"}, "incremental: missing_value: 'skip' is not one of"),
        ({"remember": "false"}, "incremental: remember: expected true or false"),
        ({"inject_into": "path"}, "incremental: inject_into: 'path' is not one of"),
        ({"param": "since", "initial_value": True}, "initial_value must be a string or a number, got True"),
        ({"param": "since", "initial_value": ["x"]}, "initial_value must be a string or a number"),
        ({"initial_value": 5}, "initial_value and expression require param"),
        ({"expression": "at ge {start}"}, "initial_value and expression require param"),
        ({"param": "q", "expression": "at ge {start}"}, "expression must contain {start}, and requires initial_value"),
        ({"param": "q", "expression": "at ge", "initial_value": 5}, "expression must contain {start}"),
        ({"param": "a[*]", "inject_into": "body"}, "incremental: param: a body parameter needs a single location"),
        ({"state_path": ""}, "incremental: state_path: expected a non-empty string"),
        ({"cursor": "at"}, "incremental: unknown key 'cursor'"),
    ],
)
def test_a_wrong_argument_is_named(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        incremental_from({"field": "at", **wrong})
    assert said in str(caught.value)


def test_it_comes_as_a_value_a_dict_or_not_at_all() -> None:
    value = Incremental(field="at", param="since")
    assert incremental_from(None) is None
    assert incremental_from(value) is value
    assert incremental_from({"field": "at", "param": "since"}) == value
    with pytest.raises(ConfigurationError, match="incremental: expected a dict or Incremental, got str"):
        incremental_from("at")
    with pytest.raises(ConfigurationError, match="incremental: 'field' is required"):
        incremental_from({"param": "since"})


def test_digests_are_packed_in_their_order() -> None:
    digests = [bytes([number]) * 12 for number in (3, 1, 2, 1)]
    state = State(watermark=5, seen=pack_digests(digests))
    assert list(state.digests) == sorted(digests)
    assert list(State(watermark=5).digests) == []
