"""Strategies from dicts and values, what is refused, and how they are described."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated.paging import Offset, Page, PageNumber, PageRequest, SinglePage, Stop
from airflow_paginated.paging.errors import ConfigurationError
from airflow_paginated.paging.protocols import Pagination
from airflow_paginated.paging.strategies import STRATEGIES, describe, pagination_from, shown_parameters
from tests.paging.api import Cursor

RULE: dict[str, Any] = {"total_path": "meta.total"}
OTHER: dict[str, Any] = {
    "page_param": "p",
    "base_page": 0,
    "page_size": 7,
    "page_size_param": "per",
    "offset_param": "skip",
    "limit_param": "take",
    "base_offset": 1,
    "total_path": "n",
    "total_header": "X-Total",
    "total_kind": "pages",
    "has_more_path": "more",
    "stop_after_empty_page": True,
    "max_pages": 9,
}
EVERY_FIELD = [(name, field.name) for name, kind in STRATEGIES.items() for field in fields(kind)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "page_number", **RULE}, PageNumber(total_path="meta.total")),
        ({"type": "offset", **RULE}, Offset(total_path="meta.total")),
        ({"type": "single_page"}, SinglePage()),
    ],
)
def test_a_dict_stands_for_a_strategy(given: dict[str, Any], expected: Pagination) -> None:
    before = dict(given)
    assert pagination_from(given) == expected
    assert given == before


@pytest.mark.parametrize(("kind", "name"), EVERY_FIELD)
def test_every_field_can_be_written_in_a_dict(kind: str, name: str) -> None:
    beside = {} if name in ("total_path", "total_header") else RULE
    if name == "page_size_param":
        beside = beside | {"page_size": 7}
    made = pagination_from({"type": kind, name: OTHER[name], **beside})
    assert getattr(made, name) == OTHER[name]
    assert made == STRATEGIES[kind](**{name: OTHER[name]}, **beside)


@pytest.mark.parametrize("value", [PageNumber(**RULE), Offset(**RULE), SinglePage(), Cursor()])
def test_a_value_stands_for_itself(value: Pagination) -> None:
    assert pagination_from(value) is value


@pytest.mark.parametrize(
    ("key", "near"), [("totl_path", "total_path"), ("page_sise", "page_size"), ("cursor_path", ""), (5, "")]
)
@pytest.mark.parametrize("kind", ["page_number", "offset"])
def test_an_unknown_key_is_named_with_the_allowed_ones(kind: str, key: Any, near: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        pagination_from({"type": kind, **RULE, key: "x"})
    said = str(caught.value)
    assert said.startswith(f"pagination ({kind}): unknown key {key!r}")
    assert ("did you mean" in said) == (f"(did you mean {near!r}?)" in said)
    assert not near or near in said
    for field in fields(STRATEGIES[kind]):
        assert field.name in said.partition("allowed: ")[2].split(", ")


@pytest.mark.parametrize("kind", [None, "page-number", "PageNumber", "cursor?", 3, ["offset"], PageNumber])
def test_an_unknown_type_is_named_with_the_known_ones(kind: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"pagination: type: .* is not one of page_number, offset, single_page"
    ):
        pagination_from({"type": kind, **RULE})


def test_a_dict_without_type_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="type"):
        pagination_from(RULE)


class Half:
    def first(self, request: PageRequest) -> PageRequest:
        return request


@pytest.mark.parametrize("given", [PageNumber, Offset, SinglePage, Cursor, Half(), None, "offset", 3, [RULE], object()])
def test_what_is_no_strategy_is_refused(given: object) -> None:
    with pytest.raises(ConfigurationError, match="pagination: expected a strategy, a dict with 'type', or an object"):
        pagination_from(given)


@pytest.mark.parametrize("kind", [PageNumber, Offset])
@pytest.mark.parametrize("given", [{}, {"page_size": 10}, {"max_pages": 10}, {"stop_after_empty_page": False}])
def test_a_strategy_without_a_stop_rule_is_refused(kind: type[PageNumber | Offset], given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="no stop rule; give total_path, total_header, has_more_path or stop_"):
        kind(**given)


def test_two_places_for_the_total_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="total_path or total_header, not both"):
        PageNumber(total_path="n", total_header="X-Total")


WRONG: list[tuple[str, Any]] = [
    ("page_size", 0),
    ("page_size", -5),
    ("page_size", "100"),
    ("page_size", 10.5),
    ("page_size", True),
    ("max_pages", 0),
    ("max_pages", "3"),
    ("max_pages", float("nan")),
    ("total_kind", "rows"),
    ("total_kind", None),
    ("total_path", 5),
    ("total_path", ""),
    ("total_path", "a..b"),
    ("total_path", ["a"]),
    ("total_header", 5),
    ("total_header", ""),
    ("has_more_path", True),
    ("has_more_path", "a["),
    ("stop_after_empty_page", "false"),
    ("stop_after_empty_page", 1),
    ("stop_after_empty_page", None),
]
OWN: dict[str, list[tuple[str, Any]]] = {
    "page_number": [
        ("page_param", None),
        ("page_param", ""),
        ("page_param", 5),
        ("base_page", -1),
        ("base_page", "1"),
        ("base_page", None),
        ("page_size_param", 5),
        ("page_size_param", ""),
    ],
    "offset": [
        ("page_size", None),
        ("offset_param", None),
        ("offset_param", 5),
        ("limit_param", 5),
        ("limit_param", ""),
        ("base_offset", -1),
        ("base_offset", 0.0),
    ],
}


@pytest.mark.parametrize(("kind", "name", "value"), [(kind, *wrong) for kind in OWN for wrong in [*WRONG, *OWN[kind]]])
def test_a_wrong_value_is_refused_and_its_argument_named(kind: str, name: str, value: Any) -> None:
    beside = {"has_more_path": "more"} if name in ("total_path", "total_header") else RULE
    with pytest.raises(ConfigurationError, match=f"pagination: {name}: "):
        pagination_from({"type": kind, **beside, name: value})


numbers = {
    "page_size": st.integers(1, 1000),
    "total_kind": st.sampled_from(["items", "pages"]),
    "max_pages": st.none() | st.integers(1, 99),
    "has_more_path": st.sampled_from([None, "more", 'meta["has.more"]']),
    "stop_after_empty_page": st.booleans(),
}
rules = st.fixed_dictionaries({"total_path": st.just("n")}) | st.fixed_dictionaries(
    {"total_header": st.just("X-Total")}
)
known = st.one_of(
    st.builds(lambda rest, rule: PageNumber(**rest, **rule), st.fixed_dictionaries({}, optional=numbers), rules),
    st.builds(lambda rest, rule: Offset(**rest, **rule), st.fixed_dictionaries({}, optional=numbers), rules),
    st.just(SinglePage()),
)


@given(value=known)
def test_a_description_makes_the_same_strategy(value: Pagination) -> None:
    assert pagination_from(describe(value)) == value


@dataclass(frozen=True)
class Own:
    """A strategy of somebody else's, as a dataclass."""

    token_param: str = "t"
    depth_param: int = 3
    _secret: str = "hunter2"

    def first(self, request: PageRequest) -> PageRequest:
        return replace(request, index=0)

    def follow(self, page: Page) -> PageRequest | Stop:
        return Stop("own")


def test_a_custom_strategy_is_described_by_its_class_and_public_fields() -> None:
    name = f"{__name__}."
    assert describe(Own()) == {"type": f"{name}Own", "token_param": "t", "depth_param": 3}
    assert describe(Cursor()) == {"type": "tests.paging.api.Cursor"}


def test_a_custom_object_is_described_by_its_public_attributes() -> None:
    value = Cursor()
    vars(value).update(step=4, _cache={"password": "hunter2"})
    assert describe(value) == {"type": "tests.paging.api.Cursor", "step": 4}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (PageNumber(**RULE), {"page"}),
        (PageNumber(**RULE, page_size=5, page_size_param="per", page_param="p"), {"p", "per"}),
        (Offset(**RULE), {"offset", "limit"}),
        (Offset(**RULE, limit_param=None), {"offset"}),
        (SinglePage(), set()),
        (Own(), {"t"}),
        (Cursor(), set()),
    ],
)
def test_the_parameters_that_may_be_shown_are_those_of_the_strategy(value: Pagination, expected: set[str]) -> None:
    assert shown_parameters(value) == expected
