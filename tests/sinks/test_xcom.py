from __future__ import annotations

import pytest

from airflow_paginated.core.errors import LimitExceeded
from airflow_paginated.core.values import OrderedPage, Page, PageRequest, Stop
from airflow_paginated.sinks import XComSink
from tests.sinks.pages import Api, collect, record_of, report_of, run_of, store_pages


def test_rows_come_back_decoded_and_in_order() -> None:
    dataset = XComSink().open(run_of())
    rows = collect(dataset, Api(pages=3, partitions=2, rows=2))
    places = [(row["partition"][0], row["page"], row["row"]) for row in rows]
    assert places == [(part, page, row) for part in range(2) for page in range(3) for row in range(2)]
    assert rows[0]["price"] == 1.1


def test_nothing_is_an_empty_list() -> None:
    assert collect(XComSink().open(run_of()), Api(rows=0)) == []


def test_large_integers_stay_exact() -> None:
    page = Page.of(PageRequest("/"), [b'{"id": 12345678901234567890123}'])
    dataset = XComSink().open(run_of())
    store_pages(dataset, [OrderedPage(page, Stop("single page"))])
    assert dataset.publish(report_of(dataset)) == [{"id": 12345678901234567890123}]


def test_too_many_rows_are_refused_early_with_advice() -> None:
    api = Api(pages=100)
    size = len(api.landing((0,), 0).page.lines)
    dataset = XComSink().open(run_of(xcom_bytes=2 * size))
    store_pages(dataset, [api.landing((0,), 0), api.landing((0,), 1)])
    with pytest.raises(LimitExceeded, match=rf"first 30 rows have {3 * size} bytes.*limits.xcom_bytes.*sink=FileSink"):
        store_pages(dataset, [api.landing((0,), 2)])


def test_a_page_that_lands_again_counts_once() -> None:
    api = Api(pages=2)
    dataset = XComSink().open(run_of(xcom_bytes=len(api.lines())))
    store_pages(dataset, [*api.landings(), *api.landings()])
    assert len(dataset.publish(report_of(dataset))) == 20
    dataset.restart((0,))
    store_pages(dataset, api.landings())


def test_what_is_unfinished() -> None:
    api = Api(pages=3, partitions=2)
    dataset = XComSink().open(run_of())
    assert (list(dataset.unfinished()), dataset.last((0,))) == ([], None)
    store_pages(dataset, [api.landing((0,), 0), api.landing((0,), 1), api.landing((1,), 2)])
    assert list(dataset.unfinished()) == [record_of(api.landing((0,), 1))] == [dataset.last((0,))]
    dataset.discard()
    assert list(dataset.records()) == []


def test_equality() -> None:
    assert XComSink() == XComSink()
    assert repr(XComSink()) == "XComSink()"
    assert len({XComSink(), XComSink()}) == 1
