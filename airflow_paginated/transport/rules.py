"""The user's rules for responses: their format, where they report errors, and what they mean."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, Protocol, TypeAlias, cast

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.paths import ABSENT, ALL, check_path, parse_path, select
from airflow_paginated.core.validation import check_choice, check_text, override, value_from_dict
from airflow_paginated.core.values import Json

Format: TypeAlias = Literal["json", "jsonl", "csv"]

Action: TypeAlias = Literal["SUCCESS", "FAIL", "RETRY", "RATE_LIMITED", "IGNORE", "END", "REFRESH_TOKEN_THEN_RETRY"]

ACCEPT: Final[Mapping[str, str]] = {"json": "application/json", "jsonl": "application/x-ndjson", "csv": "text/csv"}

ACTIONS: Final = ("SUCCESS", "FAIL", "RETRY", "RATE_LIMITED", "IGNORE", "END", "REFRESH_TOKEN_THEN_RETRY")

TRANSIENT_4XX: Final = (408, 425, 429)

CONDITIONS: Final = ("status", "header", "content", "path")


class Readable(Protocol):
    """A response's body, decoded only when an action needs it."""

    @property
    def text(self) -> str:
        """The body as a string, empty if it cannot be decoded."""

    @property
    def value(self) -> Json:
        """The parsed JSON body, or ``ABSENT``."""


@dataclass(frozen=True, kw_only=True)
class ResponseAction:
    """What to do with a response that meets all conditions given here.

    ``action``: ``SUCCESS`` accepts it as a page, whatever its status; ``FAIL`` fails the run with ``message``;
    ``RETRY`` retries; ``RATE_LIMITED`` pauses all workers, for the time of a ``Retry-After``; ``IGNORE`` skips its
    rows, ``END`` ends its partition; ``REFRESH_TOKEN_THEN_RETRY`` retries once with renewed credentials.

    ``status``: one or several; without it, ``END`` and ``IGNORE`` never match 408, 425, 429 and 5xx. ``header``: is
    present; ``header_matches``: a regular expression found in its value. ``content``: a string that the body
    contains. ``path``: in a JSON body, leads to ``equals`` or, without that, to anything but null, false, 0 and empty
    values.
    """

    action: Action
    status: int | Collection[int] | None = None
    header: str | None = None
    header_matches: str | None = None
    content: str | None = None
    path: str | None = None
    equals: Json = ...
    """The ellipsis means not given, since null is a value."""
    message: str | None = None

    def __post_init__(self) -> None:
        check_choice(self.action, ACTIONS, "action")
        object.__setattr__(self, "status", _statuses(self.status))
        for name in ("header", "header_matches", "content", "message"):
            check_text(getattr(self, name), name, optional=True)
        check_path(self.path, "path", optional=True)
        _check_pattern(self.header_matches)
        if self.header_matches is not None and self.header is None:
            raise ConfigurationError("header_matches: give header, too")
        if self.equals is not ... and self.path is None:
            raise ConfigurationError("equals: give path, too")
        if all(getattr(self, name) is None for name in CONDITIONS):
            raise ConfigurationError(f"{self.action}: give at least one of {', '.join(CONDITIONS)}")

    def matches(self, status: int, headers: Mapping[str, str], body: Readable) -> bool:
        """Return whether a response meets the conditions; its body is decoded only if the others hold."""
        return (
            (status in cast("tuple[int, ...]", self.status) if self.status else self._may_match(status))
            and (self.header is None or self._header_matches(headers.get(self.header.lower())))
            and (self.content is None or self.content in body.text)
            and (self.path is None or self._value_matches(select(body.value, self.path)))
        )

    def _may_match(self, status: int) -> bool:
        # A failing server may say anything: it must not end a partition or skip rows.
        return self.action not in ("END", "IGNORE") or not (status in TRANSIENT_4XX or status >= 500)

    def _header_matches(self, value: str | None) -> bool:
        return value is not None and (self.header_matches is None or bool(re.search(self.header_matches, value)))

    def _value_matches(self, found: Json) -> bool:
        if self.equals is ...:
            return is_something(found)
        # True equals 1 in Python, but not in JSON.
        return bool(found == self.equals) and isinstance(found, bool) == isinstance(self.equals, bool)


