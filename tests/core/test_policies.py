"""How long a collection may take, how much, and when it is complete: defaults, limits and how levels combine."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated import Completeness, Limits, Timeouts
from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.policies import combined_limits, combined_timeouts

CAPS = [field.name for field in fields(Limits)]
TIMEOUTS = ("connect", "read", "attempt", "page")


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
    + [("sample_pages", 0), ("sample_pages", 2.5), ("resume_max_age", -1), ("resume_max_age", None)],
)
def test_limits_refuse_what_is_no_limit(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^limits: {name}: "):
        Limits(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, wrong) for name in (*TIMEOUTS, "run") for wrong in (0, -1.0, "1", float("nan"))]
    + [(name, None) for name in TIMEOUTS],
)
def test_timeouts_refuse_what_is_no_timeout(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^timeouts: {name}: "):
        Timeouts(**{name: value})


def test_without_anybody_the_defaults_hold() -> None:
    assert combined_limits(None, None) == Limits()
    assert combined_limits({}, {}) == Limits()
    assert combined_timeouts(None, None) == combined_timeouts({}, {}) == Timeouts()


@pytest.mark.parametrize("name", CAPS)
@pytest.mark.parametrize(("granted", "wanted", "result"), [(100, 50, 50), (100, 200, 100), (100, 100, 100)])
def test_a_cap_of_the_connection_is_only_tightened(name: str, granted: int, wanted: int, result: int) -> None:
    as_dict = combined_limits({name: granted}, {name: wanted})
    as_value = combined_limits({name: granted}, Limits(**{name: wanted}))
    assert as_dict == as_value == replace(Limits(), **{name: result})


@pytest.mark.parametrize(
    ("granted", "wanted", "result"), [(100, 50, 50), (100, 200, 100), (None, 50, 50), (100, None, 100)]
)
def test_the_time_of_a_run_is_a_cap(granted: Any, wanted: Any, result: float) -> None:
    assert combined_timeouts({"run": granted}, {"run": wanted}) == Timeouts(run=result)
    assert combined_timeouts({"run": granted}, Timeouts(run=wanted)) == Timeouts(run=result)
    assert combined_timeouts({"run": 7}, {"read": 3.0}) == Timeouts(run=7, read=3.0)
    assert combined_timeouts({"read": 3.0}, {"run": 10**12}) == Timeouts(read=3.0, run=10**12)


@pytest.mark.parametrize("name", CAPS)
def test_a_cap_holds_though_the_operator_gives_a_value_that_does_not_name_it(name: str) -> None:
    assert getattr(combined_limits({name: 7}, Limits()), name) == 7
    assert getattr(combined_limits({name: 7}, {}), name) == 7


@pytest.mark.parametrize("name", CAPS)
def test_where_the_connection_says_nothing_the_operator_may_raise(name: str) -> None:
    assert getattr(combined_limits(None, {name: 10**12}), name) == 10**12


@pytest.mark.parametrize("name", TIMEOUTS)
def test_a_timeout_is_no_cap(name: str) -> None:
    assert combined_timeouts({name: 5.0}, {name: 500.0}) == Timeouts(**{name: 500.0})
    assert combined_timeouts({name: 5.0}, None) == Timeouts(**{name: 5.0})
    assert combined_timeouts({name: 5.0}, Timeouts(run=1.0)) == Timeouts(run=1.0)


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


@pytest.mark.parametrize(
    ("connection", "operator", "said"),
    [
        (
            None,
            {"raed": 1},
            r"^timeouts: unknown key 'raed' \(did you mean 'read'\?\); allowed: attempt, connect, page",
        ),
        (
            {"read_timeout": 1},
            None,
            r"^timeouts \(on the connection\): unknown key 'read_timeout' \(did you mean 'read'",
        ),
        (None, 5, "^timeouts: expected a dict or Timeouts, got int"),
        (None, Limits(), "^timeouts: expected a dict or Timeouts, got Limits"),
        ({"page": 0}, None, "^timeouts: page: "),
    ],
)
def test_wrong_timeouts_name_the_key_and_where_it_is(connection: Any, operator: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        combined_timeouts(connection, operator)


@pytest.mark.parametrize("name", [*TIMEOUTS, "run"])
def test_a_timeout_among_the_limits_is_told_where_it_belongs(name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"'{name}_timeout' \(did you mean 'timeouts.{name}'\?\); allowed: "):
        combined_limits(None, {f"{name}_timeout": 5})
