"""The styled APIs notice what a right client never sends: else a test against them would prove nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.servers.styles import (
    Bare,
    ByKey,
    ByLink,
    ByNumber,
    ByOffset,
    ByToken,
    Carrier,
    Envelope,
    InRange,
    More,
    StyledApi,
    Table,
    Total,
    employees,
    links,
)
from tests.servers.wire import Request, read_request

ROWS = employees(50)
QUERIED = Carrier(query={"a": "1"}, headers={"X-Own": "1"})
POSTED = Carrier(where="body", method="POST", body={"filter": 1})


def asking(target: str, method: str = "GET", body: object = None, own: str = "1") -> Request:
    sent = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {target} HTTP/1.1\r\nHost: h:1\r\nX-Own: {own}\r\nContent-Length: {len(sent)}\r\n"
    kind = "Content-Type: application/json\r\n" if sent else ""
    request = read_request(bytearray(f"{head}{kind}\r\n".encode("latin-1") + sent))
    assert request is not None
    return request


def token(number: int) -> str:
    return f"a+/={number}"


LINKED = ByLink(carrier=QUERIED)
SECOND = links.signed(1)
BY_NUMBER = ByNumber(carrier=QUERIED, size_param="size", asks=20)
BY_OFFSET = ByOffset(carrier=QUERIED)
BY_TOKEN = ByToken(carrier=QUERIED, token=token)


@pytest.mark.parametrize(
    ("asked", "right", "wrong"),
    [
        (BY_NUMBER, "page=1&size=20&a=1", "page=0&size=20&a=1"),
        (BY_NUMBER, "a=1&page=7&size=20", "a=1&page=2&size=21"),
        (BY_NUMBER, "a=1&page=2&size=20", "a=1&page=2"),
        (BY_NUMBER, "a=1&page=2&size=20", "page=2&size=20"),
        (BY_NUMBER, "a=1&page=2&size=20", "a=2&page=2&size=20"),
        (BY_NUMBER, "a=1&page=2&size=20", "a=1&page=2&page=3&size=20"),
        (BY_NUMBER, "a=1&page=2&size=20", "a=1&page=2&size=20&cursor=x"),
        (BY_OFFSET, "a=1&offset=40", "a=1&offset=30"),
        (replace(BY_OFFSET, lengths=lambda start: 7), "a=1&offset=14", "a=1&offset=15"),
        (BY_TOKEN, "a=1&cursor=a%2B%2F%3D1", "a=1&cursor=a%252B%252F%253D1"),
        (BY_TOKEN, "a=1&cursor=a%2B/=1", "a=1&cursor=a+/=1"),
        (BY_TOKEN, "a=1&cursor=a%2B/=2", "a=1&cursor=a%2B/=3"),
        (BY_TOKEN, "a=1", "a=1&cursor="),
        (replace(BY_TOKEN, first=""), "a=1&cursor=", "a=1"),
        (ByKey(carrier=QUERIED), "a=1&after_id=19", "a=1&after_id=99"),
        (LINKED, SECOND, f"{SECOND}&a=1"),
        (LINKED, SECOND, f"a=1&{SECOND}"),
        (LINKED, SECOND, SECOND.replace("%2B", "%2b")),
        (LINKED, SECOND, SECOND.replace("%2B", "+")),
        (LINKED, SECOND, SECOND.replace("&&", "&")),
        (LINKED, SECOND, SECOND.replace("flag", "flag=")),
        (LINKED, links.signed(2), links.signed(3)),
        (LINKED, "a=1", ""),
    ],
)
def test_a_wrong_query_is_refused(asked: object, right: str, wrong: str) -> None:
    api = StyledApi(rows=ROWS, asked=asked, shape=Envelope())
    assert api.wrong(asking(f"/items?{right}")) is None
    assert api(asking(f"/items?{right}")).status == 200
    assert api.wrong(asking(f"/items?{wrong}"))
    assert api(asking(f"/items?{wrong}")).status == 400
    for other in (asking(f"/items?{right}", "PUT"), asking(f"/items?{right}", own="2"), asking(f"/other?{right}")):
        assert api.wrong(other)


@pytest.mark.parametrize("wrong", [{"filter": 1, "at": "0"}, {"filter": 2, "at": 0}, {"at": 0}, {"filter": 1}, None])
def test_a_wrong_body_is_refused(wrong: object) -> None:
    api = StyledApi(rows=ROWS, asked=ByOffset(carrier=POSTED, param="at"), shape=Envelope())
    assert api.wrong(asking("/items", "POST", {"filter": 1, "at": 20})) is None
    assert api.wrong(asking("/items", "POST", wrong))
    assert api.wrong(asking("/items?x=1", "POST", {"filter": 1, "at": 20}))


def test_a_range_is_a_table_of_its_own() -> None:
    ranged = InRange(inner=lambda carrier: ByOffset(carrier=carrier))
    api = StyledApi(rows=ROWS, asked=ranged, tells=(Total(), More()), shape=Envelope())
    body = json.loads(api(asking("/items?id_from=10&id_to=45&offset=20")).body)
    assert [row["id"] for row in body["data"]] == list(range(30, 45))
    assert (body["meta"], body["has_more"]) == ({"total": 35}, False)
    assert api.wrong(asking("/items?id_from=10&offset=20"))


def test_shapes() -> None:
    said = {"rows": ROWS[:21], "asked": ByNumber(), "path": "/"}
    second, third = asking("/?page=2"), asking("/?page=3")
    assert Bare().reply(ROWS[:2], links.Told()).body == b"[" + b", ".join(ROWS[:2]) + b"]"
    nested = StyledApi(**said, shape=Envelope(at=("a", "b"), node="n"), tells=(Total(path=("a", "x.y")),))
    assert json.loads(nested(second).body) == {"a": {"b": [{"cursor": "c", "n": json.loads(ROWS[20])}], "x.y": 21}}
    nothing = {kind: StyledApi(**said, shape=Envelope(nothing=kind))(third) for kind in ("null", "absent")}
    assert {kind: reply.body for kind, reply in nothing.items()} == {"null": b'{"data": null}', "absent": b"{}"}
    assert StyledApi(**said, shape=Envelope(nothing="no content"))(third).status == 204
    table = StyledApi(**said, shape=Table(columns=("id", "store")))
    assert table(second).body == b"id,store\r\n20,\r\n"
