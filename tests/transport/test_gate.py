"""Where threads wait for their turn, without a server."""

from __future__ import annotations

import time

import pytest

from airflow_paginated.core.errors import Cancelled, RetryBudgetExhausted
from airflow_paginated.transport.gate import Gate, RetryBudget
from tests.transport.clients import Calls


def timed(gate: Gate) -> float:
    """Enter, and return when that was."""
    gate.enter()
    return time.monotonic()


def entered(gate: Gate, threads: int) -> list[float]:
    """Return when each of these threads was let through, in order."""
    outcomes = Calls(lambda _: timed(gate), list(range(threads))).join()
    return sorted(each for each in outcomes if isinstance(each, float))


def test_an_open_gate_lets_everybody_through() -> None:
    assert len(entered(Gate(), 8)) == 8


def test_a_pause_holds_everybody_up() -> None:
    gate = Gate()
    opens_at = time.monotonic() + 0.3
    gate.pause(0.3)
    assert entered(gate, 8)[0] >= opens_at
    assert gate.paused_seconds == pytest.approx(0.3)


def test_pauses_overlap_and_do_not_add_up() -> None:
    gate = Gate()
    began = time.monotonic()
    opens_at = began + 0.5
    gate.pause(0.2)
    gate.pause(0.5)
    gate.pause(0.1)
    assert 0.5 <= gate.paused_seconds <= 0.5 + (time.monotonic() - began)
    assert entered(gate, 4)[0] >= opens_at


def test_a_pause_also_holds_up_those_who_wait_already() -> None:
    gate = Gate(interval=0.1)
    started = time.monotonic()
    calls = Calls(lambda _: timed(gate), list(range(6)))
    time.sleep(0.15)  # by now all have a turn, and some have entered
    paused = time.monotonic()
    gate.pause(0.5)
    before = int((time.monotonic() - started) / 0.1) + 1
    times = sorted(each for each in calls.join() if isinstance(each, float))
    assert len(times) == 6
    assert all(each >= started + nth * 0.1 for nth, each in enumerate(times))
    assert all(each >= paused + 0.5 + nth * 0.1 for nth, each in enumerate(times[before:]))


def test_a_pause_of_nothing_does_not_shorten_the_interval() -> None:
    gate = Gate(interval=0.2)
    started = time.monotonic()
    gate.enter()
    gate.pause(0.001)
    gate.enter()
    assert time.monotonic() >= started + 0.2


def test_turns_are_an_interval_apart() -> None:
    started = time.monotonic()
    times = entered(Gate(interval=0.05), 8)
    assert all(each >= started + nth * 0.05 for nth, each in enumerate(times))


def test_a_closed_gate_lets_nobody_through() -> None:
    gate = Gate()
    gate.pause(60)
    calls = Calls(lambda _: gate.enter(), [1, 2])
    gate.close()
    assert [type(each) for each in calls.join()] == [Cancelled] * 2
    assert gate.closed
    for wait in (0, -1, 60):
        with pytest.raises(Cancelled):
            gate.sleep(wait)
    with pytest.raises(Cancelled):
        gate.enter()


@pytest.mark.parametrize(
    ("size", "good", "left"), [(0, 0, 0), (2, 0, 2), (0, 4, 0), (0, 5, 1), (0, 10, 2), (1, 49, 10)]
)
def test_a_budget_is_earned_by_pages(size: int, good: int, left: int) -> None:
    budget = RetryBudget(size)
    for _ in range(good):
        budget.earn()
    for _ in range(left):
        budget.spend("x")
    with pytest.raises(RetryBudgetExhausted, match=f"retry.budget={size}, and 1 for every 5 pages .*last cause: x$"):
        budget.spend("x")
