"""The walk where timing decides: failures, cancelling, abandoning, prefetch, and strategies that misbehave."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

import pytest

from airflow_paginated import Page, PageNumber, PageRequest, Stop
from airflow_paginated.collect.scheduler import Inbox, Window, fetch_in_order
from airflow_paginated.core.errors import Cancelled, ConfigurationError, LimitExceeded, PageFailed
from tests.collect.api import Api, Cursor, Gate, paths, plain_loop, seeds_of
from tests.collect.load import Load, watched

PLANNED = PageNumber(total_path="meta.total")

GUESSED = PageNumber(stop_after_empty_page=True)


def after_first(request: PageRequest) -> bool:
    return request.index > 0


def test_without_seeds_there_is_nothing() -> None:
    assert list(fetch_in_order([], Api(tables=[]), PLANNED, 2, Window(8))) == []


def test_a_sure_failure_ends_the_walk_at_once() -> None:
    api = Api(tables=[100], broken={(0, 5)})
    with Gate(api, lambda request: request.index == 1) as gate:
        running = fetch_in_order(seeds_of(PLANNED, 1), gate, PLANNED, 3, Window(12))
        assert next(running).page.request.index == 0
        with pytest.raises(PageFailed, match="page 5"):
            next(running)
        assert 1 in gate.asked


def test_nobody_asks_for_more_until_a_sure_failure_is_settled() -> None:
    """Nine pages are sent; the walk's thread looks the other way when the fourth one fails."""
    with Gate(Api(tables=[1000], broken={(0, 3)}), lambda request: False) as gate:
        running = fetch_in_order(seeds_of(PLANNED, 1), gate, PLANNED, 1, Window(8))
        next(running)
        assert gate.wait_for(3)
        with pytest.raises(PageFailed, match="page 3"):
            list(running)
        gate.settle()
    assert gate.asked == [0, 1, 2, 3]


def test_a_sure_failure_that_comes_too_late_holds_nothing_up() -> None:
    """The first partition ends with its second page, while its third one is on its way, and fails then."""
    api, ended = Api(tables=[1000, 30]), threading.Event()

    def fetch(request: PageRequest) -> Page:
        if request.partition == (0,) and request.index > 1:
            assert ended.wait(10)
            raise PageFailed("too late")
        page = api(request)
        return replace(page, end="enough") if (request.partition, request.index) == ((0,), 1) else page

    landings = []
    for landing in fetch_in_order(seeds_of(PLANNED, 2), fetch, PLANNED, 2, Window(4)):
        landings.append(landing)
        if landing.page.end:
            ended.set()
    assert paths(landings) == {(0,): [0, 1], (1,): [0, 1, 2]}


def test_an_unsure_failure_counts_at_its_turn_only() -> None:
    """One of two threads holds page 1 until the other has brought the failure of page 2 and begun page 3."""
    api = Api(tables=[100], style="bare", broken={(0, 2)})
    arrived = threading.Event()

    def fetch(request: PageRequest) -> Page:
        if request.index == 3:
            arrived.set()
        if request.index == 1:
            assert arrived.wait(10)
        return api(request)

    running = fetch_in_order(seeds_of(GUESSED, 1), fetch, GUESSED, 2, Window(8))
    assert [next(running).page.request.index for _ in range(2)] == [0, 1]
    with pytest.raises(PageFailed, match="page 2"):
        next(running)


def test_past_the_end_a_failure_does_not_count_at_all() -> None:
    api = Api(tables=[20], style="bare", broken={(0, index) for index in range(3, 20)})
    pages = list(fetch_in_order(seeds_of(GUESSED, 1), api, GUESSED, 4, Window(16)))
    assert [one.page.count for one in pages] == [10, 10, 0]
    assert pages[-1].successor == Stop("empty page")


