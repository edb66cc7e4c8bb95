"""Links as an API writes them: their query arrives to the letter, and only what HTTP cannot carry is encoded, once."""

from __future__ import annotations

import string
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated.core.errors import ConfigurationError, OriginError
from airflow_paginated.core.values import PageRequest
from airflow_paginated.transport.origin import cut, with_query
from tests.servers import FaultServer, Redirect
from tests.transport.clients import Calls, connect, fetch, page, refused

KEPT = [
    "page=2&t=a%2Bb",
    "page=2&t=a%252Bb",
    "page=2&t=a+b",
    "page=2&t=a,b;c:d@e",
    "page=2&$skip=100&$filter=x%20eq%20'y'",
    "page=2&t=YQ==",
    "page=2&t=/v1/x?y",
    "page=2&t=%E2%82%AC%41%7E",
    "page=2&filter%5Bname%5D=(x)*!~",
    "page=2&&t&=",
]
ENCODED = [
    ("page=2&t=a b", "page=2&t=a%20b"),
    ("page=2&t=\u00e9", "page=2&t=%C3%A9"),
    ("page=2&filter[name]=x", "page=2&filter%5Bname%5D=x"),
    ("page=2&t=%e2%82%ac", "page=2&t=%E2%82%AC"),
    ("page=2&t=100%", "page=2&t=100%25"),
    ("page=2&t=100%&u=a%2Bb", "page=2&t=100%25&u=a%2Bb"),
    ('page=2&t="{a|b}"<c>^`', "page=2&t=%22%7Ba%7Cb%7D%22%3Cc%3E%5E%60"),
    ("page=2&t=a\r\nX-Evil: 1", "page=2&t=a%0D%0AX-Evil:%201"),
]
SENT = [*((query, query) for query in KEPT), *ENCODED]


def targets(server: FaultServer) -> list[str]:
    return [seen.request.target for seen in server.log.requests]


@pytest.mark.parametrize(("query", "sent"), SENT)
def test_a_query_in_a_path_is_sent_as_it_is(server: FaultServer, query: str, sent: str) -> None:
    fetch(f"{server.url}/v1", PageRequest(f"/employees?{query}", query={"per_page": 7, "u": "a+b c"}))
    fetch(f"{server.url}/v1", PageRequest(f"{server.url}/employees?{query}#top"))
    assert targets(server) == [f"/v1/employees?{sent}&per_page=7&u=a%2Bb+c", f"/employees?{sent}"]


@pytest.mark.parametrize(("query", "sent"), [pair for pair in SENT if "\n" not in pair[0]])
def test_a_redirect_is_followed_to_the_letter(server: FaultServer, query: str, sent: str) -> None:
    written = query.encode().decode("latin-1")  # a header is bytes: these are UTF-8
    server.faults = lambda request, nth: Redirect(f"/v2/employees?{written}") if request.path == "/employees" else None
    got = fetch(server.url)
    assert targets(server)[1:] == [f"/v2/employees?{sent}"]
    assert got.url == f"{server.url}/v2/employees"


def test_a_redirect_in_latin_1_is_followed(server: FaultServer) -> None:
    server.faults = lambda request, nth: Redirect("/v2/employees?t=\u00e9") if request.path == "/employees" else None
    fetch(server.url)
    assert targets(server)[1] == "/v2/employees?t=%C3%A9"


@pytest.mark.parametrize(("to", "sent"), [("?t=1", "/employees?t=1"), ("other/employees", "/other/employees")])
def test_a_relative_redirect_starts_from_the_response(server: FaultServer, to: str, sent: str) -> None:
    server.faults = lambda request, nth: Redirect(to) if nth == 1 and "page" in request.query else None
    fetch(server.url, PageRequest("employees?page=2"))
    assert targets(server) == ["/employees?page=2", sent]


def test_links_that_differ_in_their_query_share_what_is_costly(server: FaultServer) -> None:
    prepared = []

    def auth(request: object) -> object:
        prepared.append(request)
        return request

    with connect(server.url, auth=auth) as client:
        for number in range(1, 4):
            client.fetch(PageRequest(f"employees?page={number}", index=number))
    assert len(prepared) == 1


@pytest.mark.parametrize(
    ("base", "path", "url"),
    [
        ("", "employees?page=2&key=s", "/employees"),
        ("/v1/", "employees#x?y", "/v1/employees"),
        ("/employees", "?page=2", "/employees"),
        ("/employees?key=s", "", "/employees"),
        ("", "/a%20b/employees", "/a%20b/employees"),
    ],
)
def test_a_page_knows_where_it_came_from(server: FaultServer, base: str, path: str, url: str) -> None:
    assert fetch(server.url + base, PageRequest(path, query={"per_page": 7})).url == server.url + url


@pytest.mark.parametrize(
    "path",
    [
        "http://user:pass@127.0.0.1:{port}/employees?page=2",
        "http://127.0.0.1:{port}\\employees?page=2",
        "http://127.0.0.1:{port}/employees?page=2&t=\\",
        "http://evil.test\\?@127.0.0.1:{port}/employees",
        "http://evil.test?@127.0.0.1:{port}/employees",
        "http://evil.test#@127.0.0.1:{port}/employees",
    ],
)
def test_a_link_that_could_lead_elsewhere_is_refused(server: FaultServer, path: str) -> None:
    error = refused(server.url, page(1, path.format(port=server.port)))
    assert isinstance(error, OriginError)
    assert "pass" not in str(error)
    assert not server.log.requests


def test_a_query_that_is_no_text_is_refused(server: FaultServer) -> None:
    error = Calls(lambda request: fetch(server.url, request), [page(1, "employees?t=\udc80")]).join()[0]
    assert isinstance(error, ConfigurationError)
    assert not server.log.requests


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_query_means_what_it_meant(query: str) -> None:
    plain, sent = cut(f"/x?{query}")
    assert plain == "/x"
    assert set(sent) <= set(string.ascii_letters + string.digits + "-._~!$&'()*+,/:;=?@%")
    assert unquote_to_bytes(sent) == unquote_to_bytes(query.partition("#")[0])
    assert cut(f"/x?{sent}") == ("/x", sent)
    assert urlsplit(f"http://a/x?{sent}").query == sent


def test_queries_are_appended() -> None:
    assert with_query("/x", "", "a=1", "b=2") == "/x?a=1&b=2"
    assert with_query("/x?k", "a=1") == "/x?k&a=1"
    assert with_query("/x", "") == "/x"
