"""Policies that hold for a whole run: when a collection is complete, how long it may take and how much."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, TypeVar

from airflow_paginated.paging.dicts import check_choice, check_flag, check_number, override
from airflow_paginated.paging.errors import ConfigurationError
from airflow_paginated.paging.selectors import ALL, check_path, parse_path

MIB: Final = 1024 * 1024
Policy = TypeVar("Policy")


@dataclass(frozen=True, kw_only=True)
class Completeness:
    """What must hold before rows are published.

    ``min_rows``: fewer rows fail the run. ``on_empty``: no rows at all are ``ok``, ``fail`` the run or ``skip`` the
    task.

    ``on_total_change``: an API whose total changes in mid-run fails the run (``fail``), is followed to its newest total
    (``extend``), or is tolerated, as is a wrong total (``warn``). With ``refetch_tail``, a partition where a total, a
    key or an overlap shows that rows came or went is fetched again behind its newest stored page, or from its beginning
    where that page reads otherwise by now; once, then it fails.

    ``look_beyond``: where a total of items ends a partition with a full page, the page after it is asked for, which
    must be empty or refused. ``refetch_ends``: the first and the last page of each partition are fetched again at the
    end, and must be the same. Both look at the first hundred of many partitions. ``overlap``: each page of an
    ``Offset`` begins with so many rows that end the page before it, and must be the same.

    ``on_repeat``: a page with the same rows or the same request as an earlier page of its partition fails the run
    (``fail``), ends its partition without being counted where it is the page before it again, as some APIs serve past
    their end (``end``), or is kept (``allow``). ``key``: the path of a value that no two rows of the run share, or
    several paths of which they do not share all; ``on_duplicate``: a row whose key an earlier one has fails the run
    (``fail``), is left out (``drop``) or stays (``keep``).

    What ``warn``, ``allow`` and ``keep`` waive makes the manifest ``complete: false``.
    """

    min_rows: int = 0
    on_empty: Literal["ok", "fail", "skip"] = "ok"
    on_total_change: Literal["fail", "extend", "refetch_tail", "warn"] = "fail"
    on_repeat: Literal["fail", "end", "allow"] = "fail"
    look_beyond: bool = True
    overlap: int = 0
    refetch_ends: bool = False
    key: str | Sequence[str] | None = None
    on_duplicate: Literal["fail", "drop", "keep"] = "fail"

    def __post_init__(self) -> None:
        check_number(self.min_rows, "completeness: min_rows", whole=True)
        check_choice(self.on_empty, ("ok", "fail", "skip"), "completeness: on_empty")
        choices = ("fail", "extend", "refetch_tail", "warn")
        check_choice(self.on_total_change, choices, "completeness: on_total_change")
        check_flag(self.look_beyond, "completeness: look_beyond")
        check_number(self.overlap, "completeness: overlap", whole=True)
        check_flag(self.refetch_ends, "completeness: refetch_ends")
        check_choice(self.on_duplicate, ("fail", "drop", "keep"), "completeness: on_duplicate")
        self._check_key()
        check_choice(self.on_repeat, ("fail", "end", "allow"), "completeness: on_repeat")

    def _check_key(self) -> None:
        if not isinstance(self.key, str | list | tuple | None):
            raise ConfigurationError(f"completeness: key must be a path or a list of paths, got {self.key!r}")
        for path in paths_of(self.key):
            check_path(path, "completeness: key")
            if ALL in parse_path(str(path)):
                raise ConfigurationError("completeness: key leads to one value of a row, [*] means many")
        if self.key is not None and not paths_of(self.key):
            raise ConfigurationError("completeness: key must not be empty")
        if self.on_duplicate != "fail" and self.key is None:
            raise ConfigurationError("completeness: on_duplicate needs a key")


def paths_of(key: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return one or several paths as a tuple."""
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
