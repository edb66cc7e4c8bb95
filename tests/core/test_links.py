"""Link headers, resolving links, and links that form a series."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated import Page, PageRequest
from airflow_paginated.core.errors import ResponseError
from airflow_paginated.core.links import Link, find_series, parse_link_header, query_number, resolve_link

NEXT, LAST = Link("/2", frozenset({"next"})), Link("/9", frozenset({"last"}))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ("  ,, \t", []),
        ('</2>; rel="next"', [NEXT]),
        ("</2>; rel=next", [NEXT]),
        ("</2>;rel=next", [NEXT]),
        ("</2> \t ; \t rel \t = \t next \t ", [NEXT]),
        ('</2>; REL="NEXT"', [NEXT]),
        ("< /2 >; rel=next", [NEXT]),
        ('</2>; rel="last next"', [Link("/2", frozenset({"last", "next"}))]),
        ('</2>; rel=" next \t last "', [Link("/2", frozenset({"last", "next"}))]),
        ('</2>; rel="next", </9>; rel="last"', [NEXT, LAST]),
        ('</2>; rel="next",</9>; rel="last"', [NEXT, LAST]),
        ("</2>; rel=next, , ,\t</9>; rel=last,", [NEXT, LAST]),
        ('</2>; rel="next"; title="a, b; c <d>"; x=y, </9>; rel=last', [NEXT, LAST]),
        (r'</2>; title="say \"next\", \\"; rel="next", </9>; rel="last"', [NEXT, LAST]),
        (r'</2>; rel="ne\xt"', [NEXT]),
        ("</2>; title*=UTF-8'en'%e2%82%ac; rel=next", [NEXT]),
        ('</2>; rel=next; rel="last"', [NEXT]),
        ('</2>; rel=""; rel=next', [Link("/2", frozenset())]),
        ("</2>", [Link("/2", frozenset())]),
        ("</2>; ; ;; rel=next;", [NEXT]),
        ("</2>; crossorigin; rel=next", [NEXT]),
        ("</2>; crossorigin; rel=next; x=", [NEXT]),
        ('</a?x=1,2;y="3">; rel=next', [Link('/a?x=1,2;y="3"', frozenset({"next"}))]),
        ("<>; rel=next", [Link("", frozenset({"next"}))]),
        ('</2>; rel="https://example.com/rels/Next"', [Link("/2", frozenset({"https://example.com/rels/next"}))]),
        ('</2>; rel=next; anchor="#other"', []),
        ('</2>; rel=next; anchor=""', [NEXT]),
        ('</css>; rel=preload; as=style, </2>; rel="next"', [Link("/css", frozenset({"preload"})), NEXT]),
    ],
)
def test_links_are_read_as_rfc_8288_writes_them(header: str, expected: list[Link]) -> None:
    assert parse_link_header(header) == (tuple(expected), "")


@pytest.mark.parametrize(
    ("header", "expected", "rest"),
    [
        ("nonsense", [], "nonsense"),
        ('nonsense, </2>; rel="next"', [NEXT], "nonsense"),
        ('</9>; rel="last" and so on, </2>; rel="next"', [LAST, NEXT], "and so on"),
        ('</9>; rel="last" "a, b", </2>; rel="next"', [LAST, NEXT], '"a, b"'),
        ("/2; rel=next, </9>; rel=last", [LAST], "/2; rel=next"),
        ("</2; rel=next", [], "</2; rel=next"),
        ('</9>; rel="last", </2; rel="next"', [LAST], '</2; rel="next"'),
        ('</2>; rel="next', [Link("/2", frozenset())], '"next'),
        ("</9>; rel=last, a, b, </2>; rel=next, c", [LAST, NEXT], "a, b c"),
    ],
)
def test_what_is_no_link_is_told_apart_and_hides_none(header: str, expected: list[Link], rest: str) -> None:
    assert parse_link_header(header) == (tuple(expected), rest)


def test_the_first_link_with_a_relation_counts_in_any_case() -> None:
    links = parse_link_header('</1>; rel=prev, </2>; rel="next", </3>; rel="next last"')
    assert [links.target(relation) for relation in ("next", "NEXT", "last", "self")] == ["/2", "/2", "/3", None]


@pytest.mark.parametrize(
    "piece",
    [
        "<",
        ">",
        ",",
        ",<",
        ", <a",
        ", ",
        " ",
        "\t",
        ";",
        "; ",
        '"',
        '\\"',
        "\\",
        "<a>",
        "<a>;",
        "<a>,",
        "<a> ",
        "<a>; ",
        '<a>;b="',
        '<a>;b="\\"',
        '<a>;b=\\",',
        ';a="',
        ';a="\\',
        "<a>;b",
        "<a>;b =",
        "<a>;b= ",
        "<a>x,",
        "<a>x, ",
        "x",
        "x,",
        "=",
        "<a>; rel=next,",
        "</a?b=1&b=2>; rel=next; ",
    ],
)
@pytest.mark.parametrize(("begin", "end"), [("", ""), ("<a>", ">"), ('<a>; rel="', ""), ("x,", '"')])
def test_malice_is_read_in_linear_time(begin: str, piece: str, end: str) -> None:
    """Quadratic time would take many seconds at 64 kB; thread time is measured, not wall time."""
    header = begin + piece * (65_536 // len(piece)) + end
    started = time.thread_time()
    parse_link_header.__wrapped__(header)
    assert time.thread_time() - started < 1


@given(st.text(' \t,;="\\<>arelnext', max_size=40))
def test_no_header_is_too_odd(header: str) -> None:
    for link in parse_link_header(header).links:
        assert link.target == link.target.strip()
        assert link.target in header


tokens = st.text("abc-*", min_size=1, max_size=5)

quoted = st.text('ab ,;=<>"\\', max_size=8)

extras = st.lists(st.tuples(tokens.filter(lambda name: name.lower() not in ("rel", "anchor")), quoted), max_size=3)


@given(
    written=st.lists(
        st.tuples(
            st.text("/?&=;,ab", min_size=1), st.lists(st.sampled_from(["next", "last", "x"]), max_size=3), extras
        ),
        max_size=4,
    ),
    data=st.data(),
)
def test_what_is_written_as_rfc_8288_says_is_read(
    written: list[tuple[str, list[str], Any]], data: st.DataObject
) -> None:
    parts = []
    for target, relations, others in written:
        parameters = [("rel", " ".join(relations)), *others]
        shuffled = data.draw(st.permutations(parameters))
        texts = [name + '="' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for name, value in shuffled]
        parts.append(f"<{target}>; " + " ; ".join(texts))
    found = parse_link_header(", ".join(parts))
    assert found.links == tuple(Link(target, frozenset(relations)) for target, relations, _ in written)
    assert not found.rest


PAGE = Page.of(PageRequest("/v1/rows"), [], url="https://api.example/v1/rows")


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("https://api.example/v1/rows?page=2", "https://api.example/v1/rows?page=2"),
        ("https://other.example/v1/rows?page=2", "https://other.example/v1/rows?page=2"),
        ("HTTPS://api.example/rows?page=2", "https://api.example/rows?page=2"),
        ("/v2/rows?page=2", "https://api.example/v2/rows?page=2"),
        ("rows?page=2", "https://api.example/v1/rows?page=2"),
        ("./rows?page=2", "https://api.example/v1/rows?page=2"),
        ("../v2/rows", "https://api.example/v2/rows"),
        ("?page=2", "https://api.example/v1/rows?page=2"),
        ("?t=a%2Bb/%3D", "https://api.example/v1/rows?t=a%2Bb/%3D"),
        ("//other.example/rows?page=2", "https://other.example/rows?page=2"),
        ("/rows?page=2#top", "https://api.example/rows?page=2"),
        ("#top", "https://api.example/v1/rows"),
        ("  /rows?page=2 ", "https://api.example/rows?page=2"),
        ("/rows?name=a b", "https://api.example/rows?name=a b"),
        ("/rows?next=https://x.example/?a=b", "https://api.example/rows?next=https://x.example/?a=b"),
    ],
)
def test_a_link_leads_where_a_browser_would_go(link: str, expected: str) -> None:
    assert resolve_link(PAGE, link) == expected


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("https://api.example/v1/rows?page=2", "https://api.example/v1/rows?page=2"),
        ("/v2/rows?page=2", "/v2/rows?page=2"),
        ("rows?page=2", "/v1/rows?page=2"),
        ("?page=2", "/v1/rows?page=2"),
    ],
)
def test_so_it_does_where_only_the_path_is_known(link: str, expected: str) -> None:
    assert resolve_link(replace(PAGE, url=""), link) == expected


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("http://internal:8080/v1/rows?page=2", "https://api.example/v1/rows?page=2"),
        ("//internal/v1/rows?page=2", "https://api.example/v1/rows?page=2"),
        ("https://user:word@internal/v1/rows", "https://api.example/v1/rows"),
        ("http://internal?page=2", "https://api.example?page=2"),
        ("http://internal//v1//rows?page=2", "https://api.example//v1//rows?page=2"),
        ("http://internal//evil.example/rows", "https://api.example//evil.example/rows"),
        ("/v1/rows?page=2", "https://api.example/v1/rows?page=2"),
        ("?page=2", "https://api.example/v1/rows?page=2"),
    ],
)
def test_on_its_own_host_only_path_and_query_of_a_link_count(link: str, expected: str) -> None:
    assert resolve_link(PAGE, link, own_host=True) == expected


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("https://api.example/rows?page=2&key=s3cret", "https://api.example/rows?page=2"),
        ("rows?key=s3cret&page=2&key=other", "https://api.example/v1/rows?page=2"),
        ("?%6Bey=s3cret", "https://api.example/v1/rows"),
        ("?a+b=s3cret&page=%32", "https://api.example/v1/rows?page=%32"),
        ("?keys=1&monkey=2&q=key=3", "https://api.example/v1/rows?keys=1&monkey=2&q=key=3"),
        ("?page=2#key=4", "https://api.example/v1/rows?page=2"),
    ],
)
def test_what_authentication_puts_on_requests_is_left_out_of_links(link: str, expected: str) -> None:
    assert resolve_link(replace(PAGE, auth_params=frozenset({"key", "a b"})), link) == expected


@pytest.mark.parametrize("own_host", [False, True])
@pytest.mark.parametrize("link", ["http://[::1", "http://[secret]/", "//[x"])
def test_what_is_no_url_is_refused_without_being_shown(link: str, own_host: bool) -> None:
    with pytest.raises(ResponseError, match=r"^the API's link to the next page is not a valid URL$"):
        resolve_link(PAGE, link, own_host)


@pytest.mark.parametrize(
    ("here", "following", "third"),
    [
        ("/x?page=2", "/x?page=3", "/x?page=4"),
        ("/x?page=0", "/x?page=1", "/x?page=2"),
        ("/x?page=9", "/x?page=10", "/x?page=11"),
        ("/x?a=1&page=2", "/x?a=1&page=3", "/x?a=1&page=4"),
        ("/x?page=2&per_page=2", "/x?page=3&per_page=2", "/x?page=4&per_page=2"),
        ("https://h/x?offset=100&limit=100", "https://h/x?offset=200&limit=100", "https://h/x?offset=300&limit=100"),
        ("/x?q=a?page=1&page=1", "/x?q=a?page=1&page=2", "/x?q=a?page=1&page=3"),
        ("/x?page[number]=2", "/x?page[number]=3", "/x?page[number]=4"),
        ("/x?page=1&page=1", "/x?page=1&page=2", "/x?page=1&page=3"),
    ],
)
def test_two_links_that_differ_in_a_growing_number_are_a_series(here: str, following: str, third: str) -> None:
    series = find_series(here, following)
    assert series is not None
    assert [series.link(steps) for steps in (-1, 0, 1)] == [here, following, third]
    assert series.value(1) == query_number(third, series.name)


@pytest.mark.parametrize(
    ("here", "following"),
    [
        ("/x?page=2", "/x?page=2"),
        ("/x?page=3", "/x?page=2"),
        ("/x?page=2", "/y?page=3"),
        ("https://h/x?page=2", "https://g/x?page=3"),
        ("/x", "/x?page=2"),
        ("/x?page=2", "/x"),
        ("/x", "/x"),
        ("/x?page=2", "/x?page=3&more=1"),
        ("/x?page=2&a=1", "/x?a=1&page=3"),
        ("/x?page=2&t=1", "/x?page=3&t=2"),
        ("/x?page=2&t=abc", "/x?page=3&t=abd"),
        ("/x?page=1&page=1", "/x?page=2&page=2"),
        ("/x?page=a", "/x?page=b"),
        ("/x?page=2", "/x?page=b"),
        ("/x?page=2", "/x?side=3"),
        ("/x?page=", "/x?page=3"),
        ("/x?page=-3", "/x?page=-2"),
        ("/x?page=1.5", "/x?page=2.5"),
        ("/x?page=01", "/x?page=02"),
        ("/x?page=٢", "/x?page=٣"),
        ("/x?page=1" + "0" * 18, "/x?page=2" + "0" * 18),
    ],
)
def test_other_links_are_none(here: str, following: str) -> None:
    assert find_series(here, following) is None


@pytest.mark.parametrize(
    ("url", "number"),
    [
        ("/x?page=9", 9),
        ("https://h/x?a=b&page=9#page=3", 9),
        ("?page=9", 9),
        ("/x?page=nine", None),
        ("/x?pages=9", None),
        ("/x", None),
        ("", None),
        ("page=9", None),
        ("/x?page=" + "9" * 5000, None),
    ],
)
def test_a_number_is_found_in_a_query(url: str, number: int | None) -> None:
    assert query_number(url, "page") == number


@pytest.mark.parametrize("piece", ["?", "&", "=", "a", "a=1&", "?a=1", "1", "a?", "=1"])
def test_long_links_are_compared_in_linear_time(piece: str) -> None:
    url = "/x?" + piece * (65_536 // len(piece))
    started = time.thread_time()
    find_series(url + "&page=1", url + "&page=2")
    find_series(url, url + "1")
    query_number(url, "page")
    assert time.thread_time() - started < 1