@pytest.mark.parametrize("told", ["before", "meanwhile"])
def test_a_none_in_the_inbox_cancels_though_nothing_arrives(told: str) -> None:
    inbox: Inbox = SimpleQueue()

    def held(request: PageRequest) -> bool:
        if told == "meanwhile":
            inbox.put(None)
        return True

    if told == "before":
        inbox.put(None)
    with Gate(Api(tables=[50]), held) as gate:
        with pytest.raises(Cancelled):
            list(fetch_in_order(seeds_of(PLANNED, 1), gate, PLANNED, 2, Window(8), inbox=inbox))
        gate.settle()
        assert gate.asked in ([], [0])


def test_cancelling_ends_a_walk_in_the_middle() -> None:
    inbox: Inbox = SimpleQueue()
    running = fetch_in_order(seeds_of(PLANNED, 1), Api(tables=[1000]), PLANNED, 2, Window(4), inbox=inbox)
    for _ in range(10):
        next(running)
    inbox.put(None)
    with pytest.raises(Cancelled):
        list(running)
    assert sum(1 for _ in running) == 0


def test_tick_is_called_while_nothing_arrives() -> None:
    with Gate(Api(tables=[15]), lambda request: True) as gate:
        pages = list(fetch_in_order(seeds_of(PLANNED, 1), gate, PLANNED, 2, Window(8), on_idle=gate.open))
    assert len(pages) == 2


def test_an_error_of_tick_ends_the_walk() -> None:
    def on_idle() -> None:
        raise LookupError("no report")

    with Gate(Api(tables=[15]), lambda request: True) as gate:
        with pytest.raises(LookupError):
            list(fetch_in_order(seeds_of(PLANNED, 1), gate, PLANNED, 2, Window(8), on_idle=on_idle))
        gate.settle()


class Interrupted(BaseException):
    """Like an interrupt from the keyboard: no ``Exception``."""


@pytest.mark.parametrize("leave", ["close", "raise", "forget"])
def test_an_abandoned_walk_sends_no_more(leave: str) -> None:
    """Eight pages are sent, two threads hold two of them: the other six never reach the server."""
    with Gate(Api(tables=[1000]), after_first) as gate:
        running = fetch_in_order(seeds_of(PLANNED, 1), gate, PLANNED, 2, Window(8))
        next(running)
        assert gate.wait_for(1, 2)
        if leave == "close":
            running.close()
        elif leave == "raise":
            with pytest.raises(Interrupted), closing(running):
                raise Interrupted
        else:
            del running
        gate.settle()
        assert sorted(gate.asked) == [0, 1, 2]


@pytest.mark.parametrize(("workers", "window"), [(1, 1), (1, 4), (4, 16)])
def test_the_successor_is_sent_before_the_page_is_handed_on(workers: int, window: int) -> None:
    with Gate(Api(tables=[35], style="cursor"), lambda request: False) as gate:
        for landing in fetch_in_order(seeds_of(Cursor(), 1), gate, Cursor(), workers, Window(window)):
            if isinstance(landing.successor, PageRequest):
                assert gate.wait_for(landing.successor.index)
    assert gate.asked == [0, 1, 2, 3]


def test_the_oldest_partition_comes_first() -> None:
    api = Api(tables=[30, 30, 10])
    order: list[tuple[int, int]] = []

    def fetch(request: PageRequest) -> Page:
        order.append((request.partition[0], request.index))
        return api(request)

    landings = list(fetch_in_order(seeds_of(PLANNED, 3), fetch, PLANNED, 1, Window(4)))
    assert order == [(0, 0), (1, 0), (2, 0), (0, 1), (0, 2), (1, 1), (1, 2)]
    assert paths(landings) == {(0,): [0, 1, 2], (1,): [0, 1, 2], (2,): [0]}


