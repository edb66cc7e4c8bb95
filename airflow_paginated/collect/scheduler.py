"""The walk: many pages in flight, each handed out in its turn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias

from airflow_paginated.core.errors import Cancelled, ConfigurationError, about
from airflow_paginated.core.links import without_auth_params
from airflow_paginated.core.values import Landing, Page, PageRequest, Split, Stop
from airflow_paginated.pagination.protocols import Pagination, SupportsPrefetch

Fetch: TypeAlias = Callable[[PageRequest], Page]

Admit: TypeAlias = Callable[[Page], Page]

Arrival: TypeAlias = "tuple[PageRequest, Future[Page]]"

Inbox: TypeAlias = "SimpleQueue[Arrival | None]"
"""Where fetched pages arrive; ``None`` in it tells the walk to stop, and may be put there by a signal handler."""

TICK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Window:
    """How far the walk may run ahead: pages in flight or waiting for their turn, and their bytes."""

    pages: int
    bytes: int = 64 * 1024 * 1024


def walk(
    seeds: Iterable[PageRequest],
    fetch: Fetch,
    pagination: Pagination,
    workers: int,
    window: Window,
    *,
    admit: Admit = lambda page: page,
    inbox: Inbox | None = None,
    tick: Callable[[], None] = lambda: None,
) -> Generator[Landing, None, None]:
    """Fetch each seed and all that follows it, and hand the pages out in order within their partition.

    ``fetch`` runs in ``workers`` threads, everything else in the caller's. A seed may be any page of its partition.
    A page that was sure to exist and fails ends the walk at once, another one only when its turn comes. Each page is
    handed out with the request that its predecessor led to, whatever was known when it was sent; ``admit`` sees it
    before the strategy does, and may change or refuse it. A split opens a partition for each of its requests. ``tick``
    is called about every second while nothing arrives. Closing the iterator abandons what is in flight.
    """
    floor = _Scheduler(seeds, pagination, workers, window, admit)
    crew = _FetchPool(fetch, workers, SimpleQueue() if inbox is None else inbox)
    try:
        while True:
            crew.send(floor.due(crew.in_flight))
            if not floor.lanes:
                return
            arrival = crew.receive()
            if arrival is None:
                tick()
                continue
            with about(arrival[0].partition):
                lane = floor.arrive(*arrival)
            crew.go_on(arrival[1])
            while lane and (landing := floor.turn(lane)):
                crew.send(floor.due(crew.in_flight))
                yield landing
    finally:
        crew.dismiss()


def landed(page: Page, pagination: Pagination) -> Landing:
    """Settle what follows a page. The rows of one that is split come again in what takes its place.

    Raises ``ConfigurationError`` for a strategy that leads astray.
    """
    successor = pagination.follow(page) if page.end is None else Stop(page.end)
    if isinstance(successor, Stop):
        return Landing(page, successor)
    if isinstance(successor, Split):
        split = _checked_split(successor, page.request)
        return Landing(
            page.with_rows(()), Split(tuple(without_auth_params(part, page.owned) for part in split.requests))
        )
    return Landing(page, without_auth_params(_next(successor, page.request, "follow"), page.owned))


class _FetchPool:
    """The threads that fetch. Used by the walk's thread only; the inbox is what the others may touch."""

    def __init__(self, fetch: Fetch, workers: int, inbox: Inbox) -> None:
        self._fetch = fetch
        self._inbox = inbox
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="page")
        self._flying: set[Future[Page]] = set()
        self._going = threading.Event()
        """Cleared by the thread whose page may end the walk, set by the walk's thread."""
        self._going.set()
        self._dismissed = False

    @property
    def in_flight(self) -> int:
        return len(self._flying)

    def send(self, requests: Iterable[PageRequest]) -> None:
        for request in requests:
            future = self._pool.submit(self._turn, request)
            self._flying.add(future)
            future.add_done_callback(lambda done, request=request: self._inbox.put((request, done)))  # type: ignore[misc]  # mypy cannot infer a lambda with a default

    def _turn(self, request: PageRequest) -> Page:
        """Fetch a page, unless one failed and the walk's thread has yet to learn of it: then that one comes first."""
        self._going.wait()
        if self._dismissed:
            raise Cancelled("another page has ended the walk")
        try:
            return self._fetch(request)
        except BaseException:
            if request.sure:
                self._going.clear()
            raise

    def go_on(self, done: Future[Page]) -> None:
        """Let further pages be fetched: this one did not end the walk."""
        if done.exception() is not None:
            self._going.set()

    def receive(self) -> Arrival | None:
        while True:
            try:
                arrival = self._inbox.get(timeout=TICK_SECONDS)
            except Empty:
                return None
            if arrival is None:
                raise Cancelled("the run was told to stop")
            # An earlier walk with the same inbox may have left pages in flight: they are not ours to count.
            if arrival[1] in self._flying:
                self._flying.remove(arrival[1])
                return arrival

    def dismiss(self) -> None:
        # Not waiting is the point: a thread may sit in a read that only its deadline or a closed socket ends.
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._dismissed = True
        self._going.set()


