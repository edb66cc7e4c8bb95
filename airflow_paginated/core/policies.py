"""Policies that hold for a whole run: when a collection is complete, how long it may take and how much."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any, Final, Literal, TypeVar

from airflow_paginated.core.cursor_values import CURSOR_VALUE_KINDS, CursorValue, KindOption
from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.injection import PLACES, InjectInto, check_parameter, inject, injected_value
from airflow_paginated.core.paths import ALL, check_path, parse_path
from airflow_paginated.core.validation import (
    check_choice,
    check_flag,
    check_number,
    check_text,
    override,
    value_from_dict,
)
from airflow_paginated.core.values import Json, PageRequest

MIB: Final = 1024 * 1024
Policy = TypeVar("Policy")


@dataclass(frozen=True, kw_only=True)
class Completeness:
    """What must hold before rows are published.

    ``min_rows``: fewer rows fail the run. ``on_empty``: if there are no rows at all, the run succeeds (``ok``), fails
    (``fail``) or skips the task (``skip``).

    ``on_total_change``: if the total changes during the run, the run fails (``fail``), collects up to the newest total
    (``extend``), or tolerates it, as it does a wrong total (``warn``).

    ``probe_past_end``: if a total of items ends a partition with a full page, request the page after it, which must be
    empty or refused; only for the first hundred such partitions. ``overlap``: each page of an ``Offset`` begins with
    this many rows from the end of the previous page, and they must be the same.

    ``on_repeat``: a page with the same rows or the same request as an earlier page of its partition fails the run
    (``fail``), ends the partition, uncounted, if it repeats the page before it, as some APIs do past the end
    (``end``), or is kept (``allow``). ``key``: the path of a value that is unique among all rows of the run, or several
    paths whose values are unique together; ``on_duplicate``: a row with the key of an earlier row fails the run
    (``fail``), is dropped (``drop``) or kept (``keep``).

    Whatever ``warn``, ``allow`` or ``keep`` tolerates makes the manifest ``complete: false``.
    """

    min_rows: int = 0
    on_empty: Literal["ok", "fail", "skip"] = "ok"
    on_total_change: Literal["fail", "extend", "warn"] = "fail"
    on_repeat: Literal["fail", "end", "allow"] = "fail"
    probe_past_end: bool = True
    overlap: int = 0
    key: str | Sequence[str] | None = None
    on_duplicate: Literal["fail", "drop", "keep"] = "fail"

    def __post_init__(self) -> None:
        check_number(self.min_rows, "completeness: min_rows", whole=True)
        check_choice(self.on_empty, ("ok", "fail", "skip"), "completeness: on_empty")
        check_choice(self.on_total_change, ("fail", "extend", "warn"), "completeness: on_total_change")
        check_flag(self.probe_past_end, "completeness: probe_past_end")
        check_number(self.overlap, "completeness: overlap", whole=True)
        check_choice(self.on_duplicate, ("fail", "drop", "keep"), "completeness: on_duplicate")
        self._check_key()
        check_choice(self.on_repeat, ("fail", "end", "allow"), "completeness: on_repeat")

    def _check_key(self) -> None:
        if not isinstance(self.key, str | list | tuple | None):
            raise ConfigurationError(f"completeness: key must be a path or a list of paths, got {self.key!r}")
        for path in key_paths(self.key):
            check_path(path, "completeness: key")
            if ALL in parse_path(str(path)):
                raise ConfigurationError("completeness: key must lead to a single value of a row, but [*] matches many")
        if self.key is not None and not key_paths(self.key):
            raise ConfigurationError("completeness: key must not be empty")
        if self.on_duplicate != "fail" and self.key is None:
            raise ConfigurationError("completeness: on_duplicate requires key")


def key_paths(key: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the paths of a key as a tuple."""
    return () if key is None else (key,) if isinstance(key, str) else tuple(key)


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """How long one run may take, in seconds.

    ``connect`` and ``read`` bound one wait on the socket, ``attempt`` one attempt, ``page`` all attempts at one page
    with the waits between them, ``run`` one try of the task, from its first request to the commit.
    """

    connect: float = 10.0
    read: float = 60.0
    attempt: float = 120.0
    page: float = 600.0
    run: float | None = None

    def __post_init__(self) -> None:
        for name in ("connect", "read", "attempt", "page"):
            check_number(getattr(self, name), f"timeouts: {name}", least=0.001)
        check_number(self.run, "timeouts: run", least=0.001, optional=True)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much one run may take; sizes in bytes.

    ``buffer_bytes``: pages in flight and waiting for their turn. ``page_bytes``: one decoded body. ``xcom_bytes``: all
    rows of an XCom result. ``resume_max_age``: how old, in seconds, the newest stored page may be for a retry to go on
    with it. ``sample_pages``: collect only so many pages of each partition, a development mode whose result is never
    complete. ``max_pages`` and ``max_rows``: a run that collects more fails; nothing is truncated.
    """

    buffer_bytes: int = 64 * MIB
    page_bytes: int = 64 * MIB
    xcom_bytes: int = MIB
    resume_max_age: float = 24 * 3600.0
    sample_pages: int | None = None
    max_pages: int | None = None
    max_rows: int | None = None

    def __post_init__(self) -> None:
        for name in ("buffer_bytes", "page_bytes", "xcom_bytes"):
            check_number(getattr(self, name), f"limits: {name}", least=1, whole=True)
        for name in ("sample_pages", "max_pages", "max_rows"):
            check_number(getattr(self, name), f"limits: {name}", least=1, whole=True, optional=True)
        check_number(self.resume_max_age, "limits: resume_max_age")


TIMEOUTS: Final = tuple(field.name for field in fields(Timeouts))


def combined_timeouts(connection: Mapping[str, Any] | None, operator: Mapping[str, Any] | Timeouts | None) -> Timeouts:
    """Combine default < connection < operator; if the connection sets ``run``, the operator can only tighten it."""
    meant = {f"{name}_timeout": name for name in TIMEOUTS}
    return _combined(Timeouts(), connection, operator, "timeouts", ["run"], meant)


def combined_limits(connection: Mapping[str, Any] | None, operator: Mapping[str, Any] | Limits | None) -> Limits:
    """Combine default < connection < operator; the operator can only tighten what the connection sets."""
    meant = {f"{name}_timeout": f"timeouts.{name}" for name in TIMEOUTS}
    return _combined(Limits(), connection, operator, "limits", [field.name for field in fields(Limits)], meant)


def _combined(
    default: Policy,
    connection: Mapping[str, Any] | None,
    operator: Mapping[str, Any] | Policy | None,
    where: str,
    caps: Iterable[str],
    meant: Mapping[str, str],
) -> Policy:
    granted = override(default, connection, f"{where} (on the connection)", meant)
    wanted = override(granted, operator, where, meant)
    held = {
        name: _tighter(getattr(granted, name), getattr(wanted, name)) for name in caps if name in (connection or {})
    }
    combined: Policy = replace(wanted, **held)  # type: ignore[type-var]  # every policy is a dataclass
    return combined


def _tighter(cap: Any, wanted: Any) -> Any:
    return min((each for each in (cap, wanted) if each is not None), default=None)


START_PLACEHOLDER: Final = "{start}"

ROW_DIGEST_BYTES: Final = 12
"""Enough to tell apart some 100,000 remembered rows over any number of runs."""


@dataclass(frozen=True, kw_only=True)
class Incremental:
    """Collect from where the last run stopped, and publish each change once.

    ``field``: the path in each row of a value that grows with every change; the greatest value published is the
    watermark. ``kind``: whether the values are numbers (``number``), ISO 8601 timestamps, compared as instants
    (``timestamp``), or other strings (``text``); ``auto`` detects it. A row without a value fails the run, or is always
    published (``missing_value="include"``) or never (``"exclude"``).

    ``param``: the parameter that tells the API where to start, in the ``query``, a ``header`` or the JSON ``body``
    (``inject_into``), as it is or inside an ``expression`` such as ``"updated_at ge {start}"``. Without it, each run
    fetches everything and publishes what is new. The first run starts from ``initial_value``, later runs from the
    watermark minus ``lookback`` (seconds, or units of a number). Set it to the longest delay before a change becomes
    visible.

    Rows between start and watermark have been published already. They are remembered, and dropped when they are
    fetched again; with ``remember=False`` they are published again.

    ``state_path``: a folder, local or in an object store, for the watermark. By default it is stored in Airflow, as
    state of the task's first outlet asset (Airflow 3.3).
    """

    field: str
    param: str | None = None
    initial_value: Json = None
    lookback: float = 0
    inject_into: InjectInto = "query"
    expression: str | None = None
    kind: KindOption = "auto"
    missing_value: Literal["fail", "include", "exclude"] = "fail"
    remember: bool = True
    state_path: str | None = None

    def __post_init__(self) -> None:
        check_path(self.field, "incremental: field")
        if ALL in parse_path(self.field):
            raise ConfigurationError("incremental: field must lead to a single value of a row, but [*] matches many")
        check_choice(self.inject_into, PLACES, "incremental: inject_into")
        check_choice(self.kind, CURSOR_VALUE_KINDS, "incremental: kind")
        check_choice(self.missing_value, ("fail", "include", "exclude"), "incremental: missing_value")
        check_number(self.lookback, "incremental: lookback")
        check_flag(self.remember, "incremental: remember")
        for name in ("param", "expression", "state_path"):
            check_text(getattr(self, name), f"incremental: {name}", optional=True)
        if self.lookback and self.kind == "text":
            raise ConfigurationError("incremental: lookback cannot be applied to strings")
        self._check_param()

    def _check_param(self) -> None:
        first = self.initial_value
        if isinstance(first, bool) or not isinstance(first, str | int | float | None):
            raise ConfigurationError(f"incremental: initial_value must be a string or a number, got {first!r}")
        if self.param is not None:
            check_parameter(self.param, self.inject_into, "incremental: param")
        elif first is not None or self.expression is not None:
            raise ConfigurationError("incremental: initial_value and expression require param")
        if self.expression is not None and (START_PLACEHOLDER not in self.expression or first is None):
            raise ConfigurationError(
                f"incremental: expression must contain {START_PLACEHOLDER}, and requires initial_value"
            )

    def build_request(self, request: PageRequest, start: CursorValue | None) -> PageRequest:
        """Return the request for the changes since ``start``, or for the first run.

        Raises ``ConfigurationError`` if the request already has the parameter.
        """
        value = self.initial_value if start is None else start.sent
        if self.param is None or value is None:
            return request
        if injected_value(request, self.inject_into, self.param) is not None:
            raise ConfigurationError(
                f"incremental: the request already has the parameter {self.param!r} in its {self.inject_into}"
            )
        if self.expression is not None:
            value = self.expression.replace(START_PLACEHOLDER, str(value))
        elif self.inject_into == "body" and start is not None and not start.quoted and isinstance(value, str):
            value = float(value) if Decimal(repr(float(value))) == Decimal(value) else value
        return inject(request, self.inject_into, {self.param: value})


def incremental_from(given: object) -> Incremental | None:
    """Return the policy that an argument gives as a value or a dict, or ``None``."""
    if given is None or isinstance(given, Incremental):
        return given
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"incremental: expected a dict or Incremental, got {type(given).__name__}")
    return value_from_dict(Incremental, given, "incremental")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What one run leaves for the next; only ``watermark`` is required, so that a state can be written by hand.

    ``start``: where the next run starts. ``seen``: digests of the published rows from there on. ``generation`` counts
    the states. ``by`` is the run that left the state, and ``before`` the state it began with, in case it must rerun.
    """

    watermark: Json
    start: Json = None
    seen: str = ""
    generation: int = 0
    field: str = ""
    endpoint: str = ""
    by: Mapping[str, Json] | None = None
    before: State | None = None

    @property
    def digests(self) -> Iterator[bytes]:
        """The digests of the rows published from ``start`` on."""
        data = b64decode(self.seen, validate=True)
        return (data[at : at + ROW_DIGEST_BYTES] for at in range(0, len(data), ROW_DIGEST_BYTES))


def pack_digests(digests: Iterable[bytes]) -> str:
    """Encode digests for ``State.seen``."""
    return b64encode(b"".join(sorted(digests))).decode()
