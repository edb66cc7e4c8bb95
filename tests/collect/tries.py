"""Tries of a task, each in a process of its own that may be stopped and killed."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, Self

from airflow_paginated.core.errors import PaginatedApiError
from airflow_paginated.sinks.files import segments
from airflow_paginated.sinks.files.publish import Publication, PublishStep
from tests.collect.disk import published
from tests.collect.running import Job, collect

PATIENCE: Final = 60.0
"""Seconds after which a test that waits gives up."""

_FORKS: Final = multiprocessing.get_context("forkserver")

# Imported once, not in each of some hundred processes.
_FORKS.set_forkserver_preload(["tests.collect.tries", "s3fs"])


@dataclass(frozen=True)
class Manner:
    """How a try behaves while it publishes: ``pause`` seconds before each step, frozen or killed by itself before one.

    The steps are counted from 0; each page that is composed and each step after the commit is one, too.

    ``segment_pages``: as many pages close a segment. In a store, only what is in a closed one has landed.
    """

    pause: float = 0.0
    freeze: int = -1
    die: int = -1
    segment_pages: int = segments.MAX_PAGES


@dataclass(frozen=True)
class Outcome:
    """How a try ended: with a result, with an error of ours (its class and text), or killed (neither)."""

    result: dict[str, Any] | None = None
    error: str = ""
    text: str = ""
    peak_kib: int = 0

    @property
    def killed(self) -> bool:
        return self.result is None and not self.error


class Try:
    """One try; leaving the block kills it if it still runs."""

    def __init__(self, job: Job, manner: Manner | None = None) -> None:
        self._results, results = _FORKS.Pipe(duplex=False)
        self._process = _FORKS.Process(target=_main, args=(job, manner or Manner(), results))
        self._process.start()
        results.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.exitcode is None:
            self._process.kill()
        self._process.join()
        self._process.close()
        self._results.close()

    @property
    def running(self) -> bool:
        return self._process.is_alive()

    def signal(self, number: signal.Signals) -> None:
        assert self._process.pid is not None
        if self.running:
            # It may end by itself at this very moment.
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def kill(self) -> Outcome:
        """Kill with SIGKILL, unless it has ended by itself."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def wait(self, patience: float = PATIENCE) -> Outcome:
        """Wait for the end."""
        assert self._results.poll(patience), "the try does not end"
        try:
            outcome: Outcome = self._results.recv()
        except EOFError:
            outcome = Outcome()
        self._process.join(PATIENCE)
        # A kill may hit a process that has told its outcome and is about to exit.
        assert self._process.exitcode == -signal.SIGKILL or (self._process.exitcode == 0 and not outcome.killed)
        return outcome

    def frozen(self) -> bool:
        """Wait until it is frozen, or has ended."""
        until(lambda: not self.running or self._state() == "T")
        return self.running

    def _state(self) -> str:
        with suppress(FileNotFoundError):
            return Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return ""


def until(condition: Callable[[], bool], pause: float = 0.001) -> None:
    """Wait for something that is sure to come."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(pause)


class Reader:
    """A process that reads a target over and over; leaving the block ends it."""

    def __init__(self, path: str, versions: Collection[str]) -> None:
        self._results, results = _FORKS.Pipe()
        self._process = _FORKS.Process(target=_read, args=(path, versions, results))
        self._process.start()
        results.close()
        assert self._results.poll(PATIENCE), "nothing is visible"
        self._results.recv()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._results.close()
        self._process.join(PATIENCE)
        self._process.close()

    def seen(self) -> Counter[str]:
        """End the reading and return how often which version was read, what was ``missing`` and what ``wrong``."""
        self._results.send(None)
        counts: Counter[str] = self._results.recv()
        return counts


def _read(path: str, versions: Collection[str], results: Connection) -> None:
    """Count what is read; ``versions`` are the SHA-256 digests of all rows that may ever be visible."""
    counts: Counter[str] = Counter()
    while not results.poll(0.0005):
        try:
            data = published(path)
        except FileNotFoundError:
            counts["missing"] += 1
            continue
        except AssertionError:
            counts["wrong"] += 1
            continue
        digest = "nothing" if data is None else sha256(data).hexdigest()
        counts[digest if digest in versions else "wrong"] += 1
        if counts.total() == 1:
            results.send(None)
    with suppress(EOFError):
        results.recv()
        results.send(counts)


def _main(job: Job, manner: Manner, results: Connection) -> None:
    steps = 0
    segments.MAX_PAGES = manner.segment_pages  # type: ignore[misc]  # to close many segments in a short time

    def step() -> None:
        nonlocal steps
        if steps in (manner.freeze, manner.die):
            os.kill(os.getpid(), signal.SIGSTOP if steps == manner.freeze else signal.SIGKILL)
        steps += 1
        time.sleep(manner.pause)

    _before_cleaning(step)
    try:
        result = collect(job, check_cancelled=step)
    except PaginatedApiError as exc:
        results.send(Outcome(None, type(exc).__name__, str(exc), _peak_kib()))
    else:
        results.send(Outcome(result, peak_kib=_peak_kib()))


def _before_cleaning(step: Callable[[], None]) -> None:
    """Let ``step`` be called before each step of cleaning: after the commit, no run asks whether to go on."""
    every = Publication.cleaning_steps

    def cleaning_steps(publication: Publication) -> Iterator[PublishStep]:
        for each in every(publication):
            step()
            yield each

    Publication.cleaning_steps = cleaning_steps  # type: ignore[method-assign]  # in a process of its own


def _peak_kib() -> int:
    # Of a process that is forked but runs no other program: else the peak of its parent would count.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
