"""Origins, URLs and queries as pure functions."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import parse_qsl

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated.core.errors import ConfigurationError, OriginError
from airflow_paginated.transport.origin import Origin, check_origin, encode_query, join, origin_of, shown_url


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://api.test", Origin("http", "api.test", 80)),
        ("HTTPS://API.Test/v1?x=http://evil#@evil", Origin("https", "api.test", 443)),
        ("http://api.test:80/", Origin("http", "api.test", 80)),
        ("http://[::1]:8080/x", Origin("http", "[::1]", 8080)),
        ("http://b\u00fccher.test/", Origin("http", "xn--bcher-kva.test", 80)),
        ("http://api.test/x//y@evil", Origin("http", "api.test", 80)),
        ("http://api.test/@evil", Origin("http", "api.test", 80)),
        ("http://api.test?@evil", Origin("http", "api.test", 80)),
        ("http://api.test#@evil", Origin("http", "api.test", 80)),
    ],
)
def test_origin_of(url: str, origin: Origin) -> None:
    assert origin_of(url) == origin


def test_an_origin_is_written_without_its_usual_port() -> None:
    assert str(Origin("https", "api.test", 443)) == "https://api.test"
    assert str(Origin("https", "api.test", 80)) == "https://api.test:80"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.test",
        "/employees",
        "//api.test/",
        "file:///etc/passwd",
        "ftp://api.test/",
        "javascript://api.test/%0aalert(1)",
        "http://",
        "http:///x",
        "http:/api.test",
        "http://user@api.test/",
        "http://user:pass@api.test/",
        "http://:@api.test/",
        "http://@api.test/",
        "http://evil\\@api.test/",
        "http://api.test\\@evil/",
        "http://api.test/\\evil",
        "http:\\\\api.test/",
        "http://api.test:99999/",
        "http://api.test:x/",
        "http://[::1/",
        "http://api test/",
        "http://\u2488api.test\u2100/",
    ],
)
def test_what_is_no_origin(url: str) -> None:
    with pytest.raises(OriginError):
        origin_of(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.test/",
        "http://api.test:8080/",
        "http://api.test./",
        "http://www.api.test/",
        "http://api.test.evil/",
        "http://evil/?http://api.test/",
        "http://evil/#@api.test/",
        "http://evil;@api.test/",
        "http://127.0.0.1/",
        "http://0/",
        "http://169.254.169.254/",
    ],
)
def test_another_origin(url: str) -> None:
    with pytest.raises(OriginError):
        check_origin(url, origin_of("http://api.test"))


def test_another_origin_is_named() -> None:
    with pytest.raises(
        OriginError, match=r"leads to http://evil:81, away from the connection's origin http://api\.test;"
    ):
        check_origin("http://evil:81/x", origin_of("http://api.test"))


def test_another_scheme_of_the_same_host_is_told_with_the_remedy() -> None:
    with pytest.raises(OriginError, match=r"leads to http://api\.test, away from .*set own_host=True"):
        check_origin("http://api.test/rows?page=2", origin_of("https://api.test/"))


@given(st.text(alphabet="htps:/\\@?#[]%.ae1 \t\n", max_size=30))
def test_what_passes_is_where_requests_goes(rest: str) -> None:
    url = "http:" + rest
    try:
        origin = origin_of(url)
    except OriginError:
        return
    try:
        prepared = str(requests.Request("GET", url).prepare().url)
    except requests.RequestException:
        return
    with suppress(OriginError):  # what requests made of it is checked too, and refused
        assert origin_of(prepared) == origin


@pytest.mark.parametrize(
    ("base", "path", "url"),
    [
        ("http://a", "", "http://a"),
        ("http://a/", "x", "http://a/x"),
        ("http://a/v1", "/x", "http://a/v1/x"),
        ("http://a/v1/", "//evil/x", "http://a/v1/evil/x"),
        ("http://a/v1", "?q=http://b", "http://a/v1?q=http://b"),
        ("http://a/v1", "x?next=http://b", "http://a/v1/x?next=http://b"),
        ("http://a/v1", "http://a/x", "http://a/x"),
        ("http://a/v1", "ftp://b", "ftp://b"),
    ],
)
def test_join(base: str, path: str, url: str) -> None:
    assert join(base, path) == url


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({}, ""),
        ({"a": 1, "b": "x y", "c": 1.5}, "a=1&b=x+y&c=1.5"),
        ({"a": True, "b": False, "c": None}, "a=true&b=false"),
        ({"a": [1, "2", None, True], "b": []}, "a=1&a=2&a=true"),
        ({"a": ("x",)}, "a=x"),
        ({"filter[name]": "a&b=c#d/\u00e9"}, "filter%5Bname%5D=a%26b%3Dc%23d%2F%C3%A9"),
        ({"n": 12345678901234567890123}, "n=12345678901234567890123"),
        ({"a": ""}, "a="),
    ],
)
def test_encode_query(query: dict[str, object], text: str) -> None:
    assert encode_query(query) == text


@pytest.mark.parametrize("value", [{"a": 1}, [[1]], b"x", object()])
def test_a_value_that_a_query_cannot_say(value: object) -> None:
    with pytest.raises(ConfigurationError, match="query: 'a' must be a string, a number, a boolean or a list of them"):
        encode_query({"a": value})


@given(st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.lists(st.text(), min_size=1), max_size=5))
def test_a_query_arrives(query: dict[str, str | int | list[str]]) -> None:
    sent = [
        (name, str(each)) for name, value in query.items() for each in (value if isinstance(value, list) else [value])
    ]
    assert parse_qsl(encode_query(query), keep_blank_values=True) == sent
    url = requests.Request("GET", "http://api.test", params=query).prepare().path_url
    assert url == f"/?{encode_query(query)}" or not query


@pytest.mark.parametrize(
    ("url", "query", "shown", "text"),
    [
        ("http://a/x", {}, (), "http://a/x"),
        ("http://a/x", {"page": 2, "key": "s"}, ("page",), "http://a/x?page=2&key=***"),
        ("http://a/x?page=3&key=s", {"page": 2}, ("page",), "http://a/x?page=3&key=***&page=2"),
        ("http://a/x?", {}, (), "http://a/x"),
        ("http://u:p@a/x", {}, (), "http://a/x"),
        ("http://u:p@a:80", {}, (), "http://a:80"),
        ("http://a/x@y#token=s", {}, (), "http://a/x@y"),
        ("http://a/x\ny\x1b[0m", {"a\nb": 1}, (), "http://a/x_y_[0m?a%0Ab=***"),
        ("http://a/x", {"page": "1&key=2 \n"}, ("page",), "http://a/x?page=1%26key%3D2%20%0A"),
        ("x", {}, (), "x"),
    ],
)
def test_shown_url(url: str, query: dict[str, object], shown: tuple[str, ...], text: str) -> None:
    assert shown_url(url, query, shown) == text
