"""Policies that hold for a whole run: when a collection is complete, and how much it may take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from airflow_paginated.paging.dicts import check_choice, check_flag, check_number, override
from airflow_paginated.paging.errors import ConfigurationError
from airflow_paginated.paging.selectors import ALL, check_path, parse_path

MIB: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Completeness:
    """What must hold before rows are published.

    ``min_rows``: fewer rows fail the run. ``on_empty``: no rows at all are ``ok``, ``fail`` the run or ``skip`` the
    task.

    ``on_total_change``: an API whose total changes in mid-run fails the run (``fail``), is followed to its newest total
    (``extend``), or is tolerated, as is a wrong total (``warn``).

    ``probe_past_end``: where a total of items ends a partition with a full page, the page after it is asked for, which
    must be empty or refused; of many partitions, behind the first hundred. ``overlap``: each page of an ``Offset``
    begins with so many rows that end the page before it, and must be the same.

    ``on_repeat``: a page with the same rows or the same request as an earlier page of its partition fails the run
    (``fail``), ends its partition without being counted where it is the page before it again, as some APIs serve past
    their end (``end``), or is kept (``allow``). ``key``: the path of a value that no two rows of the run share, or
    several paths of which they do not share all; ``on_duplicate``: a row whose key an earlier one has fails the run
    (``fail``), is left out (``drop``) or stays (``keep``).

    What ``warn``, ``allow`` and ``keep`` waive makes the manifest ``complete: false``.
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
class Limits:
    """How much one run may take; sizes in bytes, times in seconds.

    ``buffer_bytes``: pages in flight and waiting for their turn. ``page_bytes``: one decoded body. ``xcom_bytes``: all
    rows of an XCom result. ``resume_max_age``: how old the newest stored page may be for a retry to go on with it.
    ``sample_pages``: collect only so many pages of each partition, a development mode whose result is never complete.
    ``max_pages`` and ``max_rows``: a run that collects more fails; nothing is truncated. ``connect_timeout`` and
    ``read_timeout`` bound one wait on the socket, ``attempt_timeout`` one attempt, ``page_timeout`` all attempts of one
    page with the waits between them, ``run_timeout`` one try of the task, from its first request to the commit.
    """

    buffer_bytes: int = 64 * MIB
    page_bytes: int = 64 * MIB
    xcom_bytes: int = MIB
    resume_max_age: float = 24 * 3600.0
    sample_pages: int | None = None
    max_pages: int | None = None
    max_rows: int | None = None
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    attempt_timeout: float = 120.0
    page_timeout: float = 600.0
    run_timeout: float | None = None

    def __post_init__(self) -> None:
        for name in ("buffer_bytes", "page_bytes", "xcom_bytes"):
            check_number(getattr(self, name), f"limits: {name}", least=1, whole=True)
        for name in ("sample_pages", "max_pages", "max_rows"):
            check_number(getattr(self, name), f"limits: {name}", least=1, whole=True, optional=True)
        check_number(self.resume_max_age, "limits: resume_max_age")
        for name in ("connect_timeout", "read_timeout", "attempt_timeout", "page_timeout"):
            check_number(getattr(self, name), f"limits: {name}", least=0.001)
        check_number(self.run_timeout, "limits: run_timeout", least=0.001, optional=True)


CAPS: Final = (
    "buffer_bytes",
    "page_bytes",
    "xcom_bytes",
    "resume_max_age",
    "sample_pages",
    "max_pages",
    "max_rows",
    "run_timeout",
)


def combined_limits(connection: Mapping[str, Any] | None, operator: Mapping[str, Any] | Limits | None) -> Limits:
    """Combine default < connection < operator; a cap that the connection sets can only be tightened."""
    granted = override(Limits(), connection, "limits (on the connection)")
    wanted = override(granted, operator, "limits")
    caps = {name: getattr(granted, name) for name in CAPS if name in (connection or {})}
    return replace(wanted, **{name: _tighter(cap, getattr(wanted, name)) for name, cap in caps.items()})


def _tighter(cap: Any, wanted: Any) -> Any:
    return min((each for each in (cap, wanted) if each is not None), default=None)
