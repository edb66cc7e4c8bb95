from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.sinks import FileSink, XComSink, local_or_fsspec, sink_from
from airflow_paginated.sinks.files.file_sink import FileTarget
from tests.sinks.conftest import Lake
from tests.sinks.pages import Api, collect, run_of


def target_of(sink: FileSink) -> FileTarget:
    target = sink.resolved(lambda path: (LocalFileSystem(), path))
    assert isinstance(target, FileTarget)
    return target


def rendered(written: str, path: str, **options: Any) -> FileSink:
    """Do to a sink what Airflow does: replace its path in place."""
    sink = FileSink(written, **options)
    sink.path = path
    return sink


@pytest.mark.parametrize(
    ("path", "file_format", "one_file", "suffix"),
    [
        ("lake/employees", None, None, "jsonl"),
        ("lake/employees/", None, None, "jsonl"),
        ("lake/run.2026-01-01T00:00:00.123", None, None, "jsonl"),
        ("lake/employees.jsonl/", None, None, "jsonl"),
        ("lake/employees.csv/", None, None, "jsonl"),
        ("lake/employees.jsonl.d", None, None, "jsonl"),
        ("lake/e/", "jsonl", None, "jsonl"),
        ("lake/e/", "ndjson", None, "jsonl"),
        ("lake/e/", "jsonl.gz", None, "jsonl.gz"),
        ("lake/employees.jsonl", None, "employees.jsonl", "jsonl"),
        ("lake/employees.ndjson", "jsonl", "employees.ndjson", "jsonl"),
        ("lake/employees.jsonl.gz", None, "employees.jsonl.gz", "jsonl.gz"),
        ("lake/employees.jsonl.gz", "jsonl", "employees.jsonl.gz", "jsonl.gz"),
        ("lake/employees.ndjson.gz", "ndjson.gz", "employees.ndjson.gz", "jsonl.gz"),
    ],
)
def test_the_path_says_file_or_folder(path: str, file_format: str | None, one_file: str | None, suffix: str) -> None:
    target = target_of(FileSink(path, file_format=file_format))
    assert (target.layout.name, target.layout.suffix) == (one_file, suffix)
    assert target.file_format.name == suffix
    assert (target.part_bytes is None) == (one_file is not None)


@pytest.mark.parametrize(
    ("path", "options", "text"),
    [
        ("", {}, "sink: path must be"),
        (None, {}, "sink: path must be"),
        (7, {}, "sink: path must be"),
        ("lake/", {"staging": ""}, "sink: staging must be"),
        ("lake/", {"if_exists": "append"}, "sink: if_exists: 'append' is not one of replace, fail, skip"),
        ("lake/", {"part_bytes": 0}, "sink: part_bytes"),
        ("lake/", {"part_bytes": "1 MiB"}, "sink: part_bytes"),
        ("lake/", {"file_format": "xml"}, "'xml' is not supported; supported are jsonl, jsonl.gz"),
        ("lake/", {"file_format": "parquet"}, "'parquet' is not supported"),
        ("lake/e.parquet", {}, "'parquet' is not supported"),
        ("lake/e.csv.zst", {}, "'csv.zst' is not supported"),
        ("lake/e.jsonl.zst", {}, "'jsonl.zst' is not supported"),
        ("lake/e.jsonl", {"file_format": "jsonl.gz"}, "path ends like a jsonl file, but file_format is 'jsonl.gz'"),
        ("lake/e.csv", {"file_format": "jsonl"}, "path ends like a csv file"),
    ],
)
def test_a_wrong_argument_is_named(path: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^sink: ") as caught:
        FileSink(path, **options)
    assert text in str(caught.value)


@pytest.mark.parametrize("argument", ["path", "staging"])
def test_a_password_in_a_path_is_refused_without_repeating_it(argument: str) -> None:
    url = "ftp://user:hunter2@host/lake/"
    with pytest.raises(ConfigurationError, match=f"sink: {argument} must not hold a password") as caught:
        FileSink(**{"path": "lake/", argument: url})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("lake/{{ run_id }}/", "lake/manual__2026-01-01T00:00:00+00:00/"),
        ("lake/{{ run_id }}/", "lake/a/b/"),
        ("lake/x-{{ run_id }}.jsonl", "lake/x-1.jsonl"),
        ("../lake/{{ run_id }}", "../lake/1"),
        ("lake/{% if a %}b{% endif %}/", "lake/b/"),
        ("s3://lake/{{ ds }}/x", "s3://lake/1/x"),
        ("s3://{{ bucket }}/x", "s3://lake/x"),
        ("{{ params.path }}", "/data/lake"),
        ("{{ params.path }}", "s3://lake/x/"),
        ("lake/..", "lake/.."),
    ],
)
def test_a_rendered_path_inside_its_base(written: str, path: str) -> None:
    assert target_of(rendered(written, path)).path == path


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("lake/{{ x }}/", "lake/../"),
        ("lake/{{ x }}/", "lake/a/../../etc/"),
        ("lake/{{ x }}/", "lake/./"),
        ("lake/{{ x }}/", "lake//"),
        ("lake/{{ x }}/", "lake//etc/"),
        ("lake/{{ x }}", "lake/"),
        ("lake/{{ x }}/y", "lake//y"),
        ("lake/{{ x }}/", "lake/a\x00b/"),
        ("lake/{{ x }}/", "lake/a\nb/"),
        ("lake/{{ x }}/", "lake/..\\etc/"),
        ("lake/{{ x }}/", "/etc/"),
        ("lake/a-{{ x }}/", "other/"),
        ("s3://lake/{{ x }}/", "s3://lake/../other/"),
        ("s3://{{ x }}/y", "s3:///y"),
        ("{{ x }}", "/data/../etc"),
        ("{{ x }}", "s3://lake/../x"),
        ("{{ x }}", "a//b"),
    ],
)
def test_a_rendered_path_that_leaves_its_base(written: str, path: str) -> None:
    with pytest.raises(ConfigurationError, match=r"sink: path .* leaves its base"):
        target_of(rendered(written, path))
    sink = FileSink("lake/", staging=written)
    sink.staging = path
    with pytest.raises(ConfigurationError, match=r"sink: staging .* leaves its base"):
        target_of(sink)


