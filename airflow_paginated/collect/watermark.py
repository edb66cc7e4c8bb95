"""The watermark of incremental collections. Does not depend on Airflow.

A run reads the state, requests what has changed since, publishes it, and only then writes the next state. A run that
dies in between leaves the old state: its retry starts from the same watermark and replaces what was published.
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

_MISNAMED_STATE_FILE: Final = re.compile(r"watermark-([0-9]+)\.json")

_KEPT_STATES: Final = 3
"""The number of states kept in a folder, for a run that is reading an older one."""


class Store(Protocol):
    """Keeps one state. ``max_rows`` is the number of rows that the state can hold."""

    max_rows: int

    def read(self) -> State | None:
        """Return the newest state. Raises ``ConfigurationError`` for invalid content."""

    def write(self, state: State) -> None:
        """Replace the state of the previous generation. Raises ``WatermarkMoved`` if another run already has."""


class Watermark:
    """The watermark of one run; used by one thread."""

    def __init__(self, policy: Incremental, store: Store, owner: Owner, endpoint: str) -> None:
        self._policy = policy
        self._store = store
        self._owner = owner
        self._endpoint = endpoint
        self._newest = store.read()
        self._check_is_ours(self._newest)
        own = self._newest is not None and self._newest.by == asdict(owner)
        self._base = self._newest.before if self._newest is not None and own else self._newest
        self.changes = IncrementalFilter(policy, self._base, time.time(), store.max_rows, self._check_unchanged, own)

    @property
    def plan(self) -> dict[str, Json]:
        """The start of the run, for its plan: the same in each try, unless another run has moved the watermark."""
        start = self.changes.start
        after = 0 if self._base is None else self._base.generation
        return {"incremental": {"field": self._policy.field, "after": after, "start": start and start.sent}}

    def build_request(self, request: PageRequest) -> PageRequest:
        """Return the request for the changed rows."""
        return self._policy.build_request(request, self.changes.start)

    def published(self, report: CollectionReport) -> None:
        """Move the watermark if the published rows are complete and include new ones.

        Raises ``TargetError`` if another run has published the same rows in the meantime.
        """
        if self.changes.rows != report.rows:
            raise ConfigurationError(
                f"incremental: the sink passed {self.changes.rows} of {report.rows} rows through Run.rows; it must"
                " pass each row once"
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
                f"{exc} while this run published its rows, so some rows are in both datasets: remove the dataset of"
                " this run and clear its task (max_active_runs=1 prevents concurrent runs)"
            ) from None

    def _check_unchanged(self) -> None:
        now = self._store.read()
        if (now and now.generation) != (self._newest and self._newest.generation):
            raise _moved_error(now)

    def _check_is_ours(self, state: State | None) -> None:
        """Refuse the state of another collection: starting from its watermark would miss rows."""
        if state is None or state.by is None:
            return
        task = [state.by.get("dag"), state.by.get("task")]
        other = task != [self._owner.dag, self._owner.task] and state.endpoint != self._endpoint
        if other or state.field != self._policy.field:
            raise ConfigurationError(
                f"incremental: the stored watermark belongs to field {state.field!r} of {state.endpoint!r} in task"
                f" {'.'.join(map(str, task))}: use another state_path, or remove the watermark to start over"
            )


class AssetStore:
    """Keeps the state in Airflow's asset state store, through ``accessor``; implements ``Store``.

    Airflow offers neither compare-and-set nor create-if-absent: if two runs write at the same moment, the later one
    wins, and the other may not notice.
    """

    # Airflow recommends values of at most 64 KiB; it stores larger ones with a warning.
    max_rows = 10_000

    def __init__(self, accessor: Any, name: str) -> None:
        self._accessor = accessor
        self._name = name

    def read(self) -> State | None:
        """Return the newest state."""
        value = self._accessor.get(self._name)
        return None if value is None else _state_from(value, f"key {self._name!r} of the asset")

    def write(self, state: State) -> None:
        """Write a state if its predecessor is stored, and read it back to detect a concurrent write."""
        _check_follows(state, self.read())
        self._accessor.set(self._name, msgspec.to_builtins(state))
        written = self.read()
        if written is None or written.by != state.by:
            raise _moved_error(written)


class FolderStore:
    """Keeps the state in a folder of its own, one file for each generation."""

    max_rows = 100_000

    def __init__(self, folder: Storage) -> None:
        self._folder = folder

    def read(self) -> State | None:
        """Return the newest state."""
        while numbers := self._numbers():
            content = self._folder.read(_file_name(numbers[-1]))
            # A file that has disappeared was outdated: list the folder again.
            if content is not None:
                return self._decode(numbers[-1], content)
        return None

    def write(self, state: State) -> None:
        """Create the file of the state's generation."""
        _check_follows(state, self.read())
        # Where the storage cannot create-if-absent, the token shows which of two concurrent writers has won.
        content = json.dumps({**msgspec.to_builtins(state), "token": uuid4().hex}).encode()
        name = _file_name(state.generation)
        if not self._folder.create(name, content) or self._folder.read(name) != content:
            raise _moved_error(self.read())
        self._folder.delete(
            _file_name(number) for number in self._numbers() if number <= state.generation - _KEPT_STATES
        )

    def _numbers(self) -> list[int]:
        names = list(self._folder.entries())
        for name in names:
            misnamed = _MISNAMED_STATE_FILE.fullmatch(name)
            if misnamed and not _STATE_FILE_NAME.fullmatch(name):
                raise ConfigurationError(
                    f"incremental: {self._folder.identity}/{name} is not a valid state file name: use eight digits,"
                    f" {_file_name(int(misnamed[1]))}"
                )
        return sorted(int(found[1]) for found in map(_STATE_FILE_NAME.fullmatch, names) if found)

    def _decode(self, number: int, content: bytes) -> State:
        where = f"{self._folder.identity}/{_file_name(number)}"
        try:
            value = json.loads(content)
        except ValueError:
            raise ConfigurationError(f"incremental: {where} is not JSON; remove it to start over") from None
        return replace(_state_from(value, where), generation=number)


def _moved_error(state: State | None) -> WatermarkMoved:
    by = state.by if state is not None and state.by is not None else {}
    change = "removed" if state is None else f"moved to {state.watermark!r} by run {by.get('run')!r}"
    return WatermarkMoved(f"incremental: since this run began, the watermark was {change}")


def _check_follows(state: State, newest: State | None) -> None:
    if state.generation != (0 if newest is None else newest.generation) + 1:
        raise _moved_error(newest)


def _state_from(value: Json, where: str) -> State:
    try:
        return msgspec.convert(value, State)
    except msgspec.ValidationError as exc:
        raise ConfigurationError(f"incremental: {where} is not a valid state: {exc}") from None


def _file_name(number: int) -> str:
    return f"watermark-{number:08}.json"
