"""Values from dicts, and the errors for invalid ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_paginated.core.errors import ConfigurationError, PermanentError
from airflow_paginated.core.validation import (
    check_choice,
    check_flag,
    check_keys,
    check_number,
    check_text,
    override,
    value_from_dict,
)


@dataclass(frozen=True)
class Point:
    """A value with a required field, one with a default, and one that cannot be given."""

    x: int
    tags: list[str] = field(default_factory=list)
    norm: float = field(init=False, default=0.0)


def test_a_value_is_made_of_a_dict() -> None:
    assert value_from_dict(Point, {"x": 3}, "point") == Point(3)
    assert value_from_dict(Point, {"x": 3, "tags": ["a"]}, "point") == Point(3, ["a"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "point: 'x' is required"),
        ({"x": 1, "y": 2}, "point: unknown key 'y'; allowed: tags, x"),
        ({"x": 1, "tag": []}, "point: unknown key 'tag' (did you mean 'tags'?); allowed: tags, x"),
        ({"x": 1, "norm": 2.0}, "point: unknown key 'norm'; allowed: tags, x"),
        ({"x": 1, 3: 2}, "point: unknown key 3; allowed: tags, x"),
    ],
)
def test_a_dict_that_does_not_fit_says_why(given: dict[Any, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        value_from_dict(Point, given, "point")
    assert str(caught.value) == said


def test_a_dict_overrides_field_by_field_and_a_value_replaces() -> None:
    value = Point(1, ["a"])
    assert override(value, None, "point") is value
    assert override(value, {}, "point") == value
    assert override(value, {"x": 2}, "point") == Point(2, ["a"])
    assert override(value, Point(5), "point") == Point(5)
    assert value == Point(1, ["a"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"z": 1}, "point: unknown key 'z'; allowed: tags, x"),
        ([1], "point: expected a dict or Point, got list"),
        ("x=1", "point: expected a dict or Point, got str"),
        (0, "point: expected a dict or Point, got int"),
    ],
)
def test_what_overrides_nothing_is_refused(given: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        override(Point(1), given, "point")
    assert str(caught.value) == said


def test_keys_and_choices() -> None:
    check_keys({"a": 1}, ["a", "b"], "here")
    check_choice("a", ("a", "b"), "here")
    with pytest.raises(ConfigurationError, match="here: 'c' is not one of a, b"):
        check_choice("c", ("a", "b"), "here")
    with pytest.raises(ConfigurationError, match="is not one of a, b"):
        check_choice(["a"], ("a", "b"), "here")


@pytest.mark.parametrize(
    ("value", "options"),
    [
        (0, {}),
        (0.0, {}),
        (5, {"least": 5}),
        (5, {"whole": True, "least": 1}),
        (None, {"optional": True}),
        (0.001, {"least": 0.001}),
        (10**30, {"whole": True}),
    ],
)
def test_a_number_that_is_right(value: Any, options: dict[str, Any]) -> None:
    check_number(value, "limit", **options)


@pytest.mark.parametrize(
    ("value", "options", "said"),
    [
        (-1, {}, "a number of at least 0, got -1"),
        (0, {"least": 1, "whole": True}, "an integer of at least 1, got 0"),
        (1.5, {"whole": True}, "an integer of at least 0, got 1.5"),
        (True, {}, "a number of at least 0, got True"),
        ("5", {}, "a number of at least 0, got '5'"),
        (None, {}, "a number of at least 0, got None"),
        (float("nan"), {}, "a number of at least 0, got nan"),
        (0, {"least": 0.001}, "a number of at least 0.001, got 0"),
    ],
)
def test_a_number_that_is_wrong(value: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_number(value, "limit", **options)
    assert str(caught.value) == f"limit: expected {said}"


@pytest.mark.parametrize("value", ["", None, 5, b"x", ["x"]])
def test_a_text_is_a_string_with_something_in_it(value: Any) -> None:
    check_text("x", "name")
    check_text(None, "name", optional=True)
    with pytest.raises(ConfigurationError, match="name: expected a non-empty string, got "):
        check_text(value, "name")


@pytest.mark.parametrize("value", ["true", "", None, 0, 1])
def test_a_flag_is_true_or_false(value: Any) -> None:
    check_flag(True, "flag")
    check_flag(False, "flag")
    with pytest.raises(ConfigurationError, match="flag: expected true or false, got "):
        check_flag(value, "flag")


def test_a_configuration_error_is_permanent_and_a_value_error() -> None:
    with pytest.raises(ValueError, match="x"):
        check_choice("x", (), "here")
    assert issubclass(ConfigurationError, PermanentError)