@pytest.mark.parametrize("strategy", [PLANNED, GUESSED], ids=["planned", "guessed"])
def test_an_answer_of_an_earlier_walk_in_the_same_inbox_counts_for_nothing(strategy: PageNumber) -> None:
    inbox: Inbox = SimpleQueue()
    with Gate(Api(tables=[1000]), after_first) as gate:
        first = fetch_in_order(seeds_of(strategy, 1), gate, strategy, 4, Window(16), inbox=inbox)
        next(first)
        assert gate.wait_for(1, 2, 3, 4)
        first.close()
        gate.settle()
    assert not inbox.empty()
    load = Load(Api(tables=[200]))
    again = list(fetch_in_order(seeds_of(strategy, 1), load, watched(strategy, load), 2, Window(4), inbox=inbox))
    assert sum(one.page.count for one in again) == 200
    assert load.most_held <= 4
    assert load.most_unsure <= 2


@pytest.mark.parametrize("declared", [{0: 30, 1: 50}, {0: 30, 1: 50, 2: 40}, {0: 50, 1: 30}, {0: 30, 2: 40, 3: 60}])
def test_the_newest_total_wins_though_a_page_was_sent_with_an_older_one(declared: dict[int, int]) -> None:
    """Pages 1 and 2 are sent together, when only page 0 has told a total; then page 1 tells another."""
    api = Api(tables=[100])

    def fetch(request: PageRequest) -> Page:
        return replace(api(request), envelope={"meta": {"total": declared.get(request.index)}})

    load = Load(fetch)
    seeds = seeds_of(PLANNED, 1)
    landings = list(fetch_in_order(seeds, load, watched(PLANNED, load), 4, Window(16)))
    assert landings == plain_loop(seeds[0], fetch, PLANNED)
    assert max(load.asked.values()) == 1


def test_a_total_that_grows_is_run_ahead_to_at_once() -> None:
    declared = [30, 100]
    api = Api(tables=[100])

    def fetch(request: PageRequest) -> Page:
        return replace(api(request), envelope={"meta": {"total": declared[min(request.index, 1)]}})

    with (
        Gate(fetch, lambda request: request.index > 2) as gate,
        closing(fetch_in_order(seeds_of(PLANNED, 1), gate, PLANNED, 8, Window(16))) as running,
    ):
        assert [next(running).page.request.index for _ in range(2)] == [0, 1]
        assert gate.wait_for(3, 4, 5, 6, 7, 8, 9)


@pytest.mark.parametrize("window", [Window(8), Window(99, bytes=8 * 1000)], ids=["of pages", "of bytes"])
def test_the_window_is_as_wide_at_the_end_as_in_the_beginning(window: Window) -> None:
    """Partition 0 ends in seven guesses that are thrown away; late in partition 1 as many are sent as ever."""
    api = Api(tables=[300, 1000], style="bare")

    def fetch(request: PageRequest) -> Page:
        if (request.partition, request.index) == ((0,), 30):
            assert gate.wait_for(*range(31, 38))
        return replace(api(request), bytes=1000)

    late = set(range(50, 58))
    with (
        Gate(fetch, lambda request: request.partition == (1,) and request.index in late) as gate,
        closing(fetch_in_order(seeds_of(GUESSED, 2), gate, GUESSED, 8, window)) as running,
    ):
        for landing in running:
            if (landing.page.request.partition, landing.page.request.index) == ((1,), 49):
                break
        assert gate.wait_for(*late)


@pytest.mark.parametrize("pages_in_window", [1, 2, 3, 7])
def test_the_window_of_bytes_holds_once_the_size_of_a_page_is_known(pages_in_window: int) -> None:
    api = Api(tables=[400], row_bytes=100)
    size = api(seeds_of(PLANNED, 1)[0]).bytes + 20  # later rows have more digits
    load = Load(api)
    window = Window(32, bytes=size * pages_in_window)
    landings = list(fetch_in_order(seeds_of(PLANNED, 1), load, watched(PLANNED, load), 8, window))
    assert len(landings) == 40
    assert load.most_held <= pages_in_window


def test_a_page_larger_than_the_window_of_bytes_goes_alone() -> None:
    load = Load(Api(tables=[100, 100], row_bytes=100))
    strategy = watched(PLANNED, load)
    landings = list(fetch_in_order(seeds_of(PLANNED, 2), load, strategy, 8, Window(32, bytes=10)))
    assert len(landings) == 20
    assert load.most_held <= 2  # both partitions began before a size was known