class _PartitionState:
    """One open partition. Changed by the floor only."""

    __slots__ = ("arrived", "changed", "due", "newest", "offer", "sent", "turn")

    def __init__(self, seed: PageRequest) -> None:
        self.turn = seed
        """What the next page to hand out answers: what was sent, or the same exchange with an older state."""
        self.due: PageRequest | None = seed
        """The same, while it has not been sent."""
        self.sent: dict[int, PageRequest] = {}
        """In flight or waiting, by index, in the order of sending."""
        self.arrived: dict[int, Page | BaseException] = {}
        self.newest: Page | None = None
        self.offer: PageRequest | None = None
        self.changed = False
        """Whether the newest page or the last sent request is another one than when the offer was made."""

    @property
    def idle(self) -> bool:
        # Every lane is asked at every arrival: where many are open, asking their strategy would be most of the work.
        return not self.changed and self.offer is None and self.due is None

    def next_ahead(self, ahead: SupportsPrefetch | None) -> PageRequest | None:
        if self.changed:
            self.changed = False
            self.offer = self._offer(ahead)
        return self.offer

    def _offer(self, ahead: SupportsPrefetch | None) -> PageRequest | None:
        if ahead is None or self.newest is None or not self.sent:
            return None
        last = self.sent[next(reversed(self.sent))]
        further = ahead.ahead(self.newest, last)
        return None if further is None else without_auth_params(_next(further, last, "ahead"), self.newest.owned)


