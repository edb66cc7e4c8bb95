"""Invalid arguments of strategies, and their messages."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_paginated import Cursor, HeaderCursor, Keyset, Offset, PageNumber, Sliced
from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.pagination import pagination_from
from tests.pagination.test_strategy_dicts import LEAST, RULE


@pytest.mark.parametrize("kind", [PageNumber, Offset])
@pytest.mark.parametrize("given", [{}, {"page_size": 10}, {"stop_after_empty_page": False}])
def test_a_strategy_without_a_stop_rule_is_refused(kind: type[PageNumber | Offset], given: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigurationError, match="no stop condition; set total_path, total_header, has_more_path or stop_"
    ):
        kind(**given)


@pytest.mark.parametrize("kind", [PageNumber, Offset])
def test_a_total_that_is_only_a_hint_is_no_stop_rule(kind: type[PageNumber | Offset]) -> None:
    with pytest.raises(ConfigurationError, match="a total that is only a hint does not end a run"):
        kind(total_path="n", total_is="hint")
    assert kind(total_path="n", total_is="hint", stop_after_empty_page=True)


@pytest.mark.parametrize("kind", [kind for kind in LEAST if kind not in ("sliced", "single_page")])
def test_two_places_for_the_total_are_refused(kind: str) -> None:
    with pytest.raises(ConfigurationError, match="total_path or total_header, not both"):
        pagination_from({"type": kind, **LEAST[kind], "total_path": "n", "total_header": "X-Total"})


WRONG: list[tuple[str, Any]] = [
    ("page_size", 0),
    ("page_size", -5),
    ("page_size", "100"),
    ("page_size", 10.5),
    ("page_size", True),
    ("total_kind", "rows"),
    ("total_kind", None),
    ("total_is", "sure"),
    ("total_is", True),
    ("total_path", 5),
    ("total_path", ""),
    ("total_path", "a..b"),
    ("total_path", ["a"]),
    ("total_header", 5),
    ("total_header", ""),
    ("total_header", ["a"]),
    ("has_more_path", True),
    ("has_more_path", "a["),
    ("stop_after_empty_page", "false"),
    ("stop_after_empty_page", 1),
    ("stop_after_empty_page", None),
    ("inject_into", "cookie"),
    ("inject_into", None),
]

NUMBERED: list[tuple[str, Any]] = [
    ("on_short_page", "ignore"),
    ("on_short_page", False),
]

SEQUENTIAL: list[tuple[str, Any]] = [
    ("page_size_param", 5),
    ("page_size_param", ""),
    ("page_size_param", ["a"]),
    ("missing_next", "ok"),
    ("missing_next", True),
]

TOKENS: list[tuple[str, Any]] = [
    *SEQUENTIAL,
    ("cursor_param", None),
    ("cursor_param", ""),
    ("cursor_param", 5),
    ("cursor_param", []),
    ("cursor_param", [""]),
    ("cursor_param", {"a": "b"}),
    ("cursor_encoded", "yes"),
]

LINKED: list[tuple[str, Any]] = [*SEQUENTIAL, ("own_host", "yes"), ("own_host", None), ("relation", "")]

OWN: dict[str, list[tuple[str, Any]]] = {
    "page_number": [
        *NUMBERED,
        ("page_param", None),
        ("page_param", ""),
        ("page_param", 5),
        ("page_param", ["a"]),
        ("base_page", -1),
        ("base_page", "1"),
        ("base_page", None),
        ("page_size_param", 5),
        ("page_size_param", ""),
    ],
    "offset": [
        *NUMBERED,
        ("page_size", None),
        ("offset_param", None),
        ("offset_param", 5),
        ("limit_param", 5),
        ("limit_param", ""),
        ("base_offset", -1),
        ("base_offset", 0.0),
        ("step", "asked"),
        ("step", 10),
    ],
    "cursor": [
        *TOKENS,
        ("cursor_path", None),
        ("cursor_path", ""),
        ("cursor_path", 5),
        ("cursor_path", True),
        ("cursor_path", []),
        ("cursor_path", ["a", ""]),
        ("cursor_path", ["a", 5]),
        ("cursor_path", "a..b"),
        ("cursor_path", {"a": "b"}),
    ],
    "header_cursor": [
        *TOKENS,
        ("cursor_header", None),
        ("cursor_header", ""),
        ("cursor_header", 5),
        ("cursor_header", []),
        ("cursor_header", ["a", None]),
    ],
    "keyset": [
        *SEQUENTIAL,
        ("key_path", None),
        ("key_path", ""),
        ("key_path", 5),
        ("key_path", []),
        ("key_path", "a[*].b"),
        ("key_param", None),
        ("key_param", ""),
        ("key_param", 5),
        ("inclusive", "yes"),
    ],
    "json_link": [*LINKED, ("next_url_path", None), ("next_url_path", ""), ("next_url_path", "a..b"), ("relation", 5)],
    "header_link": [*LINKED, ("link_header", None), ("link_header", ""), ("link_header", 5), ("relation", None)],
}


@pytest.mark.parametrize(("kind", "name", "value"), [(kind, *wrong) for kind in OWN for wrong in [*WRONG, *OWN[kind]]])
def test_a_wrong_value_is_refused_and_its_argument_named(kind: str, name: str, value: Any) -> None:
    least = {"has_more_path": "more"} if LEAST[kind] is RULE and name in ("total_path", "total_header") else LEAST[kind]
    with pytest.raises(ConfigurationError, match=f"pagination: {name}"):
        pagination_from({"type": kind, **least, name: value})


SLICED: list[tuple[str, Any, str]] = [
    ("from_param", "", "from_param: "),
    ("from_param", None, "from_param: "),
    ("to_param", 5, "to_param: "),
    ("inject_into", "url", "inject_into: "),
    ("max_rows", 1, "max_rows: "),
    ("max_rows", "100", "max_rows: "),
    ("to_inclusive", "yes", "to_inclusive: "),
    ("start", 10, "start 10 must be before end 10"),
    ("end", -1, "start 0 must be before end -1"),
    ("end", "2024-01-01", "start and end must be "),
    ("pagination", 5, "pagination must be a strategy with total_path or total_header"),
    ("pagination", Cursor(cursor_path="next"), "pagination must be a strategy with total_path or total_header"),
    ("pagination", PageNumber(total_path="n", total_kind="pages"), "pagination must have total_kind='items'"),
    ("pagination", Sliced(**LEAST["sliced"]), "pagination must be a strategy with total_path or total_header"),
]


@pytest.mark.parametrize(("name", "value", "said"), SLICED)
def test_a_wrong_value_of_sliced_is_refused_and_its_argument_named(name: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Sliced(**{**LEAST["sliced"], name: value})
    assert str(caught.value).startswith(f"pagination: {said}")


IN_BODY: dict[str, dict[str, Any]] = {
    "page_number": {"page_param": "a..b"},
    "offset": {"limit_param": "a["},
    "cursor": {"cursor_param": "variables..after"},
    "header_cursor": {"cursor_param": "a[*].b"},
    "keyset": {"key_param": "a[*]"},
    "json_link": {"page_size": 5, "page_size_param": "a..b"},
    "header_link": {"page_size": 5, "page_size_param": "[*]"},
    "sliced": {"from_param": "range..from"},
}


@pytest.mark.parametrize("kind", IN_BODY)
def test_in_the_body_a_parameter_is_a_path_to_one_place(kind: str) -> None:
    assert pagination_from({"type": kind, **LEAST[kind], **IN_BODY[kind]})
    name = next(name for name in IN_BODY[kind] if name.endswith("_param"))
    with pytest.raises(
        ConfigurationError, match=rf"pagination: {name}: (invalid path .* at position|a body parameter needs)"
    ):
        pagination_from({"type": kind, **LEAST[kind], **IN_BODY[kind], "inject_into": "body"})


def test_a_page_size_parameter_needs_a_page_size() -> None:
    with pytest.raises(ConfigurationError, match="page_size_param requires page_size"):
        PageNumber(total_path="n", page_size_param="per_page")
    for kind in ("cursor", "header_cursor", "keyset", "json_link", "header_link"):
        for given in ({"page_size": 5}, {"page_size_param": "per_page"}):
            with pytest.raises(ConfigurationError, match="page_size and page_size_param require each other"):
                pagination_from({"type": kind, **LEAST[kind], **given})


@pytest.mark.parametrize(
    "given",
    [
        {"cursor_path": ["a", "b"]},
        {"cursor_path": "a", "cursor_param": ["x", "y"]},
        {"cursor_path": ["a", "b"], "cursor_param": ["x", "y", "z"]},
    ],
)
def test_each_token_has_one_parameter(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"cursor_param names \d parameters for \d tokens"):
        Cursor(**given)
    with pytest.raises(ConfigurationError, match=r"cursor_param names \d parameters for \d tokens"):
        HeaderCursor(cursor_header=given["cursor_path"], cursor_param=given.get("cursor_param", "cursor"))
    with pytest.raises(ConfigurationError, match="key_path and key_param must have the same length"):
        Keyset(key_path=given["cursor_path"], key_param=given.get("cursor_param", "after"))


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("page_number", {"page_param": "p", "page_size_param": "p", "page_size": 5}, "page_param and page_size_param"),
        ("offset", {"offset_param": "limit"}, "offset_param and limit_param"),
        ("cursor", {"cursor_path": ["a", "b"], "cursor_param": ["x", "x"]}, "cursor_param and cursor_param"),
        ("cursor", {"page_size": 5, "page_size_param": "cursor"}, "page_size_param and cursor_param"),
        ("keyset", {"key_path": ["a", "b"], "key_param": ["x", "x"]}, "key_param and key_param"),
        ("sliced", {"to_param": "low"}, "from_param and to_param"),
        ("sliced", {"to_param": "offset"}, "to_param and offset_param"),
        ("sliced", {"from_param": "limit"}, "from_param and limit_param"),
    ],
)
def test_a_parameter_has_one_meaning(kind: str, given: dict[str, Any], said: str) -> None:
    """One would overwrite the other in the request, and the API would silently serve other rows."""
    with pytest.raises(ConfigurationError, match=rf"pagination: {said} both name '\w+'"):
        pagination_from({"type": kind, **LEAST[kind], **given})


def test_in_two_places_it_has_two() -> None:
    assert Sliced(**{**LEAST["sliced"], "from_param": "offset", "inject_into": "body"})


@pytest.mark.parametrize("given", ["fail", "accept"])
def test_no_page_is_short_where_offsets_follow_the_rows(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="on_short_page has no effect with step='received'"):
        Offset(step="received", total_path="n", on_short_page=given)


def test_a_page_that_repeats_a_row_holds_two() -> None:
    with pytest.raises(
        ConfigurationError, match="inclusive requires a page_size of at least 2: each page repeats a row"
    ):
        Keyset(key_path="id", key_param="from", inclusive=True, page_size=1, page_size_param="limit")
    assert Keyset(key_path="id", key_param="from", inclusive=True, page_size=2, page_size_param="limit")
