"""When another attempt is made, after how long, and when it is given up."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_paginated.core.deadline import NEVER, Deadline
from airflow_paginated.core.errors import Cancelled, PageFailed, QuotaExceeded, RetryBudgetExhausted, RunTimeout
from airflow_paginated.core.policies import Timeouts
from airflow_paginated.transport.gate import Gate, RetryBudget
from airflow_paginated.transport.retry import (
    SERVER_WEIGHT,
    THROTTLE_WEIGHT,
    AttemptState,
    RequestRetry,
    RetryableError,
    RetryController,
    Throttled,
)

FOR_EVER = float("inf")

CUT = RetryableError("cut", SERVER_WEIGHT)


def controller(retry: dict[str, Any] | None = None, deadline: Deadline = NEVER, budget: int = 100) -> RetryController:
    policy = RequestRetry(**{"backoff_factor": 0.001, **(retry or {})})
    return RetryController(policy, Timeouts(attempt=5, page=50), deadline, Gate(), RetryBudget(budget))


def new_state(sent: int = 1, left: float = FOR_EVER, **known: Any) -> AttemptState:
    return AttemptState(deadline=time.monotonic() + left, sent=sent, **known)


def name() -> str:
    return "page 7"


def failed(
    of: RetryController, trouble: RetryableError | Throttled, attempts: AttemptState, once: str | None = None
) -> str:
    with pytest.raises(PageFailed) as caught:
        of.wait(trouble, attempts, name, once)
    return str(caught.value)


def test_each_fault_is_charged_until_there_were_too_many() -> None:
    of, attempts = controller({"max_attempts": 3}), new_state(sent=3)
    for charged in (1, 2):
        of.wait(CUT, attempts, name)
        assert attempts.charged == charged
    assert failed(of, CUT, attempts) == "page 7 failed in 3 attempts; last cause: cut"
    assert failed(controller({"max_attempts": 1}), CUT, new_state()) == "page 7 failed in 1 attempt; last cause: cut"


def test_each_retry_costs_of_the_budget() -> None:
    of = controller(budget=2)
    for _ in range(2):
        of.wait(CUT, new_state(), name)
    with pytest.raises(RetryBudgetExhausted, match="last cause: page 7: cut"):
        of.wait(CUT, new_state(), name)


def test_the_first_dead_idle_connection_is_free() -> None:
    of, attempts = controller({"max_attempts": 1, "budget": 0}), new_state()
    of.wait(RetryableError("dead", stale=True), attempts, name)
    assert (attempts.stale, attempts.charged) == (True, 0)
    assert "dead" in failed(of, RetryableError("dead", stale=True), attempts)


def test_what_may_have_been_acted_on_is_not_sent_twice() -> None:
    assert "cut, and the server may have acted on the POST" in failed(controller(), CUT, new_state(), once="POST")
    attempts = new_state()
    controller().wait(RetryableError("refused", unsent=True), attempts, name, once="POST")
    assert attempts.charged == 1


@pytest.mark.parametrize(("weight", "least"), [(SERVER_WEIGHT, 0.05), (SERVER_WEIGHT / 5, 0.01)])
def test_it_waits_in_proportion_to_the_weight(weight: float, least: float) -> None:
    # Full jitter: the sum of many waits is about half of the ceiling each. No machine waits less than it is told.
    of = controller({"backoff_factor": 0.05, "max_attempts": 100})
    began = time.monotonic()
    for _ in range(20):
        of.wait(RetryableError("cut", weight), new_state(charged=1), name)
    assert time.monotonic() - began > 20 * least / 4


def test_no_wait_is_longer_than_the_policy_says() -> None:
    of = controller({"backoff_factor": 1000, "backoff_max": 0.001, "max_attempts": 100})
    soon = new_state(left=10)
    of.wait(CUT, soon, name)
    of.wait(Throttled("busy"), soon, name)
    assert of.gate.paused_seconds <= 0.001


def test_a_wait_that_the_page_has_no_time_for() -> None:
    of = controller()
    said = "page 7 failed in 1 attempt; last cause: busy; no time left within timeouts.page=50 s"
    assert failed(of, Throttled("busy", 5.0), new_state(left=4)) == said
    assert "no time left" in failed(of, CUT, new_state(left=0))
    of.wait(Throttled("busy", 0.001), new_state(left=4), name)


def test_one_who_is_throttled_pauses_all_and_is_not_charged() -> None:
    of, attempts = controller({"max_attempts": 1}, budget=0), new_state()
    of.wait(Throttled("busy", 0.25), attempts, name)
    assert (attempts.throttled, attempts.charged) == (1, 0)
    assert of.gate.paused_seconds == pytest.approx(0.25, abs=0.001)


@pytest.mark.parametrize("asked", [None, 0.0])
def test_without_a_time_the_pause_doubles(asked: float | None) -> None:
    longest = 0.0
    for _ in range(50):
        of, attempts = controller({"backoff_factor": 0.001}), new_state()
        of.wait(Throttled("busy", asked), attempts, name)
        first = of.gate.paused_seconds
        assert first <= 0.001 * THROTTLE_WEIGHT
        attempts.throttled = 5
        of.wait(Throttled("busy", asked), attempts, name)
        assert attempts.throttled == 6
        longest = max(longest, of.gate.paused_seconds)
        assert longest <= 0.001 * THROTTLE_WEIGHT * 2**5 + 0.001
    # The longest of fifty is hardly ever less than half of what it may be.
    assert longest > 0.001 * THROTTLE_WEIGHT * 2**4


def test_a_pause_that_is_too_long_is_not_waited_for() -> None:
    of = controller({"retry_after_max": 10})
    with pytest.raises(
        QuotaExceeded, match=r"page 7: busy; .* wait 11 s, more than retry.retry_after_max=10"
    ) as caught:
        of.wait(Throttled("busy", 11.0), new_state(), name)
    assert caught.value.seconds == 11.0
    assert of.gate.paused_seconds == 0.0
    of.wait(Throttled("busy", 10.0), new_state(), name)
    assert of.gate.paused_seconds == pytest.approx(10.0, abs=0.001)


def test_nor_is_one_that_outlasts_the_try() -> None:
    of = controller(deadline=Deadline.within(30, "timeouts.run=60 s"))
    assert of.exceeded_limit(29.0) == ""
    assert of.exceeded_limit(31.0) in {
        f"the {seconds} s that this try has left (timeouts.run=60 s)" for seconds in (29, 30)
    }
    over = controller(deadline=Deadline.within(-5, "x"))
    assert over.exceeded_limit(1.0) == "the 0 s that this try has left (x)"


@pytest.mark.parametrize("trouble", [CUT, Throttled("cut")])
def test_when_the_try_is_over_nothing_is_waited_for(trouble: RetryableError | Throttled) -> None:
    of, attempts = controller(deadline=Deadline.within(-1, "timeouts.run=60 s")), new_state()
    with pytest.raises(RunTimeout) as caught:
        of.wait(trouble, attempts, name)
    assert str(caught.value) == (
        "this try ran out of time (timeouts.run=60 s); page 7 was not fetched; last cause: cut"
    )
    assert attempts.charged == 0


def test_nor_a_wait_that_it_has_no_time_for() -> None:
    for _ in range(20):
        of = controller({"backoff_factor": 1e9, "backoff_max": 1e9}, Deadline.within(0.5, "x"))
        with pytest.raises(RunTimeout):
            of.wait(CUT, new_state(charged=2), name)


def test_who_was_told_to_stop_says_so() -> None:
    of = controller(deadline=Deadline.within(-1, "x"))
    of.gate.close()
    with pytest.raises(Cancelled, match="the run was told to stop"):
        of.wait(CUT, new_state(), name)
    with pytest.raises(Cancelled):
        of.check_open()


def test_an_attempt_ends_with_the_first_of_its_limits() -> None:
    now = time.monotonic()
    assert controller().attempt_ends(new_state()) == pytest.approx(now + 5, abs=1)
    assert controller().attempt_ends(new_state(left=2)) == pytest.approx(now + 2, abs=1)
    assert controller(deadline=Deadline.within(1, "x")).attempt_ends(new_state()) == pytest.approx(now + 1, abs=1)
    assert controller().new_state().deadline == pytest.approx(now + 50, abs=1)