@pytest.mark.parametrize("path", ["lake/{{ run_id }}/", "lake/{% raw %}/", "lake/{# x #}/"])
def test_a_template_that_was_never_rendered(path: str) -> None:
    with pytest.raises(ConfigurationError, match="never rendered"):
        target_of(FileSink(path))


def test_a_password_that_a_template_brings_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must not hold a password"):
        target_of(rendered("{{ x }}", "ftp://user:hunter2@host/lake/"))


def test_sinks_are_plain_values() -> None:
    sink = FileSink("lake/{{ run_id }}/", file_format="jsonl.gz", staging="tmp/")
    same = copy.deepcopy(sink)
    assert same == sink
    assert repr(same) == repr(sink)
    assert repr(FileSink("{{ x }}", part_bytes=9)) == (
        "FileSink('{{ x }}', file_format=None, csv_formulas='keep', if_exists='replace', staging=None, part_bytes=9)"
    )
    same.path = "lake/../etc/"
    assert same != sink
    with pytest.raises(ConfigurationError, match="leaves its base"):
        target_of(copy.deepcopy(same))
    assert sink != "lake/"
    assert [name for name in FileSink.template_fields if not hasattr(sink, name)] == []


def test_sink_from() -> None:
    sink = FileSink("lake/")
    assert sink_from("xcom") == XComSink()
    assert sink_from("lake/") == sink
    assert sink_from(Path("lake/e.jsonl")) == FileSink("lake/e.jsonl")
    assert sink_from(sink) is sink
    assert sink_from(target_of(sink)) == target_of(sink)
    for wrong in (None, 7, {"path": "lake/"}, b"lake/"):
        with pytest.raises(ConfigurationError, match=r"^sink: expected"):
            sink_from(wrong)


def test_a_relative_path_survives_a_change_of_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    dataset = FileSink("out/").resolved(local_or_fsspec).open(run_of())
    monkeypatch.chdir(tmp_path / "elsewhere")
    result = collect(dataset, Api())
    assert (result["path"], result["manifest"]) == ("out/", "out/_manifest.json")
    assert sorted(os.listdir(tmp_path / "out")) == ["_manifest.json", "_pages", f"part-00000-{digest(tmp_path)}.jsonl"]
    assert os.listdir(tmp_path / "elsewhere") == []


def digest(folder: Path) -> str:
    return next((folder / "out" / "_pages").iterdir()).name.partition(".")[0]


def test_fsspec_urls_resolve(memory: Lake) -> None:
    sink = FileSink(f"memory:/{memory.root}/out/e.jsonl")
    result = collect(sink.resolved(local_or_fsspec).open(run_of()), Api())
    assert memory.files()["e.jsonl"] == Api().lines()
    assert result["manifest"] == f"memory:/{memory.root}/out/_e.jsonl.manifest.json"
