"""Collecting only what has changed: what is asked for, and what one run leaves to the next."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from airflow_paginated.paging.dicts import check_choice, check_flag, check_number, check_text, value_from_dict
from airflow_paginated.paging.errors import ConfigurationError
from airflow_paginated.paging.injection import PLACES, InjectInto, check_parameter, placed, value_at
from airflow_paginated.paging.marks import KINDS, KindAsked, Mark
from airflow_paginated.paging.selectors import ALL, check_path, parse_path
from airflow_paginated.paging.values import Json, PageRequest

START: Final = "{start}"
DIGEST_BYTES: Final = 12
"""Of at most some 100,000 remembered rows, none is mistaken for another in any number of runs."""


@dataclass(frozen=True, kw_only=True)
class Incremental:
    """Collect from where the last run stopped, and publish each change once.

    ``field``: path in each row to what grows with every change; the greatest value that was published is the
    watermark. ``kind`` says what its values are: numbers, ISO 8601 timestamps, which are compared as instants, or other
    texts; ``auto`` looks at them. ``missing_value``: a row without a value, or with null, fails the run (``fail``), is
    published whenever it comes (``include``), or never is (``exclude``).

    ``param``: the parameter of the API for the value to start from, in the ``query``, a ``header`` or the JSON ``body``
    (``inject_into``), as it is or inside of an ``expression`` such as ``"updated_at ge {start}"``. Without it
    everything is fetched, and what is new is published. The first run starts from ``initial_value``, every other one
    from the watermark less ``lookback`` (seconds, or units of a number): for rows that can be seen some time after
    their value, and changes while a run reads.

    Rows between start and watermark were published already. They are remembered, and left out when they come again;
    with ``remember=False`` they come again.

    ``state_path``: a folder, local or in a store, where the watermark is kept. Without it, it is kept in Airflow's
    store for the state of the task's first outlet asset (3.3).
    """

    field: str
    param: str | None = None
    initial_value: Json = None
    lookback: float = 0
    inject_into: InjectInto = "query"
    expression: str | None = None
    kind: KindAsked = "auto"
    missing_value: Literal["fail", "include", "exclude"] = "fail"
    remember: bool = True
    state_path: str | None = None

    def __post_init__(self) -> None:
        check_path(self.field, "incremental: field")
        if ALL in parse_path(self.field):
            raise ConfigurationError("incremental: field leads to one value of a row, [*] means many")
        check_choice(self.inject_into, PLACES, "incremental: inject_into")
        check_choice(self.kind, KINDS, "incremental: kind")
        check_choice(self.missing_value, ("fail", "include", "exclude"), "incremental: missing_value")
        check_number(self.lookback, "incremental: lookback")
        check_flag(self.remember, "incremental: remember")
        for name in ("param", "expression", "state_path"):
            check_text(getattr(self, name), f"incremental: {name}", optional=True)
        if self.lookback and self.kind == "text":
            raise ConfigurationError("incremental: no lookback is possible from texts")
        self._check_param()

    def _check_param(self) -> None:
        first = self.initial_value
        if isinstance(first, bool) or not isinstance(first, str | int | float | None):
            raise ConfigurationError(f"incremental: initial_value must be a text or a number, got {first!r}")
        if self.param is not None:
            check_parameter(self.param, self.inject_into, "incremental: param")
        elif first is not None or self.expression is not None:
            raise ConfigurationError("incremental: initial_value and expression need the name of a parameter, param")
        if self.expression is not None and (START not in self.expression or first is None):
            raise ConfigurationError(f"incremental: expression needs {START} in it, and an initial_value")

    def asked(self, request: PageRequest, start: Mark | None) -> PageRequest:
        """Return the request for what has changed since ``start``, or for the first run.

        Raises ``ConfigurationError`` where the parameter is there already.
        """
        value = self.initial_value if start is None else start.sent
        if self.param is None or value is None:
            return request
        if value_at(request, self.inject_into, self.param) is not None:
            raise ConfigurationError(f"incremental: the parameter {self.param!r} is in the {self.inject_into} already")
        if self.expression is not None:
            value = self.expression.replace(START, str(value))
        elif self.inject_into == "body" and start is not None and not start.quoted and isinstance(value, str):
            value = float(value) if Decimal(repr(float(value))) == Decimal(value) else value
        return placed(request, self.inject_into, {self.param: value})


def incremental_from(given: object) -> Incremental | None:
    """Return the value that an argument means: a value, a dict or nothing."""
    if given is None or isinstance(given, Incremental):
        return given
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"incremental: expected a dict or Incremental, got {type(given).__name__}")
    return value_from_dict(Incremental, given, "incremental")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What one run leaves to the next; all but the ``watermark`` can be left out, as by hand.

    ``start``: where the next run begins. ``seen``: digests of the rows from there on. ``generation`` counts the states.
    ``by`` is the run that left it, and ``before`` what that run began with: it may have to begin again.
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
        """The digests of the rows that were published, from ``start`` on."""
        data = b64decode(self.seen, validate=True)
        return (data[at : at + DIGEST_BYTES] for at in range(0, len(data), DIGEST_BYTES))


def packed(digests: Iterable[bytes]) -> str:
    """Return digests as ``State.seen`` has them."""
    return b64encode(b"".join(sorted(digests))).decode()
