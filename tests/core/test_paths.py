"""Paths: grammar, selection, and descriptions for error messages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.paths import ABSENT, ALL, check_path, describe_shape, parse_path, select
from airflow_paginated.core.values import Json


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("data", ("data",)),
        ("data.users", ("data", "users")),
        ("data.users.edges[*].node", ("data", "users", "edges", ALL, "node")),
        ("[*]", (ALL,)),
        ("[*][*].a", (ALL, ALL, "a")),
        ('["odd.key"]', ("odd.key",)),
        ('meta["odd.key"].total', ("meta", "odd.key", "total")),
        ('a["[*]"]', ("a", "[*]")),
        (r'a["quoted \"key\""]', ("a", 'quoted "key"')),
        (r'a["back\\slash"]', ("a", "back\\slash")),
        ("with space.ümlaut-and_$", ("with space", "ümlaut-and_$")),
        ("0.1", ("0", "1")),
    ],
)
def test_a_path_is_split_into_its_steps(text: str, steps: tuple[object, ...]) -> None:
    assert parse_path(text) == steps


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("a..b", 1),
        ("a.", 1),
        (".", 0),
        ("a[0]", 1),
        ("a[", 1),
        ("a[*", 1),
        ("a[*]b", 4),
        ("a.[*]", 1),
        ('a["b"', 1),
        ('a["b"]c', 6),
        ('a[""]', 1),
        ("a['b']", 1),
        ('a"b', 1),
        ("]", 0),
    ],
)
def test_a_path_outside_the_grammar_names_the_place(text: str, position: int) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_path(text)
    assert str(caught.value).startswith(f"invalid path {text!r} at position {position}: separate names with dots")


def test_an_empty_path_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must not be empty"):
        parse_path("")


@given(names=st.lists(st.text(st.characters(exclude_characters='"\\\n'), min_size=1), min_size=1, max_size=5))
def test_any_name_can_be_quoted(names: list[str]) -> None:
    path = "".join(f'["{name}"]' for name in names)
    value: Json = "found"
    for name in reversed(names):
        value = {name: value}
    assert parse_path(path) == tuple(names)
    assert select(value, path) == "found"


BODY = {
    "data": {"users": {"edges": [{"node": {"id": 1}}, {"node": {"id": 2}}], "none": [], "null": None, "zero": 0}},
    "odd.key": {"deep": [1]},
    "groups": [{"items": [1, 2]}, {"items": []}, {"other": 5}, {"items": [3]}, 7],
    "matrix": [[1, 2], [3], 4],
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("data.users.edges[*].node", [{"id": 1}, {"id": 2}]),
        ("data.users.edges[*].node.id", [1, 2]),
        ("data.users.none", []),
        ("data.users.none[*]", []),
        ("data.users.none[*].id", []),
        ("data.users.null", None),
        ("data.users.zero", 0),
        ('["odd.key"].deep', [1]),
        ("groups[*].items", [[1, 2], [], [3]]),
        ("groups[*].items[*]", [1, 2, 3]),
        ("groups[*].missing", []),
        ("matrix[*]", [[1, 2], [3], 4]),
        ("matrix[*][*]", [1, 2, 3]),
        ("missing", ABSENT),
        ("data.missing", ABSENT),
        ("data.users.null.id", ABSENT),
        ("data.users.edges.node", ABSENT),
        ("data.users.edges.0", ABSENT),
        ("data[*]", ABSENT),
        ("data.users.null[*]", ABSENT),
        ("odd.key", ABSENT),
    ],
)
def test_select_returns_what_lies_at_a_path(path: str, found: Json) -> None:
    assert select(BODY, path) == found


@pytest.mark.parametrize(("value", "path"), [(None, "a"), (5, "a"), ("text", "a"), ([], "a"), ({}, "a"), ({}, "[*]")])
def test_absent_is_neither_empty_nor_null(value: Json, path: str) -> None:
    assert select(value, path) is ABSENT
    assert repr(ABSENT) == "<absent>"
    assert ABSENT not in (None, [], "", 0, {})


def test_the_body_itself_may_be_the_list() -> None:
    assert select([1, 2], "[*]") == [1, 2]
    assert select([{"a": 1}, {"b": 2}], "[*].a") == [1]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": "secret", "b": 1}, "an object with the keys 'a', 'b'"),
        ({}, "an empty object"),
        ([1, 2, 3], "a list of length 3"),
        (None, "null"),
        (ABSENT, "nothing"),
        ("secret", "a string"),
        (5, "a number"),
        (True, "a boolean"),
    ],
)
def test_a_value_is_described_by_its_shape_alone(value: Json, said: str) -> None:
    assert describe_shape(value) == said


def test_the_description_of_a_large_object_is_short() -> None:
    said = describe_shape({f"{'long' * 50}{n}": n for n in range(1000)})
    assert len(said) < 700


@pytest.mark.parametrize("text", ["a.b", '["x"]', "[*]"])
def test_check_path_accepts_a_path(text: str) -> None:
    check_path(text, "data_selector")
    check_path(None, "data_selector", optional=True)


@pytest.mark.parametrize("text", [None, "", 5, ["a"], "a..b", b"a"])
def test_check_path_names_the_argument(text: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^data_selector: "):
        check_path(text, "data_selector")
