"""Parameter sets from the rows of an earlier collection."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated import RowsOf
from airflow_paginated.core.errors import ConfigurationError, StoreError
from airflow_paginated.partitions import partitions_from
from airflow_paginated.partitions.protocol import Parent, Partitions
from tests.partitions.parents import Rows, rows_of

MANIFEST = "/lake/orders/_manifest.json"


def asked(parent: Parent, fields: Any, **options: Any) -> Partitions:
    def read(path: str) -> Parent:
        assert path == MANIFEST
        return parent

    return RowsOf(MANIFEST, fields, **options).resolved(read)


def test_fields_are_names_or_paths_into_a_row() -> None:
    parent = rows_of({"id": 1, "customer": {"id": "a"}, "x.y": True}, {"id": 2, "customer": {"id": "b"}, "x.y": False})
    assert list(asked(parent, ["id"]).sets()) == [{"id": 1}, {"id": 2}]
    paths = {"order_id": "id", "customer": "customer.id", "flag": '["x.y"]'}
    found = asked(parent, paths)
    assert list(found.sets()) == [
        {"order_id": 1, "customer": "a", "flag": True},
        {"order_id": 2, "customer": "b", "flag": False},
    ]
    assert list(found.sets()) == list(found.sets())
    assert found.names == {"order_id", "customer", "flag"}


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        (b"12345678901234567890123", 12345678901234567890123),
        (b"-7", -7),
        (b"1.5", 1.5),
        (b"1.10", "1.10"),
        (b"1E+2", "1E+2"),
        (b"0.1000000000000000000001", "0.1000000000000000000001"),
        (b"true", True),
        (b'"a\\u00e9\\n"', "aé\n"),
        (b'""', ""),
    ],
)
def test_values_keep_their_digits(sent: bytes, value: Any) -> None:
    ((found,),) = (
        each.values() for each in asked(Rows([b'{"id": %b , "more": [1, {"id": 5}]}' % sent]), ["id"]).sets()
    )
    assert (found, type(found)) == (value, type(value))


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers() | st.text() | st.booleans(), min_size=3)))
def test_any_rows_come_in_their_order(rows: list[dict[str, Any]]) -> None:
    assert list(asked(rows_of(*rows), ["a", "c"]).sets()) == [{"a": row["a"], "c": row["c"]} for row in rows]


@given(st.lists(st.integers(0, 5)))
def test_rows_with_the_same_values_can_be_one_partition(values: list[int]) -> None:
    parent = rows_of(*({"n": number, "customer": value} for number, value in enumerate(values)))
    found = asked(parent, ["customer"], on_duplicate="drop")
    assert [each["customer"] for each in found.sets()] == list(dict.fromkeys(values))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"customer": {}}, r"row 5 of /lake/orders/_manifest.json lacks 'id': .*an object with the keys 'customer'"),
        ({}, r"row 5 of .* lacks 'id': the row is an empty object"),
        (7, r"row 5 of .* lacks 'id': the row is a number"),
        ({"id": None}, r"row 5 of .*: a parameter must be a string, a number or a boolean, but 'id' is null"),
        ({"id": [1]}, r"row 5 of .*: 'id' is a list of length 1|'id' is a list of length 1"),
        ({"id": {"secret": "s3cr3t"}}, r"'id' is an object with the keys 'secret'"),
    ],
)
def test_a_row_without_a_value_is_named(row: Any, said: str) -> None:
    parent = rows_of(*({"id": number} for number in range(4)), row, {"id": 6})
    with pytest.raises(ConfigurationError, match=said) as caught:
        list(asked(parent, ["id"]).sets())
    assert "s3cr3t" not in str(caught.value)


def test_a_row_that_is_no_json_is_a_damaged_file() -> None:
    with pytest.raises(StoreError, match="lists a damaged file"):
        list(asked(Rows([b'{"id": 1}', b'{"id": ']), ["id"]).sets())


def test_a_dataset_that_is_not_complete_is_refused_unless_it_is_wanted() -> None:
    parent = rows_of({"id": 1}, complete=False)
    with pytest.raises(ConfigurationError, match=r"_manifest.json is not complete .*allow_incomplete=True"):
        asked(parent, ["id"])
    found: Any = asked(parent, ["id"], allow_incomplete=True)
    (check,) = found.checks()
    assert (check.name, check.verdict) == ("parents_complete", "waived")
    whole: Any = asked(rows_of({"id": 1}), ["id"])
    (check,) = whole.checks()
    assert (check.verdict, check.evidence) == ("passed", f"1 rows of {MANIFEST}, digest 0123456789abcdef")


def test_the_plan_has_the_digest_of_the_dataset_and_the_fields() -> None:
    one = asked(rows_of({"id": 1}), {"order_id": "id"}).describe()
    assert one == {"type": "rows_of", "digest": "0123456789abcdef", "fields": {"order_id": "id"}}
    assert asked(rows_of({"id": 1}, digest="f" * 16), {"order_id": "id"}).describe() != one
    assert asked(rows_of({"id": 1}), ["id"]).describe() != one
    assert asked(rows_of({"id": 1}), {"order_id": "id"}, on_duplicate="drop").describe() != one


@pytest.mark.parametrize("given", [MANIFEST, PurePosixPath(MANIFEST), {"path": "/lake/orders/", "manifest": MANIFEST}])
def test_the_manifest_is_a_path_or_the_result_of_its_task(given: Any) -> None:
    def read(path: str) -> Parent:
        assert path == MANIFEST
        return rows_of({"id": 5})

    assert list(RowsOf(given, ["id"]).resolved(read).sets()) == [{"id": 5}]


@pytest.mark.parametrize(
    ("rendered", "said"),
    [
        ({"path": "x"}, "requires the path of a manifest, or the result of a task with a FileSink; got an object with"),
        ([{"id": 1}], "got a list of length 1"),
        ("{{ ti.xcom_pull('orders') }}", "is a template that was not rendered"),
        ("{'path': '/lake', 'manifest': '/lake/_manifest.json'}", r"got a string that is not a path; write {{ ti.xcom"),
        ("None", r"got a string that is not a path; write {{ ti.xcom"),
    ],
)
def test_what_is_no_manifest_when_it_is_rendered_is_refused(rendered: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        RowsOf(rendered, ["id"]).resolved(lambda path: rows_of())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"manifest": ""}, "RowsOf requires the manifest"),
        ({"manifest": None}, "RowsOf requires the manifest"),
        ({"fields": []}, "fields must not be empty"),
        ({"fields": {}}, "fields must not be empty"),
        ({"fields": "id"}, "fields must be a list or a dict, got str"),
        ({"fields": ["id", 5]}, "fields must be a list of distinct names"),
        ({"fields": ["id", "id"]}, "fields must be a list of distinct names"),
        ({"fields": ["customer.id"]}, "fields must be a list of distinct names, or a dict"),
        ({"fields": {"id": ""}}, "the path of 'id': expected a non-empty string"),
        ({"fields": {"id": "a..b"}}, "the path of 'id': invalid path 'a..b'"),
        ({"fields": {"id": "items[*].id"}}, r"'id' must lead to a single value of a row, but \[\*\] matches many"),
        (
            {"fields": {"a": '["a\\"b"]'}},
            "paths into a row must not contain a quote, a backslash or a control character",
        ),
        ({"fields": {"": "id"}}, "parameter name"),
        ({"on_duplicate": "keep"}, "'keep' is not one of fail, drop"),
        ({"allow_incomplete": 1}, "allow_incomplete: expected true or false"),
        ({"inject_into": {"order": "header"}}, "unknown key 'order'; allowed: id"),
        ({"fields": {"X-Api-Key": "id"}, "inject_into": "header"}, "'X-Api-Key' looks like a credential"),
    ],
)
def test_wrong_arguments_are_refused_when_the_dag_is_parsed(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        RowsOf(**{"manifest": MANIFEST, "fields": ["id"], **change})


def test_the_dict_of_rows_is_the_same() -> None:
    given = {"type": "rows_of", "manifest": MANIFEST, "fields": ["id"]}
    assert partitions_from(given) == RowsOf(MANIFEST, ["id"])
    assert partitions_from(json.loads(json.dumps(given))) == RowsOf(MANIFEST, ["id"])
