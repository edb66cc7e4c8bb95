from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_paginated.core.values import PageRecord, PageRequest, Split, Stop, Total
from airflow_paginated.sinks.files import frames
from tests.sinks.pages import BASE, SECRET, Api, record_of

# Lone surrogates and integers of any size: what a server can put into a cursor.
text = st.text(st.characters(exclude_categories=()), max_size=8)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
partitions = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3).map(tuple)
requests = st.builds(
    PageRequest,
    path=text,
    method=st.sampled_from(["GET", "POST"]),
    query=st.dictionaries(text, json_values, max_size=4),
    headers=st.dictionaries(text, text, max_size=3),
    body=json_values,
    partition=partitions,
    index=st.integers(0, 2**63 - 1),
    state=json_values,
    sure=st.booleans(),
)

splits = st.lists(requests, min_size=1, max_size=3).map(tuple).map(Split)


@st.composite
def pages(draw: st.DrawFn) -> tuple[PageRecord, bytes]:
    lines = draw(st.lists(st.binary(max_size=20).map(lambda row: row.replace(b"\n", b"") + b"\n"), max_size=4))
    payload = b"".join(lines)
    total = st.builds(Total, st.integers(0, 10**30), st.sampled_from(["items", "pages"]))
    record = PageRecord(
        request=draw(requests),
        successor=draw(requests | st.builds(Stop, text) | splits),
        rows=len(lines),
        bytes=len(payload),
        sha256=sha256(payload).hexdigest(),
        attempts=draw(st.integers(1, 10)),
        seconds=draw(st.integers(0, 1000)) / 8,
        total=draw(st.none() | total),
        ignored=draw(st.booleans()),
    )
    return record, payload


def frame(record: PageRecord, payload: bytes, base: PageRequest = BASE) -> bytes:
    return frames.encode(frames.header_of(record, base, 1.5)) + payload


@settings(deadline=None, max_examples=50)
@given(st.lists(pages(), max_size=5), requests)
def test_what_is_written_is_read(written: list[tuple[PageRecord, bytes]], base: PageRequest) -> None:
    data = b"".join(frame(record, payload, base) for record, payload in written)
    found, whole = frames.scan(data, verify=True)
    read = [(frames.record_of(f.header, base), data[f.offset : f.offset + f.header.payload]) for f in found]
    assert (read, whole) == (written, True)
    orders = [(list(record.request.query), [*record.request.headers]) for record, _ in written]
    assert [list(record.request.query) for record, _ in read] == [query for query, _ in orders]


@settings(deadline=None, max_examples=50)
@given(st.lists(pages(), min_size=1, max_size=4), st.data())
def test_a_torn_tail_costs_only_the_frame_it_tears(
    written: list[tuple[PageRecord, bytes]], data: st.DataObject
) -> None:
    whole = [frame(*page) for page in written]
    log = b"".join(whole)
    cut = data.draw(st.integers(0, len(log)))
    found, _ = frames.scan(log[:cut], verify=False)
    complete = sum(cut >= len(b"".join(whole[: number + 1])) for number in range(len(whole)))
    assert [each.line + log[each.offset : each.offset + each.header.payload] for each in found] == whole[:complete]


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=200))
def test_garbage_is_no_frame(data: bytes) -> None:
    good = frame(record_of(Api().landing((0,), 0)), Api().landing((0,), 0).page.lines)
    found, whole = frames.scan(good + data, verify=True)
    assert [len(found), whole] == [1, not data]


def test_zeros_where_the_disk_lost_the_payload() -> None:
    page = Api().landing((0,), 0)
    good = frame(record_of(page), page.page.lines)
    bad = good[: -len(page.page.lines)] + bytes(len(page.page.lines))
    assert frames.scan(good + bad, verify=False) == (frames.scan(good + bad, verify=False)[0], True)
    found, whole = frames.scan(good + bad, verify=True)
    assert (len(found), whole) == (1, False)


@pytest.mark.parametrize(
    "line",
    [
        b"{}\n",
        b'{"v":1,"at":1}\n',
        b'{"v":2,"at":1,"restart":[0]}\n',
        b'{"v":1,"at":1,"partition":[0],"index":0,"rows":1,"bytes":-5,"stop":"x"}\n',
        b'{"v":1,"at":1,"partition":[0],"index":0,"rows":1,"bytes":0}\n',
        b'{"v":1,"at":1,"restart":[0],"bytes":9}\n',
        b'{"v":1,"at":"\\ud800","restart":[0]}\n',
        b"[" * 100_000 + b"\n",
        b"\n",
    ],
)
def test_a_header_that_makes_no_sense_is_none(line: bytes) -> None:
    assert frames.decode(line) is None


def test_a_restart_marker_stands_between_frames() -> None:
    page = Api().landing((0,), 0)
    good = frame(record_of(page), page.page.lines)
    marker = frames.encode(frames.restart_of((0, 7), 2.5))
    found, whole = frames.scan(good + marker + good, verify=True)
    assert [each.header.restart for each in found] == [None, (0, 7), None]
    assert whole


def test_what_all_requests_share_never_lands() -> None:
    page = Api().landing((0,), 1)
    line = frames.encode(frames.header_of(record_of(page), BASE, 1.5))
    assert SECRET.encode() not in line
    assert b"/employees" not in line
    own = replace(page.page.request, headers={**BASE.headers, "X-Cursor": "abc"})
    with_header = replace(record_of(page), request=own)
    header = frames.header_of(with_header, BASE, 1.5)
    assert SECRET.encode() not in frames.encode(header)
    assert frames.record_of(header, BASE) == with_header


def test_a_changed_base_header_is_used_when_going_on() -> None:
    header = frames.header_of(record_of(Api().landing((0,), 0)), BASE, 1.5)
    renewed = replace(BASE, headers={"X-Api-Key": "renewed"})
    successor = frames.record_of(header, renewed).successor
    assert isinstance(successor, PageRequest)
    assert successor.headers == {"X-Api-Key": "renewed"}
    assert successor.query == {"active": "true", "page": 2}


def test_true_is_not_one() -> None:
    base = PageRequest("/", query={"flag": 1})
    record = replace(record_of(Api().landing((0,), 0)), request=PageRequest("/", query={"flag": True}))
    restored = frames.record_of(frames.header_of(record, base, 1.5), base)
    assert restored.request.query["flag"] is True