class Odd(Cursor):
    """A cursor strategy with one wrong answer."""

    def __init__(self, wrong: Callable[[PageRequest], Any], method: str) -> None:
        self._wrong = wrong
        if method == "ahead":
            self.ahead = lambda page, sent: wrong(sent)
        self._method = method

    def follow(self, page: Page) -> PageRequest | Stop:
        if self._method == "follow" and page.request.index == 2:
            return self._wrong(page.request)  # type: ignore[no-any-return]  # a wrong answer
        return super().follow(page)


def fail(request: PageRequest) -> PageRequest:
    raise LimitExceeded("too many")


ANSWERS: dict[str, tuple[Callable[[PageRequest], Any], type[Exception]]] = {
    "the same page": (lambda request: request, ConfigurationError),
    "a page too far": (lambda request: replace(request, index=request.index + 2), ConfigurationError),
    "another partition": (
        lambda request: replace(request, index=request.index + 1, partition=(9,)),
        ConfigurationError,
    ),
    "no request": (lambda request: {"page": 2}, ConfigurationError),
    "an error": (fail, LimitExceeded),
}


@pytest.mark.parametrize("method", ["follow", "ahead"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_strategy_that_leads_astray_is_refused(method: str, answer: str) -> None:
    wrong, error = ANSWERS[answer]
    strategy = Odd(wrong, method)
    with Gate(Api(tables=[100], style="cursor"), lambda request: False) as gate:
        running = fetch_in_order(seeds_of(strategy, 1), gate, strategy, 2, Window(8))
        landed = [next(running).page.request.index for _ in range(2 if method == "follow" else 0)]
        with pytest.raises(error, match=rf"{method}\(\)" if error is ConfigurationError else "too many"):
            next(running)
        gate.settle()
    assert landed == ([0, 1] if method == "follow" else [])
    assert len(gate.asked) <= 4


def test_follow_may_not_answer_none() -> None:
    strategy = Odd(lambda request: None, "follow")
    with pytest.raises(ConfigurationError, match=r"follow\(\).*\(0,\), 2 to \(0,\), 3; it returned None"):
        list(fetch_in_order(seeds_of(strategy, 1), Api(tables=[100], style="cursor"), strategy, 2, Window(8)))


def test_two_seeds_for_one_partition_are_refused() -> None:
    seeds = seeds_of(PLANNED, 1)
    with pytest.raises(ConfigurationError, match=r"partition \(0,\)"):
        list(fetch_in_order([*seeds, *seeds], Api(tables=[100]), PLANNED, 2, Window(8)))


def test_an_error_of_the_seeds_ends_the_walk() -> None:
    def seeds() -> Iterator[PageRequest]:
        yield from seeds_of(PLANNED, 1)
        raise LookupError("no more parameter sets")

    with pytest.raises(LookupError):
        list(fetch_in_order(seeds(), Api(tables=[100]), PLANNED, 2, Window(8)))


@pytest.mark.parametrize("error", [Interrupted, SystemExit, MemoryError])
def test_what_a_fetch_raises_is_raised_by_the_walk_whatever_it_is(error: type[BaseException]) -> None:
    def fetch(request: PageRequest) -> Page:
        raise error

    with pytest.raises(error):
        list(fetch_in_order(seeds_of(PLANNED, 1), fetch, PLANNED, 2, Window(8)))


def test_a_page_is_handed_out_with_the_request_that_led_to_it() -> None:
    """A fetch may answer with a request of its own making, as after a redirect."""
    api = Api(tables=[25])
    landings = list(
        fetch_in_order(
            seeds_of(PLANNED, 1), lambda r: replace(api(r), request=PageRequest("/moved")), PLANNED, 2, Window(8)
        )
    )
    assert landings == plain_loop(seeds_of(PLANNED, 1)[0], api, PLANNED)
