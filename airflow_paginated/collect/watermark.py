"""From the watermark that a run begins with to the one that it leaves. Knows no Airflow.

A run reads the state, asks for what has changed since, publishes it, and only then writes the next state. Whoever dies
in between leaves the old one: the same run, tried again, begins where it began and replaces what it has published.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, replace
from typing import Any, Final, Protocol
from uuid import uuid4

import msgspec

from airflow_paginated.core.errors import ConfigurationError, TargetError, WatermarkMoved
from airflow_paginated.core.policies import Incremental, State
from airflow_paginated.core.values import CollectionReport, Json, PageRequest
from airflow_paginated.sinks.files.storage import Storage
from airflow_paginated.sinks.incremental import IncrementalFilter
from airflow_paginated.sinks.protocol import Owner

_STATE_FILE_NAME: Final = re.compile(r"watermark-([0-9]{8})\.json")

_NEAR: Final = re.compile(r"watermark-([0-9]+)\.json")

_HISTORY: Final = 3
"""So many states stay in a folder, for a run that is just reading one."""


class Store(Protocol):
    """Where one state is kept. ``most``: so many rows can be remembered in it."""

    most: int

    def read(self) -> State | None:
        """Return the newest state. Raises ``ConfigurationError`` for what is none."""

    def write(self, state: State) -> None:
        """Put a state in the place of that of the generation before. Raises ``WatermarkMoved`` where another has."""


class Watermark:
    """The watermark of one run; used by one thread."""

    def __init__(self, policy: Incremental, store: Store, owner: Owner, endpoint: str) -> None:
        self._policy = policy
        self._store = store
        self._owner = owner
        self._endpoint = endpoint
        self._newest = store.read()
        self._check_is_ours(self._newest)
        counted = self._newest is not None and self._newest.by == asdict(owner)
        self._base = self._newest.before if self._newest is not None and counted else self._newest
        self.changes = IncrementalFilter(policy, self._base, time.time(), store.most, self._check_unchanged, counted)

    @property
    def plan(self) -> dict[str, Json]:
        """What the run begins with, for its plan: the same in each try, unless another run has gone on since."""
        start = self.changes.start
        after = 0 if self._base is None else self._base.generation
        return {"incremental": {"field": self._policy.field, "after": after, "start": start and start.sent}}

    def asked(self, request: PageRequest) -> PageRequest:
        """Return the request for what has changed."""
        return self._policy.build_request(request, self.changes.start)

    def published(self, report: CollectionReport) -> None:
        """Move on, if what was published is complete and some of it is new.

        Raises ``TargetError`` where another run has published the same meanwhile.
        """
        if self.changes.rows != report.rows:
            raise ConfigurationError(
                f"incremental: the sink has looked at {self.changes.rows} of {report.rows} rows; it has to pass each"
                " of them through Run.rows once"
            )
        state = self.changes.next() if report.complete and self.changes.new else None
        if state is None:
            return
        try:
            self._store.write(
                replace(
                    state,
                    generation=1 if self._newest is None else self._newest.generation + 1,
                    endpoint=self._endpoint,
                    by=asdict(self._owner),
                    before=None if self._base is None else replace(self._base, before=None),
                )
            )
        except WatermarkMoved as exc:
            raise TargetError(
                f"{exc}; it was in the very moment that this run published its rows, so some are in the datasets of"
                " both: remove that of this run and clear its task (max_active_runs=1 lets runs follow each other)"
            ) from None

    def _check_unchanged(self) -> None:
        now = self._store.read()
        if (now and now.generation) != (self._newest and self._newest.generation):
            raise moved(now)

    def _check_is_ours(self, state: State | None) -> None:
        """Refuse the state of another collection: by its watermark, rows would be missed."""
        if state is None or state.by is None:
            return
        task = [state.by.get("dag"), state.by.get("task")]
        other = task != [self._owner.dag, self._owner.task] and state.endpoint != self._endpoint
        if other or state.field != self._policy.field:
            raise ConfigurationError(
                f"incremental: the stored watermark is that of {state.field!r} of {state.endpoint!r}, of the task"
                f" {'.'.join(map(str, task))}: use another state_path, or remove it to begin anew"
            )


class AssetStore:
    """A state in Airflow's store for the state of an asset, which ``accessor`` reads and writes; implements ``Store``.

    Airflow can neither compare and write in one step nor create only if absent: of two runs that write within the same
    moment, the later one wins, and the other may not notice.
    """

    # Airflow asks for values of at most 64 KiB or so; it stores larger ones, with a warning.
    most = 10_000

    def __init__(self, accessor: Any, name: str) -> None:
        self._accessor = accessor
        self._name = name

    def read(self) -> State | None:
        """Return the newest state."""
        value = self._accessor.get(self._name)
        return None if value is None else _state_from(value, f"key {self._name!r} of the asset")

    def write(self, state: State) -> None:
        """Write a state, unless another than that before it is there; look at it again to see that it is this one."""
        _check_follows(state, self.read())
        self._accessor.set(self._name, msgspec.to_builtins(state))
        written = self.read()
        if written is None or written.by != state.by:
            raise moved(written)


class FolderStore:
    """A state in a folder of its own: a file for each generation, which is created if it is absent."""

    most = 100_000

    def __init__(self, folder: Storage) -> None:
        self._folder = folder

    def read(self) -> State | None:
        """Return the newest state."""
        while numbers := self._numbers():
            text = self._folder.read(_file(numbers[-1]))
            # Else it is one of long ago by now, and was removed.
            if text is not None:
                return self._decoded(numbers[-1], text)
        return None

    def write(self, state: State) -> None:
        """Create the file of a generation."""
        _check_follows(state, self.read())
        # Of two writers at once, on a store that cannot create if absent, the text tells which one has won.
        text = json.dumps({**msgspec.to_builtins(state), "token": uuid4().hex}).encode()
        name = _file(state.generation)
        if not self._folder.create(name, text) or self._folder.read(name) != text:
            raise moved(self.read())
        self._folder.delete(_file(number) for number in self._numbers() if number <= state.generation - _HISTORY)

    def _numbers(self) -> list[int]:
        names = list(self._folder.entries())
        for name in names:
            near = _NEAR.fullmatch(name)
            if near and not _STATE_FILE_NAME.fullmatch(name):
                raise ConfigurationError(
                    f"incremental: {self._folder.identity}/{name} would not be read: its name must have eight digits,"
                    f" {_file(int(near[1]))}"
                )
        return sorted(int(found[1]) for found in map(_STATE_FILE_NAME.fullmatch, names) if found)

    def _decoded(self, number: int, text: bytes) -> State:
        where = f"{self._folder.identity}/{_file(number)}"
        try:
            value = json.loads(text)
        except ValueError:
            raise ConfigurationError(f"incremental: {where} is not JSON; remove it to begin anew") from None
        return replace(_state_from(value, where), generation=number)


def moved(state: State | None) -> WatermarkMoved:
    """Return the error for a state that another run has written."""
    by = state.by if state is not None and state.by is not None else {}
    to = "removed" if state is None else f"moved to {state.watermark!r} by run {by.get('run')!r}"
    return WatermarkMoved(f"incremental: since this run began, the watermark was {to}")


def _check_follows(state: State, newest: State | None) -> None:
    if state.generation != (0 if newest is None else newest.generation) + 1:
        raise moved(newest)


def _state_from(value: Json, where: str) -> State:
    try:
        return msgspec.convert(value, State)
    except msgspec.ValidationError as exc:
        raise ConfigurationError(f"incremental: {where} is not the state of a collection: {exc}") from None


def _file(number: int) -> str:
    return f"watermark-{number:08}.json"
