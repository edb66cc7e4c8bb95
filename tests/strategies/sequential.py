"""Cases of pages that are found one after the other: by tokens and by keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote, unquote

from airflow_paginated import Cursor, HeaderCursor, Keyset
from tests.servers.styles import Bare, ByKey, ByToken, Envelope, More, Total
from tests.strategies.cases import ASKED, TIES, Case, case

NEXT: Final = Cursor(cursor_path="next_cursor")
TOKEN: Final = ByToken(carrier=ASKED)
HEADER: Final = ByToken(carrier=ASKED, headers=("X-Next",), end="absent")
POST: Final = {"method": "POST", "body": {"page": {"size": 20}}}
POSTED: Final = replace(ASKED, where="body", **POST)
SEARCH: Final = "query($first: Int!, $after: String) { users(first: $first, after: $after) { edges { node } } }"
GRAPH: Final = replace(POSTED, body={"query": SEARCH, "variables": {"first": 20}})
LISTS: Final = {"shape": Bare(), "data_selector": None}
INFO: Final = ("data", "users", "pageInfo")


def awkward(number: int) -> str:
    """Write a token of what a query cannot carry as it is."""
    return f"a+b/c=={number},$&%2B é\"'#?"


def encoded(number: int) -> str:
    """Write it as a query can."""
    return quote(awkward(number), safe="")


def in_json(number: int) -> str:
    """Write a token that is the text of an object."""
    return json.dumps({"id": number, "after": "a&b"})


def an_object(number: int) -> Any:
    """Write a token that is an object."""
    return {"id": number, "after": ["ü", None, 1.5]}


END_BY_REPEAT: Final[Mapping[str, Any]] = {"completeness": {"on_repeat": "end"}, "pages": 13}

CURSORS: Final[Mapping[str, Case]] = {
    "cursor": case(TOKEN, NEXT),
    "cursor and a page size": case(
        replace(TOKEN, size_param="limit"), replace(NEXT, page_size=20, page_size_param="limit")
    ),
    "cursor and a total": case(TOKEN, replace(NEXT, total_path="meta.total"), Total()),
    "cursor and a flag": case(replace(TOKEN, end="token"), replace(NEXT, has_more_path="has_more"), More()),
    "cursor with +/=,$&%": case(replace(TOKEN, token=awkward), NEXT),
    "cursor, encoded already": case(replace(TOKEN, token=encoded, sent=unquote), replace(NEXT, cursor_encoded=True)),
    "cursor, a JSON text": case(replace(TOKEN, token=in_json), NEXT),
    "cursor, an object": case(replace(TOKEN, token=an_object), NEXT),
    "cursor, a number": case(replace(TOKEN, token=lambda number: 10**20 + number), NEXT),
    "cursor at a key with dots": case(
        replace(TOKEN, paths=(("meta", "@next.cursor"),)), Cursor(cursor_path='meta["@next.cursor"]')
    ),
    "cursor, first empty": case(replace(TOKEN, first=""), replace(NEXT, first_cursor="")),
    "cursor, first a star": case(
        replace(TOKEN, first="*", end="same"), replace(NEXT, first_cursor="*"), **END_BY_REPEAT
    ),
    "cursor, the same at the end": case(replace(TOKEN, end="same"), NEXT, **END_BY_REPEAT),
    "cursor until an empty page": case(
        replace(TOKEN, end="token", empty=(12,)), replace(NEXT, stop_after_empty_page=True), pages=13
    ),
    "cursor, empty text at the end": case(replace(TOKEN, end="empty"), NEXT),
    "cursor, absent at the end": case(replace(TOKEN, end="absent"), NEXT),
    "cursor, empty pages with a token": case(replace(TOKEN, empty=(0, 3, 4)), NEXT, pages=15),
    "two cursors": case(
        replace(TOKEN, params=("pk", "rk"), paths=(("next", "pk"), ("next", "rk"))),
        Cursor(cursor_path=["next.pk", "next.rk"], cursor_param=["pk", "rk"]),
    ),
    "cursor in a header": case(
        replace(TOKEN, carrier=replace(ASKED, where="header"), params=("X-Cursor",)),
        replace(NEXT, cursor_param="X-Cursor", inject_into="header"),
    ),
    "cursor in the body": case(
        replace(TOKEN, carrier=POSTED, params=("page.token",)),
        replace(NEXT, cursor_param="page.token", inject_into="body"),
        **POST,
    ),
    "cursor in the body, an object": case(
        replace(TOKEN, carrier=POSTED, params=("page.token",), token=an_object, sent=lambda token: token),
        replace(NEXT, cursor_param="page.token", inject_into="body"),
        **POST,
    ),
    "connections of edges and nodes": case(
        ByToken(carrier=GRAPH, params=("variables.after",), paths=((*INFO, "endCursor"),), end="token"),
        Cursor(
            cursor_path="data.users.pageInfo.endCursor",
            has_more_path="data.users.pageInfo.hasNextPage",
            cursor_param="variables.after",
            inject_into="body",
        ),
        More(path=(*INFO, "hasNextPage")),
        shape=Envelope(at=("data", "users", "edges"), node="node"),
        data_selector="data.users.edges[*].node",
        method="POST",
        body=GRAPH.body,
    ),
}

HEADERS: Final[Mapping[str, Case]] = {
    "header cursor": case(HEADER, HeaderCursor(cursor_header="x-next", missing_next="end")),
    "header cursor, empty at the end": case(replace(HEADER, end="empty"), HeaderCursor(cursor_header="X-Next")),
    "header cursor, first empty": case(
        replace(HEADER, end="empty", first=""), HeaderCursor(cursor_header="X-Next", first_cursor="")
    ),
    "header cursor with +/=,$&%": case(
        replace(HEADER, token=lambda number: f"a+b/c=={number},$&%2B"), HeaderCursor(cursor_header="X-Next"), **LISTS
    ),
    "header cursor, sent in a header": case(
        replace(HEADER, carrier=replace(ASKED, where="header"), params=("X-Continue",)),
        HeaderCursor(cursor_header="X-Next", cursor_param="X-Continue", inject_into="header"),
        **LISTS,
    ),
    "two header cursors": case(
        replace(HEADER, params=("NextPartitionKey", "NextRowKey"), headers=("X-Next-Pk", "X-Next-Rk")),
        HeaderCursor(cursor_header=["x-next-pk", "x-next-rk"], cursor_param=["NextPartitionKey", "NextRowKey"]),
    ),
}

KEYS: Final[Mapping[str, Case]] = {
    "key": case(ByKey(carrier=ASKED), Keyset(key_path="id", key_param="after_id"), pages=13),
    "key and a flag": case(
        ByKey(carrier=ASKED), Keyset(key_path="id", key_param="after_id", has_more_path="has_more"), More()
    ),
    "key, first 0": case(
        ByKey(carrier=ASKED, first="0", inclusive=True),
        Keyset(key_path="id", key_param="after_id", first_key=0, inclusive=True),
        pages=14,
    ),
    "key of two fields": case(
        ByKey(carrier=ASKED, fields=("at", "id"), params=("at", "id")),
        Keyset(key_path=["at", "id"], key_param=["at", "id"]),
        rows=TIES,
        pages=13,
    ),
    "key, inclusive": case(
        ByKey(carrier=ASKED, inclusive=True), Keyset(key_path="id", key_param="after_id", inclusive=True), pages=14
    ),
    "key, inclusive, with ties": case(
        ByKey(carrier=ASKED, fields=("at",), params=("since",), inclusive=True),
        Keyset(key_path="at", key_param="since", inclusive=True),
        rows=TIES,
        pages=14,
    ),
    "key in the body": case(
        ByKey(carrier=POSTED, params=("page.after",)),
        Keyset(key_path="id", key_param="page.after", inject_into="body"),
        pages=13,
        **POST,
    ),
}
