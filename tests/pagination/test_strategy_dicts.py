"""Strategies from dicts and values, what is invalid, and how they are described."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated import (
    Cursor,
    HeaderCursor,
    HeaderLink,
    JsonLink,
    Keyset,
    Offset,
    Page,
    PageNumber,
    PageRequest,
    SinglePage,
    Sliced,
    Stop,
)
from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.pagination import STRATEGIES, describe, pagination_from, shown_parameters
from airflow_paginated.pagination.protocols import Pagination
from tests.collect.api import Cursor as Foreign

RULE: dict[str, Any] = {"total_path": "meta.total"}

INNER = Offset(total_path="meta.total")

LEAST: dict[str, dict[str, Any]] = {
    "page_number": RULE,
    "offset": RULE,
    "cursor": {"cursor_path": "next"},
    "header_cursor": {"cursor_header": "X-Next"},
    "keyset": {"key_path": "id", "key_param": "after"},
    "json_link": {},
    "header_link": {},
    "sliced": {"pagination": INNER, "from_param": "low", "to_param": "high", "start": 0, "end": 10},
    "single_page": {},
}
"""The required fields of each strategy."""

OTHER: dict[str, Any] = {
    "page_param": "p",
    "base_page": 0,
    "page_size": 7,
    "page_size_param": "per",
    "offset_param": "skip",
    "limit_param": "take",
    "base_offset": 1,
    "step": "received",
    "overlap": 2,
    "total_path": "n",
    "total_header": "X-Total",
    "total_kind": "pages",
    "total_is": "hint",
    "has_more_value": False,
    "has_more_path": "more",
    "stop_after_empty_page": True,
    "on_short_page": "fail",
    "inject_into": "body",
    "missing_next": "end",
    "cursor_path": ["meta.token"],
    "cursor_header": "X-Token",
    "cursor_param": "t",
    "first_cursor": "*",
    "cursor_encoded": True,
    "key_path": "meta.key",
    "key_param": "behind",
    "first_key": 0,
    "inclusive": True,
    "next_url_path": "links.next",
    "relation": "following",
    "link_header": "X-Links",
    "own_host": True,
    "pagination": Cursor(cursor_path="next", total_path="n"),
    "from_param": "since",
    "to_param": "until",
    "start": -5,
    "end": 99,
    "max_rows": 100,
    "to_inclusive": True,
}

TWO_TOKENS = Cursor(cursor_path=["a", "b"], cursor_param=["x", "y"])

BESIDE: dict[str, dict[str, Any]] = {
    "has_more_value": {"has_more_path": "more"},
    "page_size": {"page_size_param": "per"},
    "page_size_param": {"page_size": 7},
    "total_is": {"stop_after_empty_page": True},
}
"""Fields that other fields require."""

EVERY_FIELD = [(name, field.name) for name, kind in STRATEGIES.items() for field in fields(kind)]


def beside(kind: str, name: str) -> dict[str, Any]:
    """Return the fields that ``name`` requires."""
    known = {field.name for field in fields(STRATEGIES[kind])}
    needed = {key: value for key, value in BESIDE.get(name, {}).items() if key in known}
    other_rule = LEAST[kind] is RULE and name in ("total_path", "total_header")
    least = {} if other_rule else LEAST[kind]
    return {key: value for key, value in (least | needed).items() if key != name}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "page_number", **RULE}, PageNumber(total_path="meta.total")),
        ({"type": "offset", **RULE}, Offset(total_path="meta.total")),
        ({"type": "cursor", "cursor_path": "next"}, Cursor(cursor_path="next")),
        ({"type": "cursor", "cursor_path": ["a", "b"], "cursor_param": ["x", "y"]}, TWO_TOKENS),
        ({"type": "header_cursor", "cursor_header": "X-Next"}, HeaderCursor(cursor_header="X-Next")),
        ({"type": "keyset", "key_path": "id", "key_param": "after"}, Keyset(key_path="id", key_param="after")),
        ({"type": "json_link"}, JsonLink(next_url_path="next")),
        ({"type": "header_link"}, HeaderLink(relation="next", link_header="Link")),
        ({"type": "sliced", **LEAST["sliced"], "pagination": {"type": "offset", **RULE}}, Sliced(**LEAST["sliced"])),
        ({"type": "single_page"}, SinglePage()),
    ],
)
def test_a_dict_stands_for_a_strategy(given: dict[str, Any], expected: Pagination) -> None:
    before = dict(given)
    assert pagination_from(given) == expected
    assert given == before


@pytest.mark.parametrize(("kind", "name"), EVERY_FIELD)
def test_every_field_can_be_written_in_a_dict(kind: str, name: str) -> None:
    others = beside(kind, name)
    made = pagination_from({"type": kind, name: OTHER[name], **others})
    assert getattr(made, name) == OTHER[name]
    assert made == STRATEGIES[kind](**{name: OTHER[name]}, **others)
    assert pagination_from(describe(made)) == made


def test_what_is_wrong_within_a_slice_names_its_strategy() -> None:
    with pytest.raises(ConfigurationError, match=r"pagination \(offset\): unknown key 'ofset_param' \(did you mean"):
        pagination_from({"type": "sliced", **LEAST["sliced"], "pagination": {"type": "offset", "ofset_param": "x"}})
    with pytest.raises(ConfigurationError, match="'type' is required"):
        pagination_from({"type": "sliced", **LEAST["sliced"], "pagination": RULE})


def test_a_cap_of_pages_is_a_limit_of_the_run() -> None:
    with pytest.raises(ConfigurationError, match=r"did you mean limits={'max_pages': ...}\?"):
        pagination_from({"type": "offset", **RULE, "max_pages": 9})


@pytest.mark.parametrize("kind", [kind for kind, least in LEAST.items() if least])
def test_what_a_strategy_cannot_do_without_is_asked_for(kind: str) -> None:
    with pytest.raises(ConfigurationError, match=r"no stop condition|is required"):
        pagination_from({"type": kind})


@pytest.mark.parametrize("value", [*(STRATEGIES[kind](**least) for kind, least in LEAST.items()), Foreign()])
def test_a_value_stands_for_itself(value: Pagination) -> None:
    assert pagination_from(value) is value


@pytest.mark.parametrize(
    ("key", "near"), [("totl_path", "total_path"), ("page_sise", "page_size"), ("rows_path", ""), (5, "")]
)
@pytest.mark.parametrize("kind", [kind for kind in LEAST if kind not in ("sliced", "single_page")])
def test_an_unknown_key_is_named_with_the_allowed_ones(kind: str, key: Any, near: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        pagination_from({"type": kind, **LEAST[kind], key: "x"})
    said = str(caught.value)
    assert said.startswith(f"pagination ({kind}): unknown key {key!r}")
    assert ("did you mean" in said) == (f"(did you mean {near!r}?)" in said)
    assert not near or near in said
    for field in fields(STRATEGIES[kind]):
        assert field.name in said.partition("allowed: ")[2].split(", ")


@pytest.mark.parametrize("kind", [None, "page-number", "PageNumber", "Cursor", "cursor?", 3, ["offset"], PageNumber])
def test_an_unknown_type_is_named_with_the_known_ones(kind: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        pagination_from({"type": kind, **RULE})
    said, _, meant = str(caught.value).partition(" (did you mean ")
    assert said == (
        f"pagination: type: {kind!r} is not one of page_number, offset, cursor, header_cursor, keyset, json_link,"
        " header_link, sliced, single_page"
    )
    assert meant in {"", *(f"{name!r}?)" for name in STRATEGIES)}


def test_a_type_that_is_nearly_one_is_recognized() -> None:
    with pytest.raises(ConfigurationError, match=r"\(did you mean 'page_number'\?\)"):
        pagination_from({"type": "PageNumber"})


def test_a_dict_without_type_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="type"):
        pagination_from(RULE)


class Half:
    def first(self, request: PageRequest) -> PageRequest:
        return request


@pytest.mark.parametrize(
    "given", [PageNumber, Offset, SinglePage, Foreign, Half(), None, "offset", 3, [RULE], object()]
)
def test_what_is_no_strategy_is_refused(given: object) -> None:
    with pytest.raises(ConfigurationError, match="pagination: expected a strategy, a dict with 'type', or an object"):
        pagination_from(given)


paths = st.sampled_from(["n", "meta.total", 'meta["@odata.count"]'])

names = st.text(min_size=1, max_size=5)

common = {
    "total_kind": st.sampled_from(["items", "pages"]),
    "has_more_path": st.sampled_from([None, "more", 'meta["has.more"]']),
    "stop_after_empty_page": st.booleans(),
}

totals = st.fixed_dictionaries({"total_path": paths}) | st.fixed_dictionaries({"total_header": names})

sizes = st.just({}) | st.fixed_dictionaries({"page_size": st.integers(2, 1000), "page_size_param": st.just("per")})

one_or_two = st.sampled_from(["a", ["a"], ["a", "b.c"]])

tokens = st.none() | st.integers() | names | st.lists(names, max_size=2)


def drawn(
    kind: type[Any], *needed: st.SearchStrategy[dict[str, Any]], **optional: st.SearchStrategy[Any]
) -> st.SearchStrategy[Any]:
    """Draw a strategy with its required fields and any of the others."""
    rest = st.fixed_dictionaries({}, optional={**common, **optional})
    return st.builds(
        lambda rest, *parts: kind(**rest, **{k: v for part in parts for k, v in part.items()}), rest, *needed
    )


def alike(name: str, other: str) -> st.SearchStrategy[dict[str, Any]]:
    return one_or_two.map(lambda found: {name: found, other: ["x", "y"][: len(found)] if len(found) > 1 else "x"})


offsets = drawn(Offset, totals, page_size=st.integers(1, 1000), base_offset=st.integers(0, 9))

cursors = drawn(Cursor, sizes, alike("cursor_path", "cursor_param"), first_cursor=tokens)

known = st.one_of(
    drawn(PageNumber, totals, page_size=st.integers(1, 1000)),
    offsets,
    cursors,
    drawn(HeaderCursor, sizes, alike("cursor_header", "cursor_param"), cursor_encoded=st.booleans()),
    drawn(Keyset, sizes, alike("key_path", "key_param"), first_key=tokens, inclusive=st.booleans()),
    drawn(JsonLink, sizes, next_url_path=paths, own_host=st.booleans()),
    drawn(HeaderLink, sizes, relation=names, link_header=names),
    st.builds(
        lambda inner, end: Sliced(pagination=inner, from_param="f", to_param="t", start=0, end=end),
        offsets.map(lambda inner: replace(inner, total_kind="items")),
        st.integers(1, 10**20),
    ),
    st.just(SinglePage()),
)


@given(value=known)
def test_a_description_makes_the_same_strategy(value: Pagination) -> None:
    assert pagination_from(describe(value)) == value
    assert pagination_from(json.loads(json.dumps(describe(value)))) == value


@dataclass(frozen=True)
class Own:
    """A custom strategy, as a dataclass."""

    token_param: str = "t"
    page_param: str = "p"
    depth_param: int = 3
    _secret: str = "hunter2"

    def first(self, request: PageRequest) -> PageRequest:
        return replace(request, index=0)

    def follow(self, page: Page) -> PageRequest | Stop:
        return Stop("own")


def test_a_custom_strategy_is_described_by_its_class_and_public_fields() -> None:
    name = f"{__name__}."
    assert describe(Own()) == {"type": f"{name}Own", "token_param": "t", "page_param": "p", "depth_param": 3}
    assert describe(Foreign()) == {"type": "tests.collect.api.Cursor"}


def test_a_custom_object_is_described_by_its_public_attributes() -> None:
    value = Foreign()
    vars(value).update(step=4, _cache={"password": "hunter2"})
    assert describe(value) == {"type": "tests.collect.api.Cursor", "step": 4}


def test_a_strategy_within_another_is_described_too() -> None:
    value = Sliced(**LEAST["sliced"])
    assert describe(value)["pagination"] == describe(INNER)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (PageNumber(**RULE), {"page"}),
        (PageNumber(**RULE, page_size=5, page_size_param="per", page_param="p"), {"p", "per"}),
        (Offset(**RULE), {"offset", "limit"}),
        (Offset(**RULE, limit_param=None), {"offset"}),
        (Cursor(cursor_path="next", page_size=5, page_size_param="per"), {"per"}),
        (TWO_TOKENS, set()),
        (HeaderCursor(cursor_header="X-Next"), set()),
        (Keyset(key_path="id", key_param="after", page_size=5, page_size_param="per"), {"per"}),
        (JsonLink(page_size=5, page_size_param="per"), {"per"}),
        (HeaderLink(), set()),
        (Sliced(**LEAST["sliced"]), {"low", "high", "offset", "limit"}),
        (SinglePage(), set()),
        (Own(), {"p"}),
        (Foreign(), set()),
    ],
)
def test_the_parameters_that_may_be_shown_tell_nothing_of_anybody(value: Pagination, expected: set[str]) -> None:
    """Only those whose values the strategy counts itself; a cursor or a key may be a secret or personal data."""
    assert shown_parameters(value) == expected
