"""The shapes in which real APIs put their rows, and where they hide what pages need."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from airflow_paginated import Cursor, HeaderCursor, JsonLink, Keyset, Offset, PageNumber, SinglePage
from airflow_paginated.core.errors import RequestRefused, ResponseError
from tests.servers import Reply, Request
from tests.servers.styles import (
    Bare,
    ByLink,
    ByNumber,
    ByOffset,
    ByToken,
    Carrier,
    Envelope,
    Lines,
    More,
    StyledApi,
    Table,
    Told,
    Total,
    employees,
)
from tests.strategies.collecting import Collect
from tests.strategies.scripted import Scripted, always

ROWS = employees(50)
NEXT = Cursor(cursor_path="next_cursor")
UNTIL_EMPTY = PageNumber(stop_after_empty_page=True)


def table(asked: object, *tells: object, shape: object = None, rows: Any = ROWS, **given: Any) -> StyledApi:
    return StyledApi(rows=rows, asked=asked, tells=tells, shape=shape or Envelope(), **given)


def test_a_bare_array(collect: Collect) -> None:
    api = table(ByNumber(), shape=Bare())
    assert collect(api, UNTIL_EMPTY).lines == api.reference()


@pytest.mark.parametrize(
    "rows",
    [
        [b'"a"', b'"b\\n"', b'""', b'"}],[{"', b'"\xc3\xa9"'],
        [b"1", b"1.10", b"-0.0", b"1E+2", b"12345678901234567890123"],
        [b"null", b"true", b"[]", b"[1, [2]]", b"{}"],
    ],
)
@pytest.mark.parametrize("shape", [Bare(), Envelope(), Envelope(at=("a", "b"), node="n")])
def test_rows_that_are_plain_values_stay_as_they_are(collect: Collect, rows: list[bytes], shape: Any) -> None:
    api = table(ByNumber(size=2), shape=shape, rows=rows)
    selector = {Bare: None, Envelope: "data" if shape == Envelope() else "a.b[*].n"}[type(shape)]
    assert collect(api, UNTIL_EMPTY, data_selector=selector).lines == api.reference()


def test_plain_values_have_no_key_to_go_on_from(collect: Collect) -> None:
    error = collect.error(always([1, 2]), Keyset(key_path="id", key_param="after"))
    assert isinstance(error, ResponseError)
    assert "key_path 'id' matches nothing in a row; the row is a number" in str(error)


def test_nodes_of_edges(collect: Collect) -> None:
    body = {"query": "query { users { edges { node } } }", "variables": {"first": 20}}
    info = ("data", "users", "pageInfo")
    asked = ByToken(
        carrier=Carrier(where="body", method="POST", body=body),
        params=("variables.after",),
        paths=((*info, "endCursor"),),
        end="token",
    )
    shape = Envelope(at=("data", "users", "edges"), node="node", beside={("extensions", "cost"): 7})
    api = table(asked, More(path=(*info, "hasNextPage")), shape=shape)
    found = collect(api, Cursor.relay("data.users"), method="POST", body=body, data_selector="data.users.edges[*].node")
    assert found.lines == api.reference()
    assert json.loads(found.seen[1].request.body) == {**body, "variables": {"first": 20, "after": "t00007919"}}


def test_names_with_dots_and_at_signs(collect: Collect) -> None:
    asked = ByLink(path=("@odata.nextLink",), end=Told)
    api = table(asked, Total(path=("@odata.count",)), shape=Envelope(at=("the.rows", "value")))
    strategy = JsonLink(next_url_path='["@odata.nextLink"]', total_path='["@odata.count"]')
    assert collect(api, strategy, data_selector='["the.rows"].value').lines == api.reference()


def test_lists_in_lists_are_one_list(collect: Collect) -> None:
    groups = [{"name": "a", "items": [1, 2]}, {"name": "b", "items": []}, {"name": "c", "items": [3]}]
    found = collect(always({"groups": groups}), SinglePage(), data_selector="groups[*].items[*]")
    assert found.rows == [1, 2, 3]


@pytest.mark.parametrize(
    ("nothing", "rule", "told"),
    [
        ("absent", {"missing_rows": "empty"}, "the response has nothing at 'data'"),
        ("null", {"null_rows": "empty"}, "it leads to null"),
    ],
)
@pytest.mark.parametrize("workers", [1, 16])
def test_the_list_is_missing_or_null_where_there_is_nothing(
    collect: Collect, nothing: Any, rule: dict[str, Any], told: str, workers: int
) -> None:
    api = table(ByNumber(), shape=Envelope(nothing=nothing))
    asked: dict[str, Any] = {"data_selector": "data", "max_workers": workers}
    assert collect(api, UNTIL_EMPTY, response=rule, **asked).lines == api.reference()
    assert collect(replace(api, rows=()), UNTIL_EMPTY, response=rule, **asked).lines == b""
    error = collect.error(api, UNTIL_EMPTY, **asked)
    assert isinstance(error, ResponseError)
    assert told in str(error)
    other = {"missing_rows": "empty"} if nothing == "null" else {"null_rows": "empty"}
    assert told in str(collect.error(api, UNTIL_EMPTY, response=other, **asked))


@pytest.mark.parametrize("action", ["SUCCESS", "END"])
@pytest.mark.parametrize("workers", [1, 16])
def test_204_without_a_body_is_a_page_only_where_that_is_declared(collect: Collect, action: str, workers: int) -> None:
    api = table(ByNumber(), shape=Envelope(nothing="no content"))
    asked: dict[str, Any] = {"data_selector": "data", "max_workers": workers}
    error = collect.error(api, UNTIL_EMPTY, **asked)
    assert isinstance(error, RequestRefused)
    assert error.status == 204
    rule = {"response_actions": [{"action": action, "status": 204}]}
    assert collect(api, UNTIL_EMPTY, response=rule, **asked).lines == api.reference()
    assert collect(replace(api, rows=()), UNTIL_EMPTY, response=rule, **asked).lines == b""


@pytest.mark.parametrize(
    "content_type",
    [
        "application/vnd.api+json",
        'application/vnd.own.v2+json; profile="x"; charset="utf-8"',
        "application/hal+json;charset=UTF-8",
        "application/problem+json",
        "text/json",
        "text/plain",
        "text/javascript; charset=utf8",
        "application/octet-stream",
        "",
    ],
)
def test_json_under_any_content_type(collect: Collect, content_type: str) -> None:
    api = table(ByToken(), shape=Envelope(content_type=content_type))
    assert collect(api, NEXT, data_selector="data").lines == api.reference()


def test_a_start_index_that_is_counted_from_1(collect: Collect) -> None:
    asked = ByOffset(param="startIndex", base=1, size_param="count", asks=20)
    api = table(asked, Total(path=("totalResults",)), shape=Envelope(at=("Resources",)))
    strategy = Offset(
        offset_param="startIndex", base_offset=1, limit_param="count", page_size=20, total_path="totalResults"
    )
    found = collect(api, strategy, data_selector="Resources", max_workers=1)
    assert found.lines == api.reference()
    assert found.targets == [f"/items?startIndex={start}&count=20" for start in (1, 21, 41)]


@dataclass(frozen=True)
class Shy:
    """Tells nothing but rows, unless it is asked in its own words."""

    api: StyledApi
    accept: str

    def __call__(self, request: Request) -> Reply:
        reply = self.api(request)
        if request.headers.get("accept") == self.accept:
            return reply
        return Reply(json.dumps({"data": json.loads(reply.body)["data"]}).encode(), 200, reply.headers)


def test_paging_details_that_only_a_special_accept_header_brings(collect: Collect) -> None:
    api = table(ByNumber(), Total())
    shy = Shy(api, "application/vnd.own.paged+json")
    strategy = PageNumber(total_path="meta.total")
    error = collect.error(shy, strategy, data_selector="data")
    assert "total_path 'meta.total'" in str(error)
    found = collect(shy, strategy, data_selector="data", headers={"ACCEPT": "application/vnd.own.paged+json"})
    assert found.lines == api.reference()


@pytest.mark.parametrize("workers", [1, 16])
def test_a_search_by_post_has_everything_in_its_body(collect: Collect, workers: int) -> None:
    body = {"query": {"match": {"active": True}}, "sort": ["id"], "page": {"size": 20}}
    asked = ByOffset(
        carrier=Carrier(where="body", method="POST", body=body), param="page.from", size_param="page.limit", asks=20
    )
    api = table(asked, Total(path=("hits", "total", "value")), shape=Envelope(at=("hits", "hits"), node="_source"))
    strategy = Offset(
        offset_param="page.from",
        limit_param="page.limit",
        page_size=20,
        total_path="hits.total.value",
        inject_into="body",
    )
    found = collect(api, strategy, method="POST", body=body, data_selector="hits.hits[*]._source", max_workers=workers)
    assert found.lines == api.reference()
    assert body["page"] == {"size": 20}


def test_a_search_by_post_goes_on_with_a_token_in_its_body(collect: Collect) -> None:
    body = {"filter": {"and": [1, 2]}}
    asked = ByToken(carrier=Carrier(where="body", method="POST", body=body), params=("nextToken",))
    api = table(asked)
    strategy = replace(NEXT, cursor_param="nextToken", inject_into="body")
    found = collect(api, strategy, method="post", body=body, data_selector="data")
    assert found.lines == api.reference()


COLUMNS = ("id", "name", "note")
RECORDS = [
    json.dumps({"id": str(number), "name": f'O"Neil, {number}', "note": "" if number % 3 else "a\r\nb; é"}).encode()
    for number in range(50)
]


@pytest.mark.parametrize(
    ("shape", "rule"),
    [
        (Table(columns=COLUMNS), {}),
        (Table(columns=COLUMNS, delimiter=";", quotechar="'"), {"csv_delimiter": ";", "csv_quotechar": "'"}),
        (Table(columns=COLUMNS, header=False), {"csv_columns": list(COLUMNS)}),
        (Table(columns=COLUMNS, delimiter="\t"), {"csv_delimiter": "\t"}),
    ],
)
def test_csv_in_pages(collect: Collect, shape: Table, rule: Mapping[str, Any]) -> None:
    response = {"response_format": "csv", **rule}
    api = table(ByNumber(), Total(header="X-Total"), shape=shape, rows=RECORDS)
    found = collect(api, PageNumber(total_header="X-Total"), response=response)
    assert found.rows == [json.loads(row) for row in RECORDS]
    assert found.seen[0].request.headers["accept"] == "text/csv"
    linked = table(ByToken(headers=("X-Next",), end="absent"), shape=shape, rows=RECORDS)
    assert collect(linked, HeaderCursor(cursor_header="X-Next"), response=response).rows == found.rows


def only_once(request: Request) -> Reply:
    """Answer with CSV that has a header line on the first page alone."""
    number = int(request.query.get("cursor", "1"))
    lines = [f"{number}{row},x{number}{row}" for row in range(3)]
    text = "\r\n".join([*(["id,name"] if number == 1 else []), *lines, ""])
    following = (("X-Next", str(number + 1)),) if number < 3 else ()
    return Reply(text.encode(), 200, (("Content-Type", "text/csv"), *following))


def test_a_header_line_on_the_first_page_alone_is_no_reason_to_take_rows_for_names(collect: Collect) -> None:
    strategy = HeaderCursor(cursor_header="X-Next")
    error = collect.error(only_once, strategy, response={"response_format": "csv"})
    assert isinstance(error, ResponseError)
    assert "page 2 " in str(error)
    assert "name the columns in csv_columns" in str(error)
    named = {"response_format": "csv", "csv_columns": ["id", "name"]}
    rows = [{"id": f"{page}{row}", "name": f"x{page}{row}"} for page in (1, 2, 3) for row in range(3)]
    assert collect(only_once, strategy, response=named).rows == rows


def test_partitions_may_have_columns_of_their_own(collect: Collect) -> None:
    def api(request: Request) -> Reply:
        return Reply(f"id,{request.query['shop']}\r\n1,2\r\n".encode(), 200, (("Content-Type", "text/csv"),))

    shops = [{"shop": shop} for shop in "abc"]
    found = collect(api, SinglePage(), partitions=shops, response={"response_format": "csv"})
    assert found.rows == [{"id": "1", shop: "2"} for shop in "abc"]


def test_json_lines_in_pages(collect: Collect) -> None:
    response = {"response_format": "jsonl"}
    api = table(ByNumber(), Total(header="X-Total"), shape=Lines())
    assert collect(api, PageNumber(total_header="X-Total"), response=response).lines == api.reference()
    linked = table(ByToken(headers=("X-Next",), end="absent"), shape=Lines())
    assert collect(linked, HeaderCursor(cursor_header="X-Next"), response=response).lines == api.reference()


def test_an_empty_page_of_json_lines_ends_a_run_only_where_that_is_declared(collect: Collect) -> None:
    api = table(ByNumber(), shape=Lines())
    error = collect.error(api, UNTIL_EMPTY, response={"response_format": "jsonl"})
    assert "the body is empty" in str(error)
    ends = [{"action": "SUCCESS", "header": "Content-Length", "header_matches": "^0$"}]
    response = {"response_format": "jsonl", "response_actions": ends}
    assert collect(api, UNTIL_EMPTY, response=response).lines == api.reference()


def test_the_answer_of_an_empty_table_is_a_table(collect: Collect) -> None:
    empty = Scripted("page", {"1": {"data": [], "n": 0}})
    assert collect(empty, PageNumber(total_path="n"), data_selector="data").rows == []
    header = Reply(b"id,name\r\n", 200, (("Content-Type", "text/csv"),))
    assert collect(always(header), SinglePage(), response={"response_format": "csv"}).rows == []