class _Scheduler:
    """Who may be sent next, and whose turn it is."""

    def __init__(
        self, seeds: Iterable[PageRequest], pagination: Pagination, workers: int, window: Window, admit: Admit
    ) -> None:
        self._seeds = iter(seeds)
        self._pagination = pagination
        self._admit = admit
        self._ahead = pagination if isinstance(pagination, SupportsPrefetch) else None
        self._workers = workers
        self._window = window
        self.lanes: dict[tuple[int, ...], _PartitionState] = {}
        self._waiting = 0
        self._held = 0
        self._largest = 0
        self._unsure = 0

    def due(self, in_flight: int) -> Iterator[PageRequest]:
        """Yield what to send now: the oldest partition first, as far as the window allows."""
        if self.lanes and not self._has_room(in_flight):
            return
        for lane in self._open_lanes():
            while self._has_room(in_flight) and (request := self._next_of(lane)) is not None:
                lane.sent[request.index] = request
                lane.changed = True
                self._unsure += not request.sure
                in_flight += 1
                yield request
            if not self._has_room(in_flight):
                return

    def arrive(self, request: PageRequest, done: Future[Page]) -> _PartitionState | None:
        """Take what a fetch brought; return its lane, or ``None`` when nobody waits for it any more."""
        self._unsure -= not request.sure
        lane = self.lanes.get(request.partition)
        if lane is None or lane.sent.get(request.index) is not request:
            return None
        error = done.exception()
        if error is not None and (request.sure or request.index == lane.turn.index):
            raise error
        result = done.result() if error is None else error
        lane.arrived[request.index] = result
        self._waiting += 1
        self._held += _size(result)
        self._largest = max(self._largest, _size(result))
        return lane

    def turn(self, lane: _PartitionState) -> Landing | None:
        """Hand out the lane's page whose turn it is, if it is there, and settle what follows it."""
        result = self._take(lane, lane.turn.index)
        if result is None:
            return None
        with about(lane.turn.partition):
            if isinstance(result, BaseException):
                raise result
            page = result if result.request == lane.turn else replace(result, request=lane.turn)
            landing = landed(self._admit(page), self._pagination)
        lane.newest = landing.page if self._ahead else None
        lane.changed = True
        if isinstance(landing.successor, PageRequest):
            self._expect(lane, landing.successor)
            return landing
        self._drop_ahead(lane)
        self._close(lane, landing.successor.requests if isinstance(landing.successor, Split) else ())
        return landing

    def _close(self, lane: _PartitionState, parts: tuple[PageRequest, ...]) -> None:
        """Let go of a partition; what it was split into takes its place, so that the oldest goes on being the first."""
        if not parts:
            del self.lanes[lane.turn.partition]
            return
        lanes: dict[tuple[int, ...], _PartitionState] = {}
        for partition, each in self.lanes.items():
            lanes |= {part.partition: _PartitionState(part) for part in parts} if each is lane else {partition: each}
        self.lanes = lanes

    def _expect(self, lane: _PartitionState, successor: PageRequest) -> None:
        lane.turn = successor
        planned = lane.sent.get(successor.index)
        if planned is None or not planned.same_exchange(successor):
            self._drop_ahead(lane)
            lane.due = successor

    def _open_lanes(self) -> Iterator[_PartitionState]:
        yield from [lane for lane in self.lanes.values() if not lane.idle]
        for seed in self._seeds:
            if seed.partition in self.lanes:
                raise ConfigurationError(f"partition {seed.partition} is walked already: one seed for each")
            lane = self.lanes[seed.partition] = _PartitionState(seed)
            yield lane

    def _has_room(self, in_flight: int) -> bool:
        if in_flight == 0:
            return True
        expected = self._held + (in_flight + 1) * self._largest
        return in_flight + self._waiting < self._window.pages and expected <= self._window.bytes

    def _next_of(self, lane: _PartitionState) -> PageRequest | None:
        if lane.due is not None:
            due, lane.due = lane.due, None
            return due
        further = lane.next_ahead(self._ahead)
        # A speculative page may not exist: no more of them at once than there are workers.
        if further is None or not (further.sure or self._unsure < self._workers):
            return None
        return further

    def _take(self, lane: _PartitionState, index: int) -> Page | BaseException | None:
        result = lane.arrived.pop(index, None)
        if result is not None:
            lane.sent.pop(index)
            self._waiting -= 1
            self._held -= _size(result)
        return result

    def _drop_ahead(self, lane: _PartitionState) -> None:
        for index in list(lane.arrived):
            self._take(lane, index)
        lane.sent.clear()


def _next(answer: object, after: PageRequest, method: str) -> PageRequest:
    """Refuse an answer that is not the page after ``after``: the walk would ask for ever, or wait for ever."""
    if isinstance(answer, PageRequest) and (answer.partition, answer.index) == (after.partition, after.index + 1):
        return answer
    got = f"{answer.partition}, {answer.index}" if isinstance(answer, PageRequest) else repr(answer)
    raise ConfigurationError(
        f"pagination: {method}() must lead from page (partition, index) {after.partition}, {after.index} to"
        f" {after.partition}, {after.index + 1}; it returned {got}"
    )


def _checked_split(split: Split, of: PageRequest) -> Split:
    """Refuse a split that would ask for nothing, or lose its place in the order."""
    got = [(request.partition, request.index) for request in split.requests]
    if not got or got != [((*of.partition, number), 0) for number in range(len(got))]:
        raise ConfigurationError(
            f"pagination: follow() must split partition {of.partition} into first pages of {(*of.partition, 0)},"
            f" {(*of.partition, 1)} and so on; it returned (partition, index) {got}"
        )
    return split


def _size(result: Page | BaseException) -> int:
    return result.bytes if isinstance(result, Page) else 0
