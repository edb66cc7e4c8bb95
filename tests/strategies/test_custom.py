"""Custom strategies: any object with ``first`` and ``follow``, and optionally ``ahead``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from airflow_paginated import Page, PageRequest, Stop
from airflow_paginated.core.errors import ConfigurationError, IncompleteError
from airflow_paginated.core.values import Successor, Total
from tests.servers import mixed
from tests.servers.schedules import SEVEN
from tests.servers.styles import ByNumber, ByToken, Envelope, StyledApi, employees
from tests.strategies.collecting import Collect
from tests.strategies.scripted import Scripted

ROWS = employees(230)
DATA: dict[str, Any] = {"data_selector": "data"}


class ByCursor:
    """The minimum."""

    def first(self, request: PageRequest) -> PageRequest:
        return replace(request, index=0)

    def follow(self, page: Page) -> Successor:
        cursor = page.envelope["next_cursor"]
        if cursor is None:
            return Stop("no cursor")
        return replace(page.request, index=page.request.index + 1, query={**page.request.query, "cursor": cursor})


@dataclass(frozen=True)
class ByPage:
    """One that knows the number of pages, so it can prefetch and check the total."""

    pages: int
    rows: int

    def first(self, request: PageRequest) -> PageRequest:
        return replace(request, index=0, query={**request.query, "page": 1})

    def follow(self, page: Page) -> Successor:
        return self._next(page.request) or Stop("all pages")

    def ahead(self, page: Page, sent: PageRequest) -> PageRequest | None:
        return self._next(sent)

    def total(self, page: Page) -> Total:
        return Total(self.rows, "items")

    def _next(self, after: PageRequest) -> PageRequest | None:
        index = after.index + 1
        return None if index == self.pages else replace(after, index=index, query={**after.query, "page": index + 1})


@pytest.mark.parametrize("workers", [1, 16])
@pytest.mark.parametrize("rate", [0.0, 0.1])
@pytest.mark.parametrize(("asked", "strategy"), [(ByToken(), ByCursor()), (ByNumber(), ByPage(12, 230))])
def test_a_custom_strategy_collects_as_those_of_the_package_do(
    collect: Collect, asked: object, strategy: object, rate: float, workers: int
) -> None:
    api = StyledApi(rows=ROWS, asked=asked, shape=Envelope())
    faults = mixed(SEVEN, rate or 1e-9, seed=5)
    found = collect(api, strategy, faults=faults, max_workers=workers, **DATA)
    assert found.lines == api.reference()
    if not rate:
        assert len(found.seen) == 12


def test_a_total_of_a_custom_strategy_must_come_true(collect: Collect) -> None:
    api = StyledApi(rows=ROWS, asked=ByNumber(), shape=Envelope())
    error = collect.error(api, ByPage(12, 231), **DATA)
    assert isinstance(error, IncompleteError)
    assert "has 230 items, the API declares 231" in str(error)


class Astray(ByCursor):
    """One that leads to the same page again."""

    def follow(self, page: Page) -> Successor:
        return page.request


class Mute(ByCursor):
    """One that returns nothing."""

    def follow(self, page: Page) -> Any:
        return None


@pytest.mark.parametrize(("strategy", "told"), [(Astray(), "it returned (0,), 0"), (Mute(), "it returned None")])
def test_a_custom_strategy_that_leads_astray_is_told(collect: Collect, strategy: object, told: str) -> None:
    error = collect.error(Scripted("cursor", {None: {"data": [1], "next_cursor": "a"}}), strategy, **DATA)
    assert isinstance(error, ConfigurationError)
    assert "pagination: follow() must lead from page" in str(error)
    assert told in str(error)


@pytest.mark.parametrize("given", [object(), ByCursor, None, "cursor", 7])
def test_what_is_no_strategy_is_told(collect: Collect, given: object) -> None:
    error = collect.error(lambda request: pytest.fail("asked"), given)
    assert isinstance(error, ConfigurationError)
    assert "pagination: expected a strategy, a dict with 'type', or an object with first() and follow()" in str(error)


def test_what_a_custom_strategy_raises_is_not_swallowed(collect: Collect) -> None:
    api = Scripted("cursor", {None: {"data": [1]}})
    with pytest.raises(KeyError, match="next_cursor"):
        collect(api, ByCursor(), **DATA)
