"""The scheduler: many pages in flight, each yielded in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias

from airflow_paginated.core.errors import Cancelled, ConfigurationError, PaginatedApiError
from airflow_paginated.core.links import without_auth_params
from airflow_paginated.core.values import OrderedPage, Page, PageRequest, Split, Stop
from airflow_paginated.pagination.protocols import Pagination, SupportsPrefetch, totals_of

Fetch: TypeAlias = Callable[[PageRequest], Page]
Admit: TypeAlias = Callable[[Page], Page]
Arrival: TypeAlias = "tuple[_FetchPool, PageRequest, Page | BaseException]"
Inbox: TypeAlias = "SimpleQueue[Arrival | None]"
"""The queue of fetched pages. ``None``, which a signal handler may put there, stops the run."""

POLL_SECONDS: Final = 1.0
"""How often ``on_idle`` is called while nothing arrives."""


@dataclass(frozen=True, slots=True)
class Window:
    """Limits on pages in flight or waiting for their turn: their number, and their bytes."""

    pages: int
    bytes: int = 64 * 1024 * 1024


def fetch_in_order(
    seeds: Iterable[PageRequest],
    fetch: Fetch,
    pagination: Pagination,
    workers: int,
    window: Window,
    *,
    admit: Admit = lambda page: page,
    inbox: Inbox | None = None,
    on_idle: Callable[[], None] = lambda: None,
) -> Generator[OrderedPage, None, None]:
    """Fetch each seed and every page that follows it, and yield the pages in order within their partition.

    ``fetch`` runs in ``workers`` threads, everything else in the caller's. A seed may be any page of its partition.
    When a page that is known to exist fails, the iteration fails at once; the failure of a speculative page counts
    only when its turn comes. Each page is yielded with the request that its predecessor led to, whatever was known
    when it was sent. ``admit`` gets the page before the strategy does, and may change or refuse it. A split opens a
    partition for each of its requests. Closing the iterator abandons what is in flight.
    """
    scheduler = _Scheduler(seeds, pagination, workers, window, admit)
    pool = _FetchPool(fetch, workers, SimpleQueue() if inbox is None else inbox)
    try:
        while True:
            pool.send(scheduler.next_requests(pool.in_flight))
            if not scheduler.partitions:
                return
            arrival = pool.receive()
            if arrival is None:
                on_idle()
                continue
            _, request, result = arrival
            try:
                state = scheduler.receive(request, result)
                if isinstance(result, BaseException):
                    pool.resume()
                while state and (page := scheduler.next_page(state)):
                    pool.send(scheduler.next_requests(pool.in_flight))
                    yield page
            except PaginatedApiError as exc:
                exc.partition = exc.partition or request.partition
                raise
    finally:
        pool.shutdown()


def resolve_next(page: Page, pagination: Pagination) -> OrderedPage:
    """Return a page with its successor. A split page loses its rows, because its parts return them again.

    Raises ``ConfigurationError`` for an invalid successor.
    """
    successor = Stop(page.end) if page.end is not None else pagination.follow(page)
    if isinstance(successor, Stop):
        return OrderedPage(page, successor)
    if isinstance(successor, Split):
        _check_split(successor, page.request)
        parts = tuple(without_auth_params(part, page.auth_params) for part in successor.requests)
        return OrderedPage(page.with_rows(()), Split(parts))
    return OrderedPage(page, _checked(successor, page.request, "follow", page))


class _FetchPool:
    """The fetching threads. Used by the scheduling thread only; other threads touch only the inbox."""

    def __init__(self, fetch: Fetch, workers: int, inbox: Inbox) -> None:
        self._fetch = fetch
        self._inbox = inbox
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="page")
        self._may_fetch = threading.Event()
        """Cleared by a thread whose page may end the run, set by the scheduling thread."""
        self._may_fetch.set()
        self._closed = False
        self.in_flight = 0

    def send(self, requests: list[PageRequest]) -> None:
        for request in requests:
            self._threads.submit(self._run, request)
            self.in_flight += 1

    def _run(self, request: PageRequest) -> None:
        # If a page has just failed, the scheduling thread decides first whether the run continues.
        self._may_fetch.wait()
        if self._closed:
            return
        result: Page | BaseException
        try:
            result = self._fetch(request)
        except BaseException as exc:  # noqa: BLE001  # the scheduling thread raises it, or drops it with its page
            if request.sure:
                self._may_fetch.clear()
            result = exc
        self._inbox.put((self, request, result))
        del result  # a traceback refers to this frame: without this, they would keep each other alive

    def resume(self) -> None:
        """Resume the threads after a failure that did not end the run."""
        self._may_fetch.set()

    def receive(self) -> Arrival | None:
        while True:
            try:
                arrival = self._inbox.get(timeout=POLL_SECONDS)
            except Empty:
                return None
            if arrival is None:
                raise Cancelled("the run was told to stop")
            # An earlier pool with the same inbox may have left pages in flight.
            if arrival[0] is self:
                self.in_flight -= 1
                return arrival

    def shutdown(self) -> None:
        # Do not wait: a thread may be blocked in a read that only its deadline or a closed socket ends.
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._closed = True
        self._may_fetch.set()


class _PartitionState:
    """One open partition. Changed by the scheduler only."""

    __slots__ = ("arrived", "changed", "newest", "next_expected", "prefetch", "sent", "unsent")

    def __init__(self, seed: PageRequest) -> None:
        self.next_expected = seed
        """The request of the next page to yield: as sent, or the same exchange with an older state."""
        self.unsent: PageRequest | None = seed
        """The same, until it is sent."""
        self.sent: dict[int, PageRequest] = {}
        """Requests in flight or waiting for their turn, by index, in the order of sending."""
        self.arrived: dict[int, Page | BaseException] = {}
        self.newest: Page | None = None
        self.prefetch: PageRequest | None = None
        """The request that may be sent before its turn, according to the newest page."""
        self.changed = False
        """Whether a page arrived, or a request was sent, since ``prefetch`` was computed."""


class _Scheduler:
    """Decides which request to send and which page to yield next."""

    def __init__(
        self, seeds: Iterable[PageRequest], pagination: Pagination, workers: int, window: Window, admit: Admit
    ) -> None:
        self._seeds: Iterator[PageRequest] = iter(seeds)
        self._pagination = pagination
        self._admit = admit
        self._prefetcher = pagination if isinstance(pagination, SupportsPrefetch) else None
        self._total = totals_of(pagination)
        self._workers = workers
        self._window = window
        self.partitions: dict[tuple[int, ...], _PartitionState] = {}
        self._waiting = 0
        """Pages that have arrived before their turn."""
        self._waiting_bytes = 0
        self._largest_bytes = 0
        self._speculative = 0
        """Pages in flight that may not exist."""

    def next_requests(self, in_flight: int) -> list[PageRequest]:
        """Return the requests to send now, of the oldest partition first, as far as the window allows."""
        found: list[PageRequest] = []
        states: Iterator[_PartitionState] | None = None
        state: _PartitionState | None = None
        while in_flight == 0 or (
            in_flight + self._waiting < self._window.pages
            and self._waiting_bytes + (in_flight + 1) * self._largest_bytes <= self._window.bytes
        ):
            if states is None:
                # A list: opening a partition changes the dict.
                busy = [each for each in self.partitions.values() if each.changed or each.prefetch or each.unsent]
                states = iter(busy)
            request = None if state is None else self._next_request(state)
            if state is None or request is None:
                state = next(states, None) or self._open_next()
                if state is None:
                    return found
                continue
            state.sent[request.index] = request
            state.changed = True
            self._speculative += not request.sure
            in_flight += 1
            found.append(request)
        return found

    def receive(self, request: PageRequest, result: Page | BaseException) -> _PartitionState | None:
        """Store the result of a fetch and return its partition; ``None`` if the result is no longer needed."""
        self._speculative -= not request.sure
        state = self.partitions.get(request.partition)
        if state is None or state.sent.get(request.index) is not request:
            return None
        if isinstance(result, BaseException):
            if request.sure or request.index == state.next_expected.index:
                raise result
        else:
            self._waiting_bytes += result.bytes
            self._largest_bytes = max(self._largest_bytes, result.bytes)
        state.arrived[request.index] = result
        self._waiting += 1
        return state

    def next_page(self, state: _PartitionState) -> OrderedPage | None:
        """Return the partition's next page with its successor, once it has arrived."""
        expected = state.next_expected
        result = state.arrived.get(expected.index)
        if result is None:
            return None
        self._take(state, expected.index)
        if isinstance(result, BaseException):
            raise result
        page = replace(result, request=expected, total=self._total(result))
        ordered = resolve_next(self._admit(page), self._pagination)
        state.newest = ordered.page if self._prefetcher else None
        state.changed = True
        successor = ordered.successor
        if isinstance(successor, PageRequest):
            state.next_expected = successor
            planned = state.sent.get(successor.index)
            if planned is None or not planned.same_exchange(successor):
                self._drop(state)
                state.unsent = successor
        else:
            self._drop(state)
            self._close(state, successor.requests if isinstance(successor, Split) else ())
        return ordered

    def _next_request(self, state: _PartitionState) -> PageRequest | None:
        if state.unsent is not None:
            unsent, state.unsent = state.unsent, None
            return unsent
        if state.changed:
            # Only after a change: with many open partitions, calls of the strategy would dominate.
            state.changed, state.prefetch = False, None
            if self._prefetcher is not None and state.newest is not None and state.sent:
                last = state.sent[next(reversed(state.sent))]
                ahead = self._prefetcher.ahead(state.newest, last)
                state.prefetch = None if ahead is None else _checked(ahead, last, "ahead", state.newest)
        # No more speculative pages than workers: they may not exist.
        if state.prefetch is None or not (state.prefetch.sure or self._speculative < self._workers):
            return None
        return state.prefetch

    def _open_next(self) -> _PartitionState | None:
        seed = next(self._seeds, None)
        if seed is None:
            return None
        if seed.partition in self.partitions:
            raise ConfigurationError(f"partition {seed.partition} is already being collected: give one seed for each")
        state = self.partitions[seed.partition] = _PartitionState(seed)
        return state

    def _close(self, state: _PartitionState, parts: tuple[PageRequest, ...]) -> None:
        """Remove a partition; its parts take its place, so that the oldest stays first."""
        if not parts:
            del self.partitions[state.next_expected.partition]
            return
        partitions: dict[tuple[int, ...], _PartitionState] = {}
        for partition, each in self.partitions.items():
            opened = {part.partition: _PartitionState(part) for part in parts}
            partitions |= opened if each is state else {partition: each}
        self.partitions = partitions

    def _take(self, state: _PartitionState, index: int) -> None:
        result = state.arrived.pop(index)
        del state.sent[index]
        self._waiting -= 1
        if not isinstance(result, BaseException):
            self._waiting_bytes -= result.bytes

    def _drop(self, state: _PartitionState) -> None:
        """Abandon the requests sent ahead."""
        for index in list(state.arrived):
            self._take(state, index)
        state.sent.clear()


def _checked(result: object, after: PageRequest, method: str, page: Page) -> PageRequest:
    """Return the request without auth parameters. Refuse any but the next page: the run might never end."""
    if isinstance(result, PageRequest) and result.index == after.index + 1 and result.partition == after.partition:
        return without_auth_params(result, page.auth_params) if page.auth_params else result
    got = f"{result.partition}, {result.index}" if isinstance(result, PageRequest) else repr(result)
    raise ConfigurationError(
        f"pagination: {method}() must lead from page (partition, index) {after.partition}, {after.index} to"
        f" {after.partition}, {after.index + 1}; it returned {got}"
    )


def _check_split(split: Split, of: PageRequest) -> None:
    """Refuse a split without requests, or with parts that are out of order."""
    got = [(request.partition, request.index) for request in split.requests]
    if not got or got != [((*of.partition, number), 0) for number in range(len(got))]:
        raise ConfigurationError(
            f"pagination: follow() must split partition {of.partition} into first pages of {(*of.partition, 0)},"
            f" {(*of.partition, 1)} and so on; it returned (partition, index) {got}"
        )
