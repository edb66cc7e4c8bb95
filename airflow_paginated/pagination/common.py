"""The base class of all strategies: page size, totals, has-more flag, and where parameters go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Final, Literal

from airflow_paginated.core.errors import ConfigurationError, ResponseError
from airflow_paginated.core.injection import PLACES, InjectInto, check_parameter
from airflow_paginated.core.paths import ABSENT, check_path, describe_envelope, describe_shape, quoted, select
from airflow_paginated.core.validation import check_choice, check_flag, check_number, check_text
from airflow_paginated.core.values import Json, Page, Total, TotalKind

MAX_COUNT_DIGITS: Final = 18
"""No table has more rows, and Python refuses to parse integers with thousands of digits."""

FLAG_STRINGS: Final = {"true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """The fields that all strategies share.

    ``total_path`` (in the body) or ``total_header`` locates the total, in ``items`` or ``pages`` (``total_kind``). The
    run fails unless it collects exactly that, except with ``total_is="hint"``. ``has_more_path`` overrides any total:
    more pages follow as long as the flag there is ``has_more_value``, ``False`` for a flag that means "last page".
    ``inject_into`` says where parameters go; in the body, their names are paths.
    """

    page_size: int | None = None
    total_path: str | None = None
    total_header: str | None = None
    total_kind: TotalKind = "items"
    total_is: Literal["exact", "hint"] = "exact"
    has_more_path: str | None = None
    has_more_value: bool = True
    inject_into: InjectInto = "query"

    def __post_init__(self) -> None:
        check_number(self.page_size, "pagination: page_size", least=1, whole=True, optional=True)
        check_choice(self.total_kind, ("items", "pages"), "pagination: total_kind")
        check_choice(self.total_is, ("exact", "hint"), "pagination: total_is")
        check_flag(self.has_more_value, "pagination: has_more_value")
        if not (self.has_more_value or self.has_more_path):
            raise ConfigurationError("pagination: has_more_value requires has_more_path")
        check_choice(self.inject_into, PLACES, "pagination: inject_into")
        for name in ("total_path", "has_more_path"):
            check_path(getattr(self, name), f"pagination: {name}", optional=True)
        for field in fields(self):
            if field.name.endswith(("_param", "_header")):
                self._check_names(field.name, optional="None" in str(field.type))
        check_distinct(self.parameters())
        if self.total_path and self.total_header:
            raise ConfigurationError("pagination: give total_path or total_header, not both")

    def parameters(self) -> list[tuple[str, str]]:
        """Return each field that names a parameter, with that name."""
        named = [field.name for field in fields(self) if field.name.endswith("_param")]
        return [(name, each) for name in named for each in as_names(getattr(self, name))]

    @property
    def counts_rows(self) -> bool:
        """Whether an exact total of items proves that no row is missing."""
        return self.total_is == "exact" and self.total_kind == "items" and bool(self.total_path or self.total_header)

    def total(self, page: Page) -> Total | None:
        """Return the exact total that this page declares, if any."""
        return self.declared(page) if self.total_is == "exact" else None

    def declared(self, page: Page) -> Total | None:
        """Return the total that this page declares, exact or a hint."""
        found, where = self._read_total(page)
        if found in (ABSENT, None):
            return None
        count = parse_count(found)
        if count is None and self.total_is == "exact":
            raise ResponseError(
                f"the total at {where} must be a count, the response has {describe_shape(found)} there; if the API"
                " does not always know it, set total_is='hint'"
            )
        return None if count is None else Total(count, self.total_kind)

    def _check_names(self, name: str, optional: bool) -> None:
        where = f"pagination: {name}"
        given = getattr(self, name)
        if isinstance(given, list | tuple) and given and name in ("cursor_param", "cursor_header", "key_param"):
            for each in given:
                check_text(each, where)
        else:
            check_text(given, where, optional=optional)
        if name.endswith("_param"):
            for each in as_names(given):
                check_parameter(each, self.inject_into, where)

    def _read_total(self, page: Page) -> tuple[Json, str]:
        if self.total_header:
            return page.headers.get(self.total_header.lower()), f"header {self.total_header!r}"
        return (select(page.envelope, self.total_path), repr(self.total_path)) if self.total_path else (None, "")

    def _has_more(self, page: Page) -> bool:
        path = self.has_more_path or ""
        found = select(page.envelope, path)
        flag = FLAG_STRINGS.get(str(found).lower()) if isinstance(found, bool | int | str) else None
        if flag is None:
            there = describe_envelope(page.envelope, path)
            raise ResponseError(f"has_more_path {path!r} must be true or false; {there}")
        return flag is self.has_more_value

    def _missing_total_error(self, page: Page) -> ResponseError:
        if self.total_header:
            names = ", ".join(quoted(name) for name in sorted(page.headers))
            return ResponseError(
                f"total_header {self.total_header!r} is missing from the response; its headers are {names}"
            )
        there = describe_envelope(page.envelope, self.total_path or "")
        return ResponseError(f"total_path {self.total_path!r} matches nothing; {there}")


def as_names(given: object) -> tuple[str, ...]:
    """Return one name or several as a tuple; an empty one for anything else."""
    if isinstance(given, str):
        return (given,)
    return tuple(given) if isinstance(given, list | tuple) else ()


def assign(names: Sequence[str], given: Json) -> dict[str, Json]:
    """Map each name to its element of a list of the same length, else all names to the one value."""
    if len(names) > 1 and isinstance(given, list | tuple) and len(given) == len(names):
        return dict(zip(names, given, strict=True))
    return dict.fromkeys(names, given)


def check_distinct(parameters: Iterable[tuple[str, str]]) -> None:
    """Raise ``ConfigurationError`` if two fields name the same parameter: one would overwrite the other."""
    known: dict[str, str] = {}
    for field, name in parameters:
        if name in known:
            raise ConfigurationError(f"pagination: {known[name]} and {field} both name {name!r}")
        known[name] = field


def parse_count(found: Json) -> int | None:
    """Return the count that an integer or a string of digits means, ``None`` for anything else."""
    if isinstance(found, str) and len(found) <= MAX_COUNT_DIGITS and found.strip().isdecimal():
        found = int(found)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 10**MAX_COUNT_DIGITS:
        return None
    return found
