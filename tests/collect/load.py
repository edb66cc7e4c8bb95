"""What a walk demands of a server, seen from the server and from the strategy, with no look inside the walk."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from airflow_paginated import Page, PageRequest
from airflow_paginated.core.values import Successor
from airflow_paginated.pagination.protocols import Pagination, SupportsPrefetch
from tests.collect.api import InTurn

Key = tuple[tuple[int, ...], int]


def key_of(request: PageRequest) -> Key:
    return request.partition, request.index


@dataclass
class Load:
    """Counts pages in flight and pages that wait for their turn. Changed by all threads, under its lock.

    What it sees is never more than what is there: a request counts when a thread takes it up, not when it is sent.
    """

    fetch: Callable[[PageRequest], Page]
    asked: Counter[Key] = field(default_factory=Counter)
    too_early: list[Key] = field(default_factory=list)
    most_running: int = 0
    most_held: int = 0
    most_open: int = 0
    most_unsure: int = 0
    _running: set[Key] = field(default_factory=set)
    _waiting: set[Key] = field(default_factory=set)
    _open: set[tuple[int, ...]] = field(default_factory=set)
    _known: set[tuple[int, ...]] = field(default_factory=set)
    _closed: set[tuple[int, ...]] = field(default_factory=set)
    _answered: set[Key] = field(default_factory=set)
    _guessed: set[Key] = field(default_factory=set)
    _unsure: set[Key] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: PageRequest) -> Page:
        key = key_of(request)
        with self._lock:
            self._start(key)
        try:
            return self.fetch(request)
        finally:
            with self._lock:
                self._end(key)

    def follows(self, page: Page, successor: Successor) -> None:
        """Take note that a page's turn has come."""
        partition, index = key_of(page.request)
        with self._lock:
            self._waiting.discard((partition, index))
            # What is sent from now on is asked for in its turn, as a plain loop would.
            self._guessed.discard((partition, index + 1))
            if not isinstance(successor, PageRequest):
                self._closed.add(partition)
                self._open.discard(partition)
                self._waiting = {key for key in self._waiting if key[0] != partition}

    def sent(self, request: PageRequest, further: PageRequest | None) -> None:
        """Take note that ``request`` is on its way, and of what the strategy offers to send next."""
        key = key_of(request)
        with self._lock:
            if key in self._guessed and key not in self._answered:
                self._unsure.add(key)
            self.most_unsure = max(self.most_unsure, len(self._unsure))
            if further is not None and not further.sure:
                self._guessed.add(key_of(further))

    def _start(self, key: Key) -> None:
        partition = key[0]
        self.asked[key] += 1
        if partition in self._open and partition not in self._known:
            self.too_early.append(key)
        if partition not in self._closed:
            self._open.add(partition)
        self._running.add(key)
        self.most_running = max(self.most_running, len(self._running))
        self.most_held = max(self.most_held, len(self._running) + len(self._waiting))
        self.most_open = max(self.most_open, len(self._open))

    def _end(self, key: Key) -> None:
        self._running.discard(key)
        self._unsure.discard(key)
        self._answered.add(key)
        self._known.add(key[0])
        if key[0] not in self._closed:
            self._waiting.add(key)


class _Watched(InTurn):
    """Another strategy, whose answers are told to a load."""

    def __init__(self, whole: Pagination, load: Load) -> None:
        super().__init__(whole)
        self._load = load

    def follow(self, page: Page) -> Successor:
        successor = self.whole.follow(page)
        self._load.follows(page, successor)
        return successor


class _WatchedAhead(_Watched):
    def __init__(self, whole: Pagination, load: Load, ahead: SupportsPrefetch) -> None:
        super().__init__(whole, load)
        self._ahead = ahead

    def ahead(self, page: Page, sent: PageRequest) -> PageRequest | None:
        further = self._ahead.ahead(page, sent)
        self._load.sent(sent, further)
        return further


def watched(pagination: Pagination, load: Load) -> Pagination:
    """Return the same strategy, whose answers are told to ``load``."""
    return (
        _WatchedAhead(pagination, load, pagination)
        if isinstance(pagination, SupportsPrefetch)
        else _Watched(pagination, load)
    )
