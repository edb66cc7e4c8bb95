"""Rows as CSV."""

from __future__ import annotations

import csv
import gzip
import json
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.sinks import FileSink
from airflow_paginated.sinks.files.formats import Formulas, csv_composer, format_named
from airflow_paginated.sinks.rows import RowFunctions
from tests.sinks.conftest import Lake
from tests.sinks.pages import Api, collect, run_of
from tests.sinks.reading import parts

API = Api(pages=5, partitions=3)


def written(*pages: str, formulas: Formulas = "keep") -> str:
    """Return the file of pages, each one row or more in JSON."""
    lines = [f"{page}\n".encode() for page in pages]
    said: list[bytes] = []
    composer = csv_composer(lines, formulas=formulas)(said.append)
    for each in lines:
        composer.add(each)
    composer.finish()
    return b"".join(said).decode()


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (['{"a": 1, "b": "x"}'], "a,b\n1,x\n"),
        (['{"a": 1}', '{"b": 2, "a": 3}', "{}"], "a,b\n1,\n3,2\n,\n"),
        (['{"n": 12345678901234567890123, "x": 1.10, "y": -0.0, "z": 1E+2}'], None),
        (['{"t": true, "f": false, "n": null, "e": ""}'], 't,f,n,e\ntrue,false,,""\n'),
        (['{"a": {"b": [1, 2.50]}, "c": []}'], 'a,c\n"{""b"": [1, 2.50]}",[]\n'),
        (['{"a": "x,y", "b": "say \\"hi\\"", "c": "1\\n2", "d": " x", "e": "\\r"}'], None),
        (['{"a\\u0301": "\\u00e9 \\ud83e\\udd8a"}'], "a\u0301\né 🦊\n"),
        (['{"a": null}', '{"a": ""}', "{}"], 'a\n""\n""\n""\n'),
        (['{"": 1, "a,b": 2}'], '"","a,b"\n1,2\n'),
        (['{"a": "null"}', '{"a": "NaN"}', '{"a": "1.0"}'], "a\nnull\nNaN\n1.0\n"),
    ],
)
def test_cells(rows: list[str], text: str | None) -> None:
    found = written(*rows)
    assert text is None or found == text
    for row, record in zip(rows, csv.DictReader(StringIO(found, newline="")), strict=True):
        for name, value in json.loads(row, parse_int=str, parse_float=str).items():
            assert record[name] == value or not isinstance(value, str)


@given(st.lists(st.dictionaries(st.text(max_size=3), st.text(), max_size=4), min_size=1, max_size=5))
def test_texts_read_back(rows: list[dict[str, str]]) -> None:
    texts = [json.dumps(row) for row in rows]
    # What is no Unicode never comes as far as a file: no page is made of it.
    if any("\\ud8" in text.lower() or "\\udc" in text.lower() for text in texts):
        return
    found = list(csv.reader(StringIO(written(*texts), newline=""))) if any(rows) else [[]]
    names = list(dict.fromkeys(name for row in rows for name in row))
    assert found[0] == names
    if names:
        assert found[1:] == [[row.get(name, "") for name in names] for row in rows]


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=cmd|" /C calc"!A0', "=a,b"]

