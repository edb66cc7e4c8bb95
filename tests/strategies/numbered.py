"""Cases of pages that have a number or begin at a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from airflow_paginated import Offset, PageNumber, Sliced
from tests.servers.styles import Bare, ByNumber, ByOffset, Cap, Envelope, InRange, Lines, More, Table, Total, telling
from tests.strategies.cases import ASKED, Case, case

EMPTY: Final = {"stop_after_empty_page": True}
BODY: Final = replace(ASKED, where="body", method="POST", body={"filter": {"a": 1}, "page": {}})
IN_BODY: Final = {"method": "POST", "body": {"filter": {"a": 1}}}
BY_PAGE: Final = ByNumber(carrier=ASKED)
BY_ROW: Final = ByOffset(carrier=ASKED, size_param="limit", asks=20)
SIZED: Final = ByNumber(carrier=ASKED, size_param="per_page", asks=1000, cap=Cap(most=20))


FORMAT: Final = {name: {"data_selector": None, "response": {"response_format": name}} for name in ("jsonl", "csv")}
RECORDS: Final = tuple(b'{"id":"%d","name":"a,\\"%d\\"\\r\\n"}' % (number, number) for number in range(230))


def ends(**condition: object) -> dict[str, object]:
    """Return the rule for an answer that is the end."""
    return {"response_actions": [{"action": "END", **condition}]}


def odd(start: int) -> int:
    """Return how many rows the page at a row has: 10 to 28, whatever was asked for."""
    return 10 + start * 7 % 19


PAGES: Final[Mapping[str, Case]] = {
    "page from 1": case(BY_PAGE, PageNumber(total_path="meta.total"), Total()),
    "page from 0": case(
        ByNumber(carrier=ASKED, base=0, param="p"),
        PageNumber(total_path="n", base_page=0, page_param="p"),
        Total(path=("n",)),
    ),
    "page, its size clamped": case(
        SIZED, PageNumber(total_path="meta.total", page_size=1000, page_size_param="per_page"), Total()
    ),
    "page, a total of pages": case(
        BY_PAGE, PageNumber(total_path="meta.total", total_kind="pages"), Total(count=telling.pages)
    ),
    "page in a header": case(
        ByNumber(carrier=replace(ASKED, where="header"), param="X-Page"),
        PageNumber(total_path="meta.total", page_param="X-Page", inject_into="header"),
        Total(),
    ),
    "page in the body": case(
        ByNumber(carrier=BODY, param="page.number", size_param="page.size", asks=20),
        PageNumber(
            total_path="meta.total",
            page_param="page.number",
            page_size=20,
            page_size_param="page.size",
            inject_into="body",
        ),
        Total(),
        **IN_BODY,
    ),
    "a total as text": case(BY_PAGE, PageNumber(total_path="meta.total"), Total(count=lambda span: str(span.total))),
    "a total in a header": case(
        BY_PAGE,
        PageNumber(total_header="X-Total-Count"),
        Total(header="X-Total-Count"),
        shape=Bare(),
        data_selector=None,
    ),
    "a total of pages in a header": case(
        BY_PAGE,
        PageNumber(total_header="X-Pages", total_kind="pages"),
        Total(header="x-PAGES", count=telling.pages),
        shape=Bare(),
        data_selector=None,
    ),
    "a total on page 1 alone": case(BY_PAGE, PageNumber(total_path="meta.total"), Total(when=telling.on_page_1)),
    "a total of -1 as a hint": case(
        BY_PAGE, PageNumber(total_path="meta.total", total_is="hint", **EMPTY), Total(count=telling.unknown), pages=13
    ),
    "a capped total as a hint": case(
        BY_PAGE, PageNumber(total_path="meta.total", total_is="hint", **EMPTY), Total(count=telling.capped), pages=13
    ),
    "the page's own count as a hint": case(
        BY_PAGE,
        PageNumber(total_path="meta.total", total_is="hint", has_more_path="has_more"),
        Total(count=telling.own),
        More(),
    ),
    "a flag": case(BY_PAGE, PageNumber(has_more_path="has_more"), More()),
    "a flag that means last": case(
        BY_PAGE, PageNumber(has_more_path="last", has_more_value=False), More(path=("last",), yes=False, no=True)
    ),
    "a flag as text": case(
        BY_PAGE, PageNumber(has_more_path="meta.more"), More(path=("meta", "more"), yes="true", no="False")
    ),
    "a flag as number": case(BY_PAGE, PageNumber(has_more_path="more"), More(path=("more",), yes=1, no=0)),
    "no total, then an empty page": case(BY_PAGE, PageNumber(**EMPTY), pages=13),
    "no total, then 404": case(
        replace(BY_PAGE, past_end="not_found"), PageNumber(**EMPTY), response=ends(status=404), pages=13
    ),
    "no total, then an error in the body": case(
        replace(BY_PAGE, past_end="error"), PageNumber(**EMPTY), response=ends(path="error"), pages=13
    ),
    "no total, then no content": case(
        BY_PAGE, PageNumber(**EMPTY), shape=Envelope(nothing="no content"), response=ends(status=204), pages=13
    ),
    "no total, then no list": case(
        BY_PAGE,
        PageNumber(**EMPTY),
        shape=Envelope(nothing="absent"),
        response={"missing_rows": "empty"},
        pages=13,
    ),
    "no total, then null": case(
        BY_PAGE, PageNumber(**EMPTY), shape=Envelope(nothing="null"), response={"null_rows": "empty"}, pages=13
    ),
    "JSON Lines": case(
        BY_PAGE, PageNumber(total_header="X-Total"), Total(header="X-Total"), shape=Lines(), **FORMAT["jsonl"]
    ),
    "CSV": case(
        BY_PAGE,
        PageNumber(total_header="X-Total"),
        Total(header="X-Total"),
        shape=Table(columns=("id", "name")),
        rows=RECORDS,
        **FORMAT["csv"],
    ),
    "no total, then the last page again": case(
        replace(BY_PAGE, past_end="last"), PageNumber(**EMPTY), completeness={"on_repeat": "end"}, pages=13
    ),
}

OFFSETS: Final[Mapping[str, Case]] = {
    "offset": case(BY_ROW, Offset(total_path="meta.total", page_size=20), Total()),
    "offset, its limit clamped": case(
        replace(BY_ROW, asks=1000, cap=Cap(most=20)), Offset(total_path="meta.total", page_size=1000), Total()
    ),
    "offset, its limit clamped, and a flag": case(
        replace(BY_ROW, asks=1000, cap=Cap(most=20)), Offset(has_more_path="has_more", page_size=1000), More()
    ),
    "offset without a limit": case(ByOffset(carrier=ASKED), Offset(total_path="meta.total", limit_param=None), Total()),
    "a start index from 1": case(
        ByOffset(carrier=ASKED, param="startIndex", base=1, size_param="count", asks=20),
        Offset(total_path="totalResults", offset_param="startIndex", limit_param="count", base_offset=1, page_size=20),
        Total(path=("totalResults",)),
    ),
    "offset until an empty page": case(BY_ROW, Offset(page_size=20, **EMPTY), pages=13),
    "offset in the body": case(
        replace(BY_ROW, carrier=replace(BODY, body={"filter": {"a": 1}}), param="from", size_param="size"),
        Offset(
            total_path="hits.total.value", page_size=20, offset_param="from", limit_param="size", inject_into="body"
        ),
        Total(path=("hits", "total", "value")),
        **IN_BODY,
    ),
    "odd pages and a total": case(
        ByOffset(carrier=ASKED, lengths=odd),
        Offset(total_path="meta.total", step="received", limit_param=None),
        Total(),
        pages=13,
    ),
    "odd pages and a flag": case(
        ByOffset(carrier=ASKED, lengths=odd),
        Offset(has_more_path="has_more", step="received", limit_param=None),
        More(),
        pages=13,
    ),
    "odd pages until an empty one": case(
        ByOffset(carrier=ASKED, lengths=odd), Offset(step="received", limit_param=None, **EMPTY), pages=14
    ),
}


def within(**deep: object) -> InRange:
    """Return ranges of ``id``, paged by offsets."""
    return InRange(carrier=ASKED, inner=lambda carrier: ByOffset(carrier=carrier, size_param="limit", asks=20, **deep))


def sliced(**given: object) -> Sliced:
    """Return the strategy for them."""
    inner = Offset(total_path="meta.total", page_size=20)
    return Sliced(pagination=inner, from_param="id_from", to_param="id_to", start=0, end=1000, max_rows=100, **given)


RANGES: Final[Mapping[str, Case]] = {
    "ranges, deep pages refused": case(within(deepest=100), sliced(), Total(), pages=20),
    "ranges, totals capped": case(within(deepest=100), sliced(), Total(count=telling.capped), pages=22),
}
