"""What is common to all kinds of partitions: their dicts, where parameters go, products of them."""

from __future__ import annotations

from copy import copy
from typing import Any

import pytest

from airflow_paginated import DateWindows, Offset, PageRequest, ParameterSets, Product, RowsOf
from airflow_paginated.collect.collection import Collection, shown_of
from airflow_paginated.core.errors import ConfigurationError, IncompleteError, StoreError
from airflow_paginated.partitions import as_partitions, partitions_from, resolved, templates_in
from tests.partitions.parents import rows_of

PAGES = Offset(stop_after_empty_page=True)
ORDERS = rows_of({"id": "a"}, {"id": "b"})


def requests(partitions: Any, request: PageRequest = PageRequest("/rows")) -> list[PageRequest]:  # noqa: B008
    collection = Collection(request=request, pagination=PAGES, partitions=resolved(partitions, lambda path: ORDERS))
    found = list(collection.requests())
    assert collection.count() == len(found)
    return found


def sets(partitions: Any) -> list[Any]:
    found = resolved(partitions, lambda path: ORDERS)
    assert found is not None
    return list(found.sets())


def test_a_placeholder_comes_first_wherever_the_others_go() -> None:
    given = ParameterSets([{"id": "a/b", "X-Day": 5}], inject_into="header")
    (found,) = requests(given, PageRequest("/orders/{id}", headers={"x-day": "1", "y": "z"}))
    assert (found.path, found.headers, found.query) == ("/orders/a%2Fb", {"y": "z", "X-Day": "5"}, {})


def test_each_parameter_has_a_place_of_its_own() -> None:
    parameters = {"q": [1, 2], "X-Flag": True, "filter.year": 2024, "rest": None, "note": "n"}
    places = {"q": "query", "X-Flag": "header", "filter.year": "body", "note": "none"}
    request = PageRequest("/search", "POST", query={"v": 1}, body={"filter": {"kind": "x"}})
    (found,) = requests(ParameterSets([parameters], inject_into=places), request)
    assert found.query == {"v": 1, "q": [1, 2]}
    assert found.headers == {"X-Flag": "true"}
    assert found.body == {"filter": {"kind": "x", "year": 2024}, "rest": None}
    assert request.body == {"filter": {"kind": "x"}}


def test_a_body_is_made_where_there_is_none() -> None:
    (found,) = requests(ParameterSets([{"a": 1}], inject_into="body"), PageRequest("/search", "POST"))
    assert (found.body, found.query) == ({"a": 1}, {})


def test_sets_that_differ_by_a_header_are_different() -> None:
    assert len(requests(ParameterSets([{"X-T": "a"}, {"X-T": "b"}], inject_into="header"))) == 2
    with pytest.raises(ConfigurationError, match=r"partitions\[1\] sends the same request as partitions\[0\]"):
        requests(ParameterSets([{"a": 1, "n": 1}, {"a": 1, "n": 2}], inject_into={"n": "none"}))


def test_a_placeholder_that_nothing_fills_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match=r"partitions\[1\]: no parameter fills {id} in the endpoint; the parameters are order"
    ):
        requests([{"id": 1}, {"order": 2}], PageRequest("/orders/{id}"))
    with pytest.raises(ConfigurationError, match=r"'id' fills a placeholder of the endpoint, but is not valid Unicode"):
        requests([{"id": "\ud800"}], PageRequest("/orders/{id}"))


def test_the_plan_tells_of_places() -> None:
    def plan(given: Any) -> Any:
        partitions = resolved(given, lambda path: ORDERS)
        return Collection(request=PageRequest("/"), pagination=PAGES, partitions=partitions).plan("https://a", "c")

    in_header = plan(ParameterSets([{"a": 1}], inject_into="header"))
    assert in_header["inject_into"] == {"a": "header"}
    assert plan([{"a": 1}]) == plan(ParameterSets([{"a": 1}])) != in_header
    assert "inject_into" not in plan([{"a": 1}])


def test_a_product_is_every_combination() -> None:
    months = DateWindows(
        "2024-01-01", "2024-03-01", "1mo", from_param="since", to_param="until", datetime_format="date"
    )
    given = Product([RowsOf("m/_manifest.json", {"order": "id"}), [{"kind": 1}, {"kind": 2}], months])
    found = sets(given)
    assert len(found) == 8
    assert found[1] == {"order": "a", "kind": 1, "since": "2024-02-01", "until": "2024-03-01"}
    assert [each["order"] for each in found] == ["a"] * 4 + ["b"] * 4
    crossed: Any = resolved(given, lambda path: ORDERS)
    assert set(crossed.names) == {"order", "kind", "since", "until"}
    assert [check.name for check in crossed.checks()] == ["parents_complete"]
    assert [part["type"] if isinstance(part, dict) else len(part) for part in crossed.describe()["of"]] == [
        "rows_of",
        64,
        "date_windows",
    ]


