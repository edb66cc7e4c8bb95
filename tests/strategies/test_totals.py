"""Totals that real APIs declare: many are not exact, and must be configured as hints."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_paginated import Cursor, HeaderLink, Keyset, Offset, PageNumber
from airflow_paginated.core.errors import ConfigurationError, IncompleteError, ResponseError
from tests.servers.styles import (
    Bare,
    ByKey,
    ByLink,
    ByNumber,
    ByOffset,
    ByToken,
    Envelope,
    More,
    StyledApi,
    Total,
    employees,
    links,
    telling,
)
from tests.strategies.collecting import Collect

ROWS = employees(230)
EXACT = {"total_path": "meta.total"}
HINT = {**EXACT, "total_is": "hint"}


def table(asked: object, *tells: object, **given: Any) -> StyledApi:
    return StyledApi(**{"rows": ROWS, "asked": asked, "tells": tells, "shape": Envelope(), **given})


@pytest.mark.parametrize("workers", [1, 16])
@pytest.mark.parametrize("count", [telling.unknown, telling.capped, telling.own, lambda span: 1000])
@pytest.mark.parametrize("rule", [{"stop_after_empty_page": True}, {"has_more_path": "has_more"}])
def test_a_wrong_total_is_harmless_as_a_hint(collect: Collect, count: Any, rule: dict[str, Any], workers: int) -> None:
    for asked, kind in ((ByNumber(), PageNumber), (ByOffset(size_param="limit", asks=20), Offset)):
        own = {"page_size": 20} if kind is Offset else {}
        api = table(asked, Total(count=count), More())
        found = collect(api, kind(**HINT, **rule, **own), data_selector="data", max_workers=workers)
        assert found.lines == api.reference()


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (telling.unknown, "the total at 'meta.total' must be a count"),
        (lambda span: 1000, "has 230 items, the API declares 1000"),
        (lambda span: 229, "has 230 items, the API declares 229"),
        (lambda span: 210, "has 220 items, the API declares 210"),
    ],
)
def test_a_wrong_total_that_is_not_called_a_hint_fails(collect: Collect, count: Any, told: str) -> None:
    api = table(ByNumber(), Total(count=count))
    error = collect.error(api, PageNumber(**EXACT), data_selector="data", max_workers=1)
    assert isinstance(error, ResponseError | IncompleteError)
    assert told in str(error)


@pytest.mark.parametrize("count", [telling.capped, telling.own, lambda span: span.stop])
def test_a_total_that_hides_whole_pages_is_noticed(collect: Collect, count: Any) -> None:
    api = table(ByNumber(), Total(count=count))
    error = collect.error(api, PageNumber(**EXACT), data_selector="data")
    assert "total_is='hint'" in str(error)


def test_a_total_of_minus_one_says_what_to_set(collect: Collect) -> None:
    error = collect.error(table(ByNumber(), Total(count=telling.unknown)), PageNumber(**EXACT), data_selector="data")
    assert "total_is='hint'" in str(error)


def test_a_hint_alone_does_not_end_a_run() -> None:
    with pytest.raises(ConfigurationError, match="a total that is only a hint does not end a run"):
        PageNumber(**HINT)


def test_a_total_in_a_header_alone_plans_the_run(collect: Collect) -> None:
    api = table(ByNumber(), Total(header="X-Total-Count"), shape=Bare())
    found = collect(api, PageNumber(total_header="x-total-count"))
    assert (found.lines, len(found.seen)) == (api.reference(), 12)


def test_a_total_on_page_1_alone_plans_the_run(collect: Collect) -> None:
    api = table(ByNumber(), Total(when=telling.on_page_1))
    found = collect(api, PageNumber(**EXACT), data_selector="data")
    assert (found.lines, len(found.seen)) == (api.reference(), 12)


@pytest.mark.parametrize(
    ("asked", "strategy", "shape"),
    [
        (ByToken(), Cursor(cursor_path="next_cursor", **EXACT), Envelope()),
        (ByKey(), Keyset(key_path="id", key_param="after_id", **EXACT), Envelope()),
        (ByLink(headers=links.link_header), HeaderLink(**EXACT), Envelope()),
    ],
)
def test_a_total_beside_a_cursor_a_key_or_a_link_must_come_true(
    collect: Collect, asked: object, strategy: Any, shape: Envelope
) -> None:
    right = table(asked, Total(), shape=shape)
    assert collect(right, strategy, data_selector="data").lines == right.reference()
    wrong = table(asked, Total(count=lambda span: span.total + 1), shape=shape)
    error = collect.error(wrong, strategy, data_selector="data")
    assert isinstance(error, IncompleteError)
    assert "has 230 items, the API declares 231" in str(error)


def test_a_total_that_grows_is_followed_where_that_is_configured(collect: Collect) -> None:
    api = table(ByNumber(), Total(count=lambda span: span.total - 40 * (span.start < 100)))
    error = collect.error(api, PageNumber(**EXACT), data_selector="data", max_workers=1)
    assert isinstance(error, IncompleteError)
    assert "completeness.on_total_change='extend'" in str(error)
    extend = {"on_total_change": "extend"}
    found = collect(api, PageNumber(**EXACT), data_selector="data", completeness=extend)
    assert found.lines == api.reference()