FORMULAS += ["\uff1d1", "\uff0b1", "\uff0d1", "\uff20x"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_escaped_where_that_is_asked_for(text: str) -> None:
    row = json.dumps({"a": text, text: 1})
    kept, escaped = (list(csv.reader(StringIO(written(row, formulas=how), newline=""))) for how in ("keep", "escape"))
    assert kept == [["a", text], [text, "1"]]
    assert escaped == [["a", f"'{text}"], [f"'{text}", "1"]]


def test_what_is_no_formula_stays() -> None:
    row = '{"a": -1.50, "b": "a=b", "c": "\'=1", "d": "", "e": [-1], "f": null, "g": "1-2"}'
    assert written(row, formulas="escape") == written(row) == 'a,b,c,d,e,f,g\n-1.50,a=b,\'=1,"",[-1],,1-2\n'


@pytest.mark.parametrize("row", ["1", "[1]", '"x"', "null"])
def test_rows_that_are_no_objects_are_refused(row: str) -> None:
    with pytest.raises(ConfigurationError, match="csv takes rows that are objects, and one is not; write jsonl"):
        written('{"a": 1}', row)


def test_rows_with_names_of_their_own_are_no_table() -> None:
    with pytest.raises(ConfigurationError, match="more than 10000 different names, which makes no table"):
        written(*(json.dumps({f"{page}-{name}": 1 for name in range(100)}) for page in range(101)))


def expected(**options: Any) -> str:
    return written(*API.lines().decode().splitlines(), **options)


def test_a_folder(lake: Lake) -> None:
    size = len(API.landing((0,), 0).page.lines)
    result = collect(lake.open(file_format="csv", part_bytes=2 * size), API)
    found = [text.decode() for _, text in sorted(parts(lake).items())]
    assert len(found) == result["files"] == 8
    header = "partition,page,version,row,price\n"
    assert all(text.startswith(f"{header}[0],") or text.startswith(header) for text in found)
    assert header + "".join(text.removeprefix(header) for text in found) == expected()
    manifest = json.loads(lake.files()["_manifest.json"])
    assert [file["rows"] for file in manifest["files"]] == [20] * 7 + [10]
    assert all(file["path"].endswith(".csv") for file in manifest["files"])


@pytest.mark.parametrize("name", ["e.csv", "e.csv.gz"])
def test_one_file(lake: Lake, name: str) -> None:
    collect(lake.open(f"lake/{name}"), API)
    data = lake.files("lake")[name]
    assert (gzip.decompress(data) if name.endswith(".gz") else data).decode() == expected()
    assert lake.existing(f"lake/{name}", run_of("run-2"))["rows"] == 150


def test_no_rows_make_an_empty_file(near: Lake) -> None:
    collect(near.open("near/e.csv"), Api(pages=1, rows=0))
    assert near.files("near")["e.csv"] == b""


def test_columns_are_those_of_the_rows_that_are_published(near: Lake) -> None:
    functions = RowFunctions(lambda row: row["row"] == 7, lambda row: {"b": row["page"], f"p{row['page']}": "=1"})
    run = run_of(rows=functions)
    collect(near.open("near/e.csv", run, csv_formulas="escape"), Api(pages=2))
    assert near.files("near")["e.csv"].decode() == "b,p0,p1\n0,'=1,\n1,,'=1\n"


def test_the_choice_is_a_part_of_the_digest(near: Lake) -> None:
    digests = set()
    for number, options in enumerate(({}, {"csv_formulas": "escape"}, {"file_format": "csv.gz"})):
        collect(near.open(f"{number}/", run_of(), **{"file_format": "csv", **options}), API)
        digests.add(json.loads(near.files(str(number))["_manifest.json"])["digest"])
    assert len(digests) == 3


def test_rows_that_make_no_table_leave_what_was_collected(near: Lake) -> None:
    functions = RowFunctions(None, lambda row: [row])
    with pytest.raises(ConfigurationError, match="csv takes rows that are objects"):
        collect(near.open(run=run_of(rows=functions), file_format="csv"), API)
    assert [name for name in near.files() if not name.startswith("_staging/")] == []
    assert near.open(run=run_of(), file_format="csv").last((0,)) is not None


@pytest.mark.parametrize(
    ("path", "options", "told"),
    [
        ("lake/e.csv", {"csv_formulas": "quote"}, "csv_formulas: 'quote' is not one of keep, escape"),
        ("lake/e.jsonl", {"csv_formulas": "escape"}, "csv_formulas is for csv, and the file format is jsonl"),
        ("lake/", {"csv_formulas": "escape"}, "csv_formulas is for csv, and the file format is jsonl"),
    ],
)
def test_a_wrong_choice_is_named(path: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        FileSink(path, **options)


def test_the_choice_of_a_format_by_name() -> None:
    assert format_named("csv").options == {"csv_formulas": "keep"}
    assert format_named("csv.gz", "escape").options == {"csv_formulas": "escape"}
    assert format_named("ndjson").options == {}