def test_the_places_of_a_product_are_those_of_its_parts() -> None:
    given = Product([ParameterSets([{"X-A": 1}], inject_into="header"), [{"b": 2}]])
    (found,) = requests(given)
    assert (found.headers, found.query) == ({"X-A": "1"}, {"b": 2})


@pytest.mark.parametrize(
    ("of", "said"),
    [
        ([[{"a": 1}]], "a list of at least two partitions"),
        ("ab", "a list of at least two partitions"),
        ([[{"a": 1}], 5], "Product combines partitions, got int"),
        ([[{"a": 1}], [{"b": 1, "a": 2}]], "two parts of a Product have the parameter 'a'"),
    ],
)
def test_what_makes_no_product_is_refused(of: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        sets(Product(of))


def test_every_kind_has_a_dict() -> None:
    rows = {"type": "rows_of", "manifest": "m/_manifest.json", "fields": ["id"]}
    listed = {"type": "parameter_sets", "sets": [{"a": 1}], "inject_into": "header"}
    assert partitions_from({"type": "product", "of": [rows, listed, [{"b": 1}]]}) == Product(
        [RowsOf("m/_manifest.json", ["id"]), ParameterSets([{"a": 1}], inject_into="header"), ParameterSets([{"b": 1}])]
    )
    assert partitions_from([{"type": "a"}]) == [{"type": "a"}]
    with pytest.raises(ConfigurationError, match="'rows' is not one of parameter_sets, rows_of"):
        partitions_from({"type": "rows"})
    with pytest.raises(ConfigurationError, match=r"partitions \(rows_of\): unknown key 'field' \(did you mean"):
        partitions_from({**rows, "field": 1})
    with pytest.raises(ConfigurationError, match=r"partitions \(rows_of\): 'fields' is required"):
        partitions_from({"type": "rows_of", "manifest": "x"})
    with pytest.raises(ConfigurationError, match="expected a list of dicts, or a dict with 'type': param"):
        resolved({"a": 1}, lambda path: ORDERS)


def test_partitions_that_are_not_resolved_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="RowsOf must be resolved first"):
        as_partitions(RowsOf("m/_manifest.json", ["id"]))


class Letters:
    """Custom partitions."""

    names = ("letter",)
    places: dict[str, Any] = {}  # noqa: RUF012  # a constant

    def sets(self) -> Any:
        return ({"letter": letter} for letter in "xyz")

    def describe(self) -> str:
        return "three letters"


def test_anybody_may_make_partitions() -> None:
    assert [found.query for found in requests(Letters())] == [{"letter": "x"}, {"letter": "y"}, {"letter": "z"}]


def test_templates_are_found_wherever_they_are() -> None:
    given = Product([RowsOf("one", ["id"]), Product([ParameterSets(["two"]), RowsOf("three", ["b"])])])  # type: ignore[list-item]  # a template
    assert templates_in(given) == ["one", "two", "three"]
    assert templates_in(None) == [None]
    rows: Any = copy(given).of[0]
    rows.manifest = "rendered"
    assert templates_in(given)[0] == "one"


def error_about(partition: tuple[int, ...], partitions: Any) -> str:
    found = resolved(partitions, lambda path: ORDERS)
    collection = Collection(request=PageRequest("/"), pagination=PAGES, partitions=found)
    error = IncompleteError("it failed")
    error.partition = partition
    with pytest.raises(IncompleteError) as caught, collection.naming_parameters():
        raise error
    return str(caught.value)


def test_an_error_about_a_partition_names_its_parameters() -> None:
    assert error_about((1,), RowsOf("m/_manifest.json", {"order": "id"})) == "it failed (partitions[1]: order='b')"
    assert (
        error_about((0, 3, 1), [{"n": 1, "x": None, "l": [1]}])
        == "it failed (partitions[0]: n=1, x=null, l=a list of length 1)"
    )
    assert error_about((0,), None) == "it failed"
    assert error_about((), [{"n": 1}]) == "it failed"


def test_an_error_names_no_credential_and_no_long_text() -> None:
    said = error_about((0,), [{"api_key": "s3cr3t", "long": "x" * 50}])
    assert said == "it failed (partitions[0]: api_key=***, long=(a string of 50 characters))"


def test_the_first_error_is_the_one_that_is_told() -> None:
    class Gone(Letters):
        def sets(self) -> Any:
            raise StoreError("gone")

    assert error_about((2,), Gone()) == "it failed"


def test_values_of_parameters_may_be_shown_but_for_credentials() -> None:
    collection = Collection(
        request=PageRequest("/"), pagination=PAGES, partitions=[{"store": 1, "token": 2}, {"X-Api-Key": 3}]
    )
    assert shown_of(collection) == {"store"}
