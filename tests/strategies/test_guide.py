"""The examples of docs/pagination.md, each against an API that behaves as the guide says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

import airflow_paginated
from airflow_paginated import PaginatedApiOperator
from tests.servers import Reply, Request
from tests.servers.styles import (
    Bare,
    ByKey,
    ByLink,
    ByNumber,
    ByOffset,
    ByToken,
    Cap,
    Carrier,
    Envelope,
    InRange,
    Lines,
    More,
    StyledApi,
    Table,
    Total,
    employees,
    telling,
)
from tests.servers.styles.core import Told
from tests.servers.styles.links import four_relations, numbered
from tests.strategies.collecting import Application, Collect

GUIDE: Final = (Path(__file__).resolve().parents[2] / "docs/pagination.md").read_text()
SECTION: Final = re.compile(r"^### (.+)$", re.MULTILINE)
ROWS: Final = employees(250)
LIMITED: Final = ByOffset(size_param="limit", asks=20)
PARTS: Final = tuple(b'{"id":"%d","name":"a,b\\n\\"c\\" %d"}' % (number, number) for number in range(250))


def api(asked: Any, *tells: Any, shape: Any = None, **known: Any) -> StyledApi:
    return StyledApi(**{"rows": ROWS, "asked": asked, "tells": tells, "shape": shape or Envelope(), **known})


def graphql() -> StyledApi:
    text = "query($after: String) { users(first: 20, after: $after) { ... } }"
    info = ("data", "users", "pageInfo")
    carrier = Carrier(where="body", method="POST", body={"query": text, "variables": {}})
    return api(
        ByToken(carrier=carrier, params=("variables.after",), paths=((*info, "endCursor"),), end="token"),
        More(path=(*info, "hasNextPage")),
        shape=Envelope(at=("data", "users", "edges"), node="node"),
        path="/graphql",
    )


class TriesLater:
    """Responds to the second request with an error inside a 200."""

    def __init__(self) -> None:
        self._asked = 0
        self._api = api(ByNumber(), Total())

    def __call__(self, request: Request) -> Reply:
        self._asked += 1
        if self._asked == 2:
            return Reply(json.dumps({"error": "try later", "data": None}).encode())
        return self._api(request)


SERVERS: Final[Mapping[str, Application]] = {
    "Page numbers and a number of pages": api(ByNumber(), Total(path=("meta", "total_pages"), count=telling.pages)),
    "Page numbers and a number of rows": api(ByNumber(base=0, size_param="per_page", asks=50), Total(path=("total",))),
    "Offsets and a number of rows": api(replace(LIMITED, asks=1000, cap=Cap(most=100)), Total()),
    "A bare list and a total in a header": api(LIMITED, Total(header="X-Total-Count"), shape=Bare()),
    "A flag that says whether there is more": api(ByNumber(), More()),
    "Nothing but an empty page at the end": api(ByNumber()),
    "A total that is only a hint": api(LIMITED, Total(count=telling.unknown)),
    "Past the end: 404": api(ByNumber(past_end="not_found")),
    "Past the end: the last page again": api(ByNumber(past_end="last")),
    "Offsets that follow the rows received": api(replace(LIMITED, lengths=lambda start: 10 + start * 7 % 19), Total()),
    "A cursor in the body": api(ByToken()),
    "Cursors in headers": api(ByToken(params=("NextPartition", "NextRow"), headers=("X-Next-Partition", "X-Next-Row"))),
    "The key of the last row": api(ByKey()),
    "Keys that include the row itself": api(ByKey(params=("start_id",), inclusive=True)),
    "A link in the body": api(ByLink(path=("@odata.nextLink",), end=Told), shape=Envelope(at=("value",))),
    "The Link header": api(
        ByLink(carrier=Carrier(query={"per_page": "20"}), query=numbered, headers=four_relations),
        Total(header="X-Total-Count"),
        shape=Bare(),
    ),
    "GraphQL": graphql(),
    "A search by POST": api(
        ByOffset(
            carrier=Carrier(where="body", method="POST", body={"filter": {"active": True}}),
            param="from",
            size_param="size",
            asks=20,
        ),
        Total(path=("total",)),
    ),
    "An API that refuses deep pages": api(
        InRange(inner=lambda carrier: replace(LIMITED, carrier=carrier, deepest=100)), Total(count=telling.capped)
    ),
    "Everything at once": api(ByLink(size=1000)),
    "CSV": api(ByNumber(), shape=Table(columns=("id", "name")), rows=PARTS),
    "JSON Lines": api(LIMITED, Total(header="X-Total-Count"), shape=Lines()),
    "An error inside a 200": TriesLater(),
}


def examples() -> dict[str, str]:
    """Return the code of each example by its heading."""
    _, *rest = SECTION.split(GUIDE)
    found = (
        (heading, re.search(r"```python\n(.*?)```", text, re.DOTALL))
        for heading, text in zip(rest[::2], rest[1::2], strict=True)
    )
    return {heading: text[1] for heading, text in found if text}


def example(heading: str) -> PaginatedApiOperator:
    """Return the operator of an example."""
    text = examples()[heading]
    names = {name: getattr(airflow_paginated, name) for name in airflow_paginated.__all__}
    exec(text.replace("PaginatedApiOperator(", "example = PaginatedApiOperator(", 1), names)
    operator: PaginatedApiOperator = names["example"]
    return operator


@pytest.mark.parametrize("heading", SERVERS)
def test_an_example_collects_every_row(heading: str, collect: Collect) -> None:
    operator = example(heading)
    names = ("method", "body", "data_selector", "retry", "completeness", "response")
    given = {name: getattr(operator, name) for name in names}
    app = SERVERS[heading]
    found = collect(
        app,
        operator.pagination,
        endpoint=operator.endpoint,
        **{name: value for name, value in given.items() if value is not None},
    )
    rows = [json.loads(row) for row in getattr(app, "rows", ROWS)]
    assert found.rows == rows


def test_every_example_is_tried() -> None:
    assert set(examples()) == set(SERVERS)


@pytest.mark.parametrize("heading", SERVERS)
def test_an_example_is_short(heading: str) -> None:
    lines = examples()[heading].strip().splitlines()
    assert len(lines) <= 11
