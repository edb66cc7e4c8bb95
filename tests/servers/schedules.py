"""Which request fails, and how: pure functions of the request and of how often it was seen."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from tests.servers import faults
from tests.servers.faults import Fault
from tests.servers.wire import Request

Schedule: TypeAlias = Callable[[Request, int], Fault | None]
"""(request, n), n = 1 when this very request is seen for the first time, -> the fault, or None for a good reply."""

SEVEN: Final[tuple[Fault, ...]] = (
    faults.ResetBeforeHeaders(),
    faults.CutHeaders(),
    faults.ResetInBody(),
    faults.ShortBody(),
    faults.CutChunk(),
    faults.TruncatedGzip(),
    faults.ServerError(503),
)
FOUR: Final[tuple[Fault, ...]] = (
    faults.CloseBeforeHeaders(),
    faults.ResetInBody(),
    faults.ShortBody(),
    faults.ServerError(503),
)


def no_faults(request: Request, nth: int) -> Fault | None:
    """Never fail."""
    return None


def draw(seed: int, key: str, nth: int) -> float:
    """Return a number in [0, 1) that depends on nothing but the arguments."""
    digest = hashlib.blake2b(f"{seed}|{nth}|{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def mixed(kinds: Sequence[Fault], rate: float, seed: int = 0, in_a_row: int = 3) -> Schedule:
    """Fail this share of the requests in turn of all kinds, the same request at most ``in_a_row`` times in a row."""

    def schedule(request: Request, nth: int) -> Fault | None:
        if nth % (in_a_row + 1) == 0:
            return None
        share = draw(seed, request.key, nth)
        return kinds[int(share / rate * len(kinds))] if share < rate else None

    return schedule


def seven_faults(rate: float, seed: int = 0, in_a_row: int = 3) -> Schedule:
    """Fail this share of the requests in seven ways: before, in and after the headers, in the body, and by status."""
    return mixed(SEVEN, rate, seed, in_a_row)


def four_faults(rate: float, seed: int = 0, in_a_row: int = 3) -> Schedule:
    """Fail this share of the requests in four ways: closed, reset, short body, 503."""
    return mixed(FOUR, rate, seed, in_a_row)


def on_page(page: int, fault: Fault, times: int | None = None, parameter: str = "page") -> Schedule:
    """Fail the requests whose parameter says this page, the first so many times or always."""

    def schedule(request: Request, nth: int) -> Fault | None:
        hit = str(request.parameters().get(parameter, "")) == str(page)
        return fault if hit and (times is None or nth <= times) else None

    return schedule


def first_of(schedules: Iterable[Schedule]) -> Schedule:
    """Ask each schedule in turn; the first fault wins."""
    asked = tuple(schedules)

    def schedule(request: Request, nth: int) -> Fault | None:
        return next((fault for one in asked if (fault := one(request, nth)) is not None), None)

    return schedule


def fault_from(config: Mapping[str, Any]) -> Fault:
    """Build ``{"type": "ServerError", "status": 500}``; text stands for bytes and lists for tuples."""
    fields = {name: _field(name, value) for name, value in config.items() if name != "type"}
    fault: Fault = getattr(faults, config["type"])(**fields)
    return fault


def _field(name: str, value: Any) -> Any:
    if name in {"body", "data", "tail"}:
        return value.encode()
    return tuple(tuple(pair) for pair in value) if isinstance(value, list) else value


def schedule_from(config: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None) -> Schedule:
    """Build a schedule from JSON: a profile ``{"type": "seven_faults", "rate": 0.1}``, ``on_page``, or a list."""
    if not config:
        return no_faults
    if not isinstance(config, Mapping):
        return first_of(schedule_from(one) for one in config)
    options = {name: value for name, value in config.items() if name != "type"}
    if config["type"] == "on_page":
        return on_page(**{**options, "fault": fault_from(options["fault"])})
    return {"seven_faults": seven_faults, "four_faults": four_faults}[config["type"]](**options)
