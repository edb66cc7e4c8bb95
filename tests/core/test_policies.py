"""What a collection may take and when it is complete: defaults, limits and how levels combine."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated import Completeness, Limits
from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.policies import CAPS, combined_limits

TIMEOUTS = ("connect_timeout", "read_timeout", "attempt_timeout", "page_timeout")


def test_the_defaults_are_as_documented() -> None:
    assert Completeness() == Completeness(min_rows=0, on_empty="ok", on_total_change="fail", on_repeat="fail")
    assert Limits().buffer_bytes == 64 * 1024 * 1024
    assert Limits().resume_max_age == 24 * 3600
    assert Limits().sample_pages is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_rows", -1),
        ("min_rows", "5"),
        ("min_rows", 1.5),
        ("on_empty", "maybe"),
        ("on_empty", None),
        ("on_total_change", "allow"),
        ("on_repeat", True),
    ],
)
def test_completeness_refuses_what_it_does_not_know(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^completeness: {name}: "):
        Completeness(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, wrong) for name in ("buffer_bytes", "page_bytes", "xcom_bytes") for wrong in (0, -1, 1.5, "1", None, True)]
    + [(name, wrong) for name in TIMEOUTS for wrong in (0, -1.0, "1", None, float("nan"))]
    + [("sample_pages", 0), ("sample_pages", 2.5), ("resume_max_age", -1), ("resume_max_age", None)]
    + [("run_timeout", wrong) for wrong in (0, -1.0, "1", float("nan"))],
)
def test_limits_refuse_what_is_no_limit(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^limits: {name}: "):
        Limits(**{name: value})


def test_without_anybody_the_defaults_hold() -> None:
    assert combined_limits(None, None) == Limits()
    assert combined_limits({}, {}) == Limits()


@pytest.mark.parametrize("name", CAPS)
@pytest.mark.parametrize(("granted", "wanted", "result"), [(100, 50, 50), (100, 200, 100), (100, 100, 100)])
def test_a_cap_of_the_connection_is_only_tightened(name: str, granted: int, wanted: int, result: int) -> None:
    as_dict = combined_limits({name: granted}, {name: wanted})
    as_value = combined_limits({name: granted}, Limits(**{name: wanted}))
    assert as_dict == as_value == replace(Limits(), **{name: result})


@pytest.mark.parametrize("name", CAPS)
def test_a_cap_holds_though_the_operator_gives_a_value_that_does_not_name_it(name: str) -> None:
    assert getattr(combined_limits({name: 7}, Limits()), name) == 7
    assert getattr(combined_limits({name: 7}, Limits(read_timeout=3.0)), name) == 7
    assert getattr(combined_limits({name: 7}, {"read_timeout": 3.0}), name) == 7


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_where_the_connection_says_nothing_the_operator_may_raise(name: str) -> None:
    assert getattr(combined_limits(None, {name: 10**12}), name) == 10**12


@pytest.mark.parametrize("name", TIMEOUTS)
def test_a_timeout_is_no_cap(name: str) -> None:
    assert getattr(combined_limits({name: 5.0}, {name: 500.0}), name) == 500.0
    assert getattr(combined_limits({name: 5.0}, None), name) == 5.0


def test_a_sample_asked_for_by_either_is_a_sample() -> None:
    assert combined_limits({"sample_pages": 3}, {"sample_pages": None}).sample_pages == 3
    assert combined_limits({"sample_pages": None}, {"sample_pages": 3}).sample_pages == 3
    assert combined_limits({"sample_pages": None}, None).sample_pages is None


sizes = st.fixed_dictionaries({}, optional={name: st.integers(1, 10**9) for name in CAPS})


@given(connection=sizes, operator=sizes)
def test_no_operator_gets_past_a_cap(connection: dict[str, int], operator: dict[str, int]) -> None:
    combined = combined_limits(connection, operator)
    for name, cap in connection.items():
        assert getattr(combined, name) == min(cap, operator.get(name, cap))
    for name in set(operator) - set(connection):
        assert getattr(combined, name) == operator[name]


@pytest.mark.parametrize(
    ("connection", "operator", "said"),
    [
        ({"page_byte": 1}, None, r"limits \(on the connection\): unknown key 'page_byte' \(did you mean 'page_bytes'"),
        (None, {"pages": 1}, "limits: unknown key 'pages'"),
        (None, 5, "limits: expected a dict or Limits, got int"),
        ("none", None, r"limits \(on the connection\): expected a dict or Limits, got str"),
        ({"page_bytes": 0}, None, "limits: page_bytes: "),
        (None, {"page_bytes": "1"}, "limits: page_bytes: "),
    ],
)
def test_wrong_limits_name_the_key_and_where_it_is(connection: Any, operator: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        combined_limits(connection, operator)
