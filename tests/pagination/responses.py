"""Helpers to write responses and to follow a strategy through them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_paginated import Page, PageRequest, Stop
from airflow_paginated.core.values import Json, PageRecord, Split
from airflow_paginated.pagination.protocols import Pagination
from airflow_paginated.sinks.files import frames

ASKED = PageRequest("/rows", query={"active": True}, headers={"x": "y"}, partition=(4,), index=7)


def answer(
    request: PageRequest, count: int = 1, envelope: Json = None, headers: Mapping[str, str] | None = None, **known: Any
) -> Page:
    """Return the page of a request, with distinct rows."""
    rows = [b'{"id": %d}' % (1000 * request.index + number) for number in range(count)]
    return Page.of(request, rows, envelope=envelope, headers=headers or {}, **known)


def answered(request: PageRequest, rows: Iterable[Json], envelope: Json = None, **known: Any) -> Page:
    """Return the page of a request, with the given rows."""
    return Page.of(request, [json.dumps(row).encode() for row in rows], envelope=envelope, **known)


def followed(pagination: Pagination, page: Page) -> PageRequest:
    """Return the request that follows a page, after a round trip through JSON as in a resumed run."""
    successor = pagination.follow(page)
    assert isinstance(successor, PageRequest)
    assert successor == stored(page, successor)
    assert (successor.partition, successor.index) == (page.request.partition, page.request.index + 1)
    return successor


def stopped(pagination: Pagination, page: Page) -> str:
    """Return why no page follows."""
    successor = pagination.follow(page)
    assert isinstance(successor, Stop)
    return successor.why


def split(pagination: Pagination, page: Page) -> tuple[PageRequest, ...]:
    """Return the requests of a split, after a round trip through JSON as in a resumed run."""
    successor = pagination.follow(page)
    assert isinstance(successor, Split)
    assert successor == stored(page, successor)
    return successor.requests


def stored(page: Page, successor: PageRequest | Split) -> Any:
    """Return a successor as a file sink stores and reads it."""
    record = PageRecord(page.request, successor, page.count, len(page.lines), page.sha256)
    line = frames.encode(frames.header_of(record, ASKED, at=1.5))
    assert json.loads(line)["v"] == frames.FRAME_VERSION
    header = frames.decode(line)
    assert header is not None
    return frames.record_of(header, ASKED).successor


def own(request: PageRequest) -> dict[str, Any]:
    """Return the query parameters that a strategy has set."""
    return {name: value for name, value in request.query.items() if name not in ASKED.query}