@dataclass(frozen=True, kw_only=True)
class ResponseRules:
    """How responses are read.

    ``response_format``: ``json``, ``jsonl`` (one row per line) or ``csv`` (rows become objects of strings, named by
    the header line of each page or by ``csv_columns``). ``missing_rows`` and ``null_rows``: missing or null rows in a
    JSON response are a failure (``fail``) or a page without rows (``empty``). ``error_path``: any value there but null,
    false, 0 and empty ones makes a 200 an error. ``response_actions``: the first match decides, before anything else.
    """

    response_format: Format = "json"
    missing_rows: Literal["fail", "empty"] = "fail"
    null_rows: Literal["fail", "empty"] = "fail"
    error_path: str | None = None
    response_actions: Sequence[ResponseAction | Mapping[str, Any]] = ()
    csv_delimiter: str = ","
    csv_quotechar: str | None = '"'
    csv_columns: Sequence[str] | None = None

    def __post_init__(self) -> None:
        check_choice(self.response_format, ACCEPT, "response: response_format")
        for name in ("missing_rows", "null_rows"):
            check_choice(getattr(self, name), ("fail", "empty"), f"response: {name}")
        check_path(self.error_path, "response: error_path", optional=True)
        object.__setattr__(self, "response_actions", _actions(self.response_actions))
        object.__setattr__(self, "csv_columns", _columns(self.csv_columns))
        _check_csv(self.csv_delimiter, self.csv_quotechar)

    @property
    def actions(self) -> tuple[ResponseAction, ...]:
        """The actions as ``ResponseAction`` values."""
        return cast("tuple[ResponseAction, ...]", self.response_actions)

    @property
    def accept(self) -> str:
        """The media type for the Accept header."""
        return ACCEPT[self.response_format]

    def first_match(self, status: int, headers: Mapping[str, str], body: Readable) -> ResponseAction | None:
        """Return the first action that matches a response."""
        return next((action for action in self.actions if action.matches(status, headers, body)), None)

    def check_selector(self, data_selector: str | None) -> None:
        """Raise ``ConfigurationError`` for a selector that contradicts these rules."""
        if data_selector is not None and self.response_format != "json":
            raise ConfigurationError(
                f"data_selector: every line of a {self.response_format} response is a row; leave it out"
            )
        way = parse_path(data_selector) if data_selector else ()
        rows = way[: way.index(ALL) + 1] if ALL in way else (*way, ALL)
        if self.error_path and parse_path(self.error_path)[: len(rows)] == rows:
            raise ConfigurationError(f"response: error_path {self.error_path!r} leads into the rows, not beside them")

    def described(self) -> dict[str, Json]:
        """Return the dict form without defaults."""
        changed = _changed(self)
        if self.actions:
            changed["response_actions"] = [_changed(action) for action in self.actions]
        return changed


def combined_response(
    connection: Mapping[str, Any] | None, operator: Mapping[str, Any] | ResponseRules | None
) -> ResponseRules:
    """Combine default < connection < operator."""
    granted = override(ResponseRules(), connection, "response (on the connection)")
    return override(granted, operator, "response")


def is_something(value: Json) -> bool:
    """Return whether a value is present and not null, false, 0 or empty."""
    return value is not ABSENT and bool(value)


def _changed(value: ResponseAction | ResponseRules) -> dict[str, Json]:
    given = {field.name: (getattr(value, field.name), field.default) for field in fields(value)}
    return {name: list(own) if isinstance(own, tuple) else own for name, (own, usual) in given.items() if own != usual}


def _actions(given: object) -> tuple[ResponseAction, ...]:
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise ConfigurationError(f"response: response_actions: expected a list, got {type(given).__name__}")
    return tuple(_action(each, f"response: response_actions[{number}]") for number, each in enumerate(given))


def _action(given: object, where: str) -> ResponseAction:
    if isinstance(given, ResponseAction):
        return given
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{where}: expected a dict or ResponseAction, got {type(given).__name__}")
    try:
        return value_from_dict(ResponseAction, given, where)
    except ConfigurationError as exc:
        raise ConfigurationError(f"{where}: {str(exc).removeprefix(f'{where}: ')}") from None


def _statuses(given: object) -> tuple[int, ...] | None:
    if given is None:
        return None
    listed = given if isinstance(given, Collection) and not isinstance(given, str | Mapping) else [given]
    statuses = tuple(each for each in listed if isinstance(each, int) and 100 <= each < 600)
    if not statuses or len(statuses) < len(listed):
        raise ConfigurationError(f"status: expected a number from 100 to 599 or a list of them, got {given!r}")
    return statuses


def _check_pattern(pattern: str | None) -> None:
    try:
        re.compile(pattern or "")
    except re.error as exc:
        raise ConfigurationError(f"header_matches: {pattern!r} is not a regular expression: {exc}") from None


def _columns(given: object) -> tuple[str, ...] | None:
    if given is None:
        return None
    columns = tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else ()
    if not columns or not all(isinstance(each, str) for each in columns) or len(set(columns)) < len(columns):
        raise ConfigurationError(f"response: csv_columns: expected a list of different names, got {given!r}")
    return columns


def _check_csv(delimiter: object, quotechar: object) -> None:
    for name, given in (("csv_delimiter", delimiter), ("csv_quotechar", quotechar)):
        none = given is None and name == "csv_quotechar"
        if not none and (not isinstance(given, str) or len(given) != 1 or given in "\r\n"):
            raise ConfigurationError(f"response: {name}: expected one character, got {given!r}")
    try:
        csv.reader([], delimiter=str(delimiter), quotechar=cast("str | None", quotechar), quoting=quoting(quotechar))
    except (TypeError, ValueError) as exc:
        raise ConfigurationError(f"response: csv_delimiter or csv_quotechar: {exc}") from None
    if delimiter == quotechar:
        raise ConfigurationError("response: csv_delimiter and csv_quotechar must differ")


def quoting(quotechar: object) -> Literal[0, 3]:
    """Return the ``csv`` quoting mode: without a quote character, quotes are data."""
    return csv.QUOTE_NONE if quotechar is None else csv.QUOTE_MINIMAL
