"""The rate that an API allows, as numbers: no clock and no network."""

from __future__ import annotations

import pytest

from airflow_paginated.transport.gate import REQUESTS_TO_DOUBLE, AdaptiveRate


def stretch(rate: AdaptiveRate, began: float, served: int, refused: int, opens_at: float) -> None:
    """Let so many requests be served and refused, then pause until the gate opens again."""
    rate.begin(began)
    for _ in range(served):
        rate.served()
    for _ in range(refused):
        rate.refused(began)
    rate.settle(opens_at)


def test_what_a_quota_serves_in_a_stretch_is_the_pace() -> None:
    rate = AdaptiveRate()
    stretch(rate, 100.0, served=20, refused=12, opens_at=101.0)
    assert rate.interval == pytest.approx(1 / 20)


@pytest.mark.parametrize(("served", "refused"), [(20, 0), (1, 1), (1000, 50)])
def test_there_is_no_pace_without_need(served: int, refused: int) -> None:
    rate = AdaptiveRate()
    stretch(rate, 100.0, served, refused, opens_at=101.0)
    assert rate.interval == 0.0


def test_refusals_one_by_one_add_up() -> None:
    rate = AdaptiveRate()
    stretch(rate, 100.0, served=2, refused=1, opens_at=101.0)
    assert rate.interval == 0.0
    stretch(rate, 101.0, served=2, refused=1, opens_at=102.0)
    assert rate.interval == pytest.approx(1 / 2)


def test_what_is_refused_of_an_older_stretch_tells_nothing() -> None:
    rate = AdaptiveRate()
    stretch(rate, 100.0, served=20, refused=0, opens_at=101.0)
    for _ in range(10):
        rate.refused(100.9)
    rate.settle(102.0)
    assert rate.interval == 0.0


def test_an_older_stretch_counts_half() -> None:
    rate = AdaptiveRate()
    stretch(rate, 100.0, served=20, refused=12, opens_at=101.0)
    stretch(rate, 101.0, served=40, refused=1, opens_at=102.0)
    assert rate.interval == pytest.approx(1.5 / 50)


def test_a_pace_doubles_in_a_multiple_of_what_it_was_learned_from() -> None:
    rate = AdaptiveRate()
    stretch(rate, 100.0, served=20, refused=12, opens_at=101.0)
    told = [rate.served() for _ in range(REQUESTS_TO_DOUBLE * 20)]
    assert rate.interval == pytest.approx(1 / 40, rel=0.02)
    # Who waits for a turn is told once, at the end.
    told += [rate.served() for _ in range(5)]
    assert sum(told) == 1


def test_a_stretch_goes_on_until_something_is_served() -> None:
    rate = AdaptiveRate()
    stretch(rate, 100.0, served=0, refused=8, opens_at=103.0)
    assert rate.interval == 0.0
    stretch(rate, 103.0, served=6, refused=2, opens_at=106.0)
    assert rate.interval == pytest.approx(1.0)
