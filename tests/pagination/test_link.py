"""Links in the body and in a header: where they lead, where they end, and which pages are prefetched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_paginated import HeaderLink, JsonLink, Page, PageRequest, Total
from airflow_paginated.core.errors import ResponseError
from airflow_paginated.core.values import Json
from airflow_paginated.pagination.link import Linked
from airflow_paginated.pagination.protocols import SupportsPrefetch
from tests.pagination.responses import ASKED, answer, followed, stopped

URL = "https://api.example/v1/rows"

NEXT = f"{URL}?page=2"


def linked(strategy: Linked, link: str | None, request: PageRequest | None = None, count: int = 10) -> Page:
    """Return a page with a link where the strategy reads it; ``None`` omits it."""
    request = strategy.first(ASKED) if request is None else request
    headers = {} if link is None else {"link": f'<{link}>; rel="next"'}
    envelope = {} if link is None else {"next": link}
    return answer(request, count, envelope, headers, url=URL)


BOTH = pytest.mark.parametrize("strategy", [JsonLink(), HeaderLink()])


@BOTH
@pytest.mark.parametrize(
    ("link", "path"),
    [
        (NEXT, NEXT),
        ("/v1/rows?page=2", NEXT),
        ("rows?page=2", NEXT),
        ("?page=2", NEXT),
        (" ?page=2#top ", NEXT),
        ("?t=a%2Bb%3D&u=c+d", f"{URL}?t=a%2Bb%3D&u=c+d"),
        ("//other.example/rows", "https://other.example/rows"),
    ],
)
def test_a_link_is_followed_as_it_is(strategy: Linked, link: str, path: str) -> None:
    second = followed(strategy, linked(strategy, link))
    assert second == replace(ASKED, path=path, query={}, index=1)


@BOTH
def test_on_its_own_host_only_path_and_query_of_a_link_count(strategy: Linked) -> None:
    own = replace(strategy, own_host=True)
    assert followed(own, linked(own, "http://10.0.0.7:8080/v1/rows?page=2")).path == NEXT


@BOTH
def test_what_is_no_url_is_refused(strategy: Linked) -> None:
    with pytest.raises(ResponseError, match="the API's link to the next page is not a valid URL"):
        strategy.follow(linked(strategy, "https://[secret"))


@BOTH
def test_the_parameters_of_the_first_request_are_in_the_links_by_themselves(strategy: Linked) -> None:
    sized = replace(strategy, page_size=50, page_size_param="per_page")
    first = sized.first(ASKED)
    assert first == replace(ASKED, index=0, query={"active": True, "per_page": 50})
    assert followed(sized, linked(sized, NEXT, first)).query == {}
    headed = replace(sized, inject_into="header")
    assert followed(headed, linked(headed, NEXT)).headers == {"x": "y", "per_page": "50"}
    posted = replace(sized, inject_into="body", page_size_param="page.size")
    assert followed(posted, linked(posted, NEXT)).body == {"page": {"size": 50}}


@BOTH
def test_method_and_body_go_on(strategy: Linked) -> None:
    first = strategy.first(replace(ASKED, method="POST", body={"q": "x"}))
    second = followed(strategy, linked(strategy, NEXT, first))
    assert (second.method, second.body, second.headers) == ("POST", {"q": "x"}, {"x": "y"})


@BOTH
def test_without_a_link_a_later_page_is_the_last(strategy: Linked) -> None:
    second = followed(strategy, linked(strategy, NEXT))
    assert stopped(strategy, linked(strategy, None, second)) == "no next page"
    assert stopped(strategy, linked(strategy, "", second)) == "no next page"


@BOTH
def test_without_any_sign_on_the_first_page_a_wrong_name_looks_the_same(strategy: Linked) -> None:
    with pytest.raises(ResponseError, match=r"; if the API omits it on the last page, set missing_next='end'$"):
        strategy.follow(linked(strategy, None))
    assert stopped(replace(strategy, missing_next="end"), linked(strategy, None)) == "no next page"
    assert stopped(strategy, linked(strategy, " ")) == "no next page"


@BOTH
def test_a_flag_has_the_last_word(strategy: Linked) -> None:
    told = replace(strategy, has_more_path="more")
    page = linked(told, NEXT)
    assert stopped(told, replace(page, envelope={**page.envelope, "more": False})) == "no more pages"
    assert followed(told, replace(page, envelope={**page.envelope, "more": True})).path == NEXT
    bare = linked(told, None)
    with pytest.raises(ResponseError, match="the API reports more pages, but"):
        told.follow(replace(bare, envelope={"more": True}))
    with pytest.raises(ResponseError, match="has_more_path 'more' must be true or false; the body is"):
        told.follow(page)


@BOTH
def test_an_empty_page_ends_only_where_it_may(strategy: Linked) -> None:
    empty = linked(strategy, NEXT, count=0)
    assert followed(strategy, empty).path == NEXT
    stopping = replace(strategy, stop_after_empty_page=True)
    assert stopped(stopping, empty) == "empty page"
    flagged = replace(stopping, has_more_path="more")
    assert followed(flagged, replace(empty, envelope={**empty.envelope, "more": True})).path == NEXT


@BOTH
def test_an_ignored_page_leads_nowhere(strategy: Linked) -> None:
    with pytest.raises(ResponseError, match="page 1 is ignored, but only its response leads to the next page"):
        strategy.follow(replace(linked(strategy, NEXT), ignored=True))


@BOTH
def test_a_total_has_to_be_there_and_to_come_true(strategy: Linked) -> None:
    counted = replace(strategy, total_header="X-Total")
    page = linked(counted, NEXT)
    with pytest.raises(ResponseError, match="total_header 'X-Total' is missing from the response; its headers are"):
        counted.follow(page)
    told = replace(page, headers={**page.headers, "x-total": "25"})
    assert counted.total(told) == Total(25, "items")
    second = followed(counted, told)
    assert stopped(counted, linked(counted, None, second)) == "no next page"
    assert replace(counted, total_is="hint").total(told) is None
    assert followed(replace(counted, total_is="hint"), page).path == NEXT


class TestInTheBody:
    @pytest.mark.parametrize(
        ("path", "envelope"),
        [
            ("next", {"next": NEXT}),
            ("links.next", {"links": {"next": NEXT}}),
            ('["@odata.nextLink"]', {"@odata.nextLink": NEXT}),
            ("_links.next", {"_links": {"next": {"href": NEXT}}}),
            ("next", {"next": {"url": NEXT, "title": "more"}}),
            ("links", {"links": [{"rel": "self", "href": URL}, {"rel": "next", "href": NEXT}]}),
            ("links", {"links": [{"rel": "NEXT", "href": NEXT}, {"rel": "next", "href": URL}]}),
            ("link", {"link": [{"relation": "self", "url": URL}, {"relation": "next", "url": NEXT}]}),
            ("links", {"links": [None, "x", {"href": URL}, {"rel": [1]}, {"rel": "next", "href": NEXT}]}),
            ("links", {"links": [{"rel": ["self", "next"], "href": NEXT}, {"rel": "next", "href": URL}]}),
        ],
    )
    def test_a_link_may_be_wrapped(self, path: str, envelope: Json) -> None:
        strategy = JsonLink(next_url_path=path)
        assert followed(strategy, answer(strategy.first(ASKED), 1, envelope)).path == NEXT

    @pytest.mark.parametrize(
        "envelope",
        [
            {"links": None},
            {"links": ""},
            {"links": False},
            {"links": {"href": None}},
            {"links": {"url": ""}},
            {"links": [{"rel": "self", "href": URL}]},
            {"links": [{"rel": "Prev", "href": URL}]},
            {"links": [{"relation": "last", "url": URL}]},
            {"links": [{"rel": "next", "href": None}]},
        ],
    )
    def test_these_are_signs_of_the_end(self, envelope: Json) -> None:
        strategy = JsonLink(next_url_path="links")
        assert stopped(strategy, answer(strategy.first(ASKED), 1, envelope)) == "no next page"

    @pytest.mark.parametrize(
        ("envelope", "shown"),
        [
            ({}, "a link; the body is an empty object"),
            (None, "a link; the body contains only its rows"),
            ({"link": NEXT}, "a link; the body is an object with the keys 'link'"),
            ({"links": {}}, "a link; 'links' is an empty object"),
            ({"links": {"uri": NEXT}}, "a link; 'links' is an object with the keys 'uri'"),
            ({"links": []}, "a link with the relation 'next'; 'links' is a list of length 0"),
            ({"links": [{"rel": "following", "href": NEXT}]}, "a link with the relation 'next'; 'links'"),
            ({"links": [{"rel": "next"}]}, "a link with the relation 'next'; 'links' is a list of length 1"),
            ({"links": [NEXT]}, "a link with the relation 'next'; 'links' is a list of length 1"),
        ],
    )
    def test_these_are_not(self, envelope: Json, shown: str) -> None:
        """A list without any known relation may use another name for the next page."""
        strategy = JsonLink(next_url_path="links")
        with pytest.raises(ResponseError) as caught:
            strategy.follow(answer(strategy.first(ASKED), 1, envelope))
        assert str(caught.value).startswith(f"next_url_path 'links' does not lead to {shown}")
        assert str(caught.value).endswith("; if the API omits it on the last page, set missing_next='end'")

    @pytest.mark.parametrize(
        ("given", "shown"), [(5, "a number"), (True, "a boolean"), ({"href": [NEXT]}, "a list of length 1")]
    )
    def test_a_link_is_a_text(self, given: Json, shown: str) -> None:
        with pytest.raises(ResponseError, match=f"the link to the next page must be a string, but is {shown}"):
            JsonLink().follow(answer(JsonLink().first(ASKED), 1, {"next": given}))

    def test_nothing_is_known_before_its_turn(self) -> None:
        assert not isinstance(JsonLink(), SupportsPrefetch)

    def test_another_relation_may_lead_on(self) -> None:
        strategy = JsonLink(next_url_path="links", relation="Older")
        links = [{"rel": "next", "href": URL}, {"rel": "older", "href": NEXT}]
        assert followed(strategy, answer(strategy.first(ASKED), 1, {"links": links})).path == NEXT


def headed(request: PageRequest, header: str, count: int = 10, name: str = "link") -> Page:
    return answer(request, count, headers={name: header, "age": "3"}, url=URL)


class TestInAHeader:
    @pytest.mark.parametrize(
        "header",
        [
            '<?page=2>; rel="next"',
            '<?page=9>; rel="last", <?page=2>; REL=next',
            '<?page=2>; rel="last next"',
            '<?page=5>; rel=next; anchor="/other", <?page=2>; rel=next',
            'x, <?page=2>; rel=next, <?page=5>; rel="next"',
        ],
    )
    def test_the_first_link_with_the_relation_counts(self, header: str) -> None:
        assert followed(HeaderLink(), headed(HeaderLink().first(ASKED), header)).path == NEXT

    def test_relation_and_header_may_be_others(self) -> None:
        strategy = HeaderLink(relation="Older", link_header="X-Links")
        page = headed(strategy.first(ASKED), '<?page=7>; rel="next", <?page=2>; rel="older"', name="x-links")
        assert followed(strategy, page).path == NEXT

    @pytest.mark.parametrize(
        "header", ["", "  ", '<?page=1>; rel="first prev"', "<?page=1>; rel=PREVIOUS", "<>;rel=next"]
    )
    def test_these_are_signs_of_the_end(self, header: str) -> None:
        assert stopped(HeaderLink(), headed(HeaderLink().first(ASKED), header)) == "no next page"

    @pytest.mark.parametrize("header", ["</style.css>; rel=preload", "<?page=2>; rel=nxt", "<?page=2>", "nonsense"])
    def test_these_are_not(self, header: str) -> None:
        with pytest.raises(ResponseError) as caught:
            HeaderLink().follow(headed(HeaderLink().first(ASKED), header))
        assert str(caught.value) == (
            "the response has no Link header with rel='next'; its headers are 'age', 'link';"
            " if the API omits it on the last page, set missing_next='end'"
        )

    @pytest.mark.parametrize(
        "header",
        [
            '<?page=1>; rel="first", https://api.example/rows?page=2; rel="next"',
            '<?page=1>; rel="prev" and <?page=2>; rel="next"',
            '<?page=1>; rel="prev", <?page=2; REL="NEXT"',
        ],
    )
    @pytest.mark.parametrize("index", [0, 4])
    @pytest.mark.parametrize("missing_next", ["fail", "end"])
    def test_a_next_link_that_cannot_be_read_is_no_end(self, header: str, index: int, missing_next: Any) -> None:
        strategy = HeaderLink(missing_next=missing_next)
        page = headed(replace(strategy.first(ASKED), index=index), header)
        with pytest.raises(
            ResponseError, match=r"the Link header mentions 'next', but not in a valid link \(RFC 8288\)"
        ):
            strategy.follow(page)


def sent_ahead(strategy: HeaderLink, page: Page) -> list[str]:
    """Return the paths of all requests that may be sent after a page, and what follows it."""
    sent = followed(strategy, page)
    paths = [sent.path]
    for _ in range(20):
        further = strategy.ahead(page, sent)
        if further is None:
            return paths
        assert (further.index, further.query, further.sure) == (sent.index + 1, {}, False)
        sent = further
        paths.append(sent.path)
    return paths


class TestAhead:
    """The second page, reached by a link: from here on, links can be compared."""

    @staticmethod
    def second(here: str, following: str, last: str | None, count: int = 10, **known: Any) -> Page:
        request = replace(ASKED, path=f"{URL}?{here}", query={}, index=1)
        header = f'<{URL}?{following}>; rel="next"' + (f', <{URL}?{last}>; rel="last"' if last else "")
        return replace(headed(request, header, count), **known)

    @pytest.mark.parametrize(
        ("here", "following", "last", "queries"),
        [
            ("page=2", "page=3", "page=5", ["page=3", "page=4", "page=5"]),
            ("a=b&page=2", "a=b&page=3", "a=b&page=4", ["a=b&page=3", "a=b&page=4"]),
            ("page=2", "page=3", "page=3", ["page=3"]),
            ("offset=10&limit=10", "offset=20&limit=10", "offset=35", ["offset=20&limit=10", "offset=30&limit=10"]),
            ("page=2", "page=3", "page=2", ["page=3"]),
            ("page=2", "page=3", "page=last", ["page=3"]),
            ("page=2", "page=3", None, ["page=3"]),
            ("page=2", "page=b", "page=9", ["page=b"]),
            ("page=2&t=1", "page=3&t=2", "page=9&t=1", ["page=3&t=2"]),
            ("page=2", "page=3&t=2", "page=9", ["page=3&t=2"]),
            ("after=17", "after=31", "after=99", ["after=31"]),
        ],
    )
    def test_links_that_count_are_followed_to_the_last_one(
        self, here: str, following: str, last: str | None, queries: list[str]
    ) -> None:
        assert sent_ahead(HeaderLink(), self.second(here, following, last)) == [f"{URL}?{each}" for each in queries]

    def test_what_is_sent_is_what_the_next_page_says(self) -> None:
        strategy = HeaderLink()
        page = self.second("page=2", "page=3", "page=9")
        further = strategy.ahead(page, followed(strategy, page))
        assert further is not None
        third = replace(headed(followed(strategy, page), '<?page=4>; rel="next"'), url=URL)
        assert followed(strategy, third).same_exchange(further)

    def test_the_first_page_has_nothing_to_compare(self) -> None:
        strategy = HeaderLink()
        page = headed(strategy.first(ASKED), '<?page=2>; rel="next", <?page=9>; rel="last"')
        assert sent_ahead(strategy, page) == [NEXT]

    def test_on_its_own_host_the_links_of_another_are_compared(self) -> None:
        strategy = HeaderLink(own_host=True)
        request = replace(ASKED, path=NEXT, query={}, index=1)
        page = headed(request, '<http://in:80/v1/rows?page=3>; rel="next", <http://in:80/v1/rows?page=4>; rel="last"')
        assert sent_ahead(strategy, page) == [f"{URL}?page=3", f"{URL}?page=4"]

    def test_a_base_that_changes_is_followed_step_by_step(self) -> None:
        request = replace(ASKED, path="https://other.example/v1/rows?page=2", query={}, index=1)
        page = headed(request, '<?page=3>; rel="next", <?page=9>; rel="last"')
        assert sent_ahead(HeaderLink(), page) == [f"{URL}?page=3"]

    @pytest.mark.parametrize("header", ["", "nonsense", '<?page=9>; rel="last"', '<>; rel="next last"'])
    def test_without_both_links_nothing_is_sent(self, header: str) -> None:
        page = headed(replace(ASKED, path=NEXT, query={}, index=1), header)
        assert HeaderLink().ahead(page, page.request) is None
        assert HeaderLink().ahead(replace(page, headers={}), page.request) is None
