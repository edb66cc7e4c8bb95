"""A key in the query: links repeat it, and it is nowhere but in the requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlencode

import pytest

from airflow_paginated import HeaderLink, JsonLink, PageRequest, Stop
from airflow_paginated.core.errors import PaginatedApiError
from airflow_paginated.core.values import Page, Successor
from airflow_paginated.pagination.protocols import Pagination
from airflow_paginated.transport.auth import authentication
from airflow_paginated.transport.auth.fields import AuthFields
from tests.collect.running import Job, collect
from tests.servers import FaultServer, PagedApi, Redirect, Reply, Request, ServerError, on_page

KEY = "k3y of+the/house"
API = PagedApi(rows=400, page_size=20)
PARTS = ("k3y", quote_plus(KEY), KEY)


class Echo:
    """Repeats the whole query of a request in its links, as frameworks do, and wants the key exactly once."""

    def __call__(self, request: Request) -> Reply:
        if [value for name, value in parse_qsl(request.target.partition("?")[2]) if name == "api_key"] != [KEY]:
            return Reply(b'{"error": "no key"}', 401)
        number, last = int(request.query["page"]), API.pages()
        good = API(request)
        links = {"next": self.link(request, number + 1) if number < last else None, "last": self.link(request, last)}
        beside = json.dumps({"links": {"next": links["next"]}}).encode()
        header = ", ".join(f'<{to}>; rel="{rel}"' for rel, to in links.items() if to)
        return Reply(good.body[:-1] + b", " + beside[1:], 200, (*good.headers, ("Link", header)))

    def link(self, request: Request, number: int) -> str:
        host = request.headers["host"]
        return f"http://{host}{request.path}?{urlencode({**request.query, 'page': number})}#top"


def key_auth(name: str = "api_key") -> Any:
    return authentication(AuthFields("connection 'hr'", "http://api", "", KEY, {"query_param": name}), "api_key").auth


class Careless:
    """A strategy of a user's own, who takes the link as it is."""

    def first(self, request: PageRequest) -> PageRequest:
        return request

    def follow(self, page: Page) -> Successor:
        link = page.envelope["links"]["next"]
        return (
            Stop("no link")
            if link is None
            else replace(page.request, path=link, query={}, index=page.request.index + 1)
        )


STRATEGIES: dict[str, Pagination] = {
    "in the body": JsonLink(next_url_path="links.next"),
    "in a header": HeaderLink(),
    "by hand": Careless(),
}


def job(server: FaultServer, path: Path, pagination: Pagination, **given: Any) -> Job:
    return Job(
        url=server.url,
        path=f"{path}/out/",
        pagination=pagination,
        request=PageRequest("/employees", query={"page": 1, "sort": "a b"}),
        client={"auth": key_auth(), "secrets": (KEY,), **given},
    )


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(Echo()) as running:
        yield running


def found_in(folder: Path) -> list[str]:
    """Return the files with a part of the key in them."""
    texts = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert texts
    return [path for path, text in texts.items() if any(part.encode() in text for part in PARTS)]


@pytest.mark.parametrize("where", STRATEGIES)
def test_links_that_repeat_the_key_are_followed_without_it(server: FaultServer, tmp_path: Path, where: str) -> None:
    collect(job(server, tmp_path, STRATEGIES[where]))
    assert found_in(tmp_path) == []
    queries = [parse_qsl(each.request.target.partition("?")[2]) for each in server.log.requests]
    pages = [[("api_key", KEY), ("page", str(number)), ("sort", "a b")] for number in range(1, 21)]
    assert sorted(sorted(query) for query in queries) == sorted(pages)


@pytest.mark.parametrize("where", STRATEGIES)
def test_nothing_of_it_is_stored_for_the_next_try(server: FaultServer, tmp_path: Path, where: str) -> None:
    server.faults = on_page(20, ServerError())
    with pytest.raises(PaginatedApiError) as caught:
        collect(job(server, tmp_path, STRATEGIES[where]))
    assert not [part for part in PARTS if part in str(caught.value)]
    assert list(tmp_path.rglob("segment-*"))
    assert found_in(tmp_path) == []
    seen, server.faults = len(server.log.requests), lambda request, nth: None
    result = collect(job(server, tmp_path, STRATEGIES[where]))
    assert (result["rows"], result["resumed_pages"]) == (400, 19)
    assert len(server.log.requests) - seen <= 3
    assert found_in(tmp_path) == []


def test_links_in_a_header_are_still_known_before_their_turn(server: FaultServer, tmp_path: Path) -> None:
    server.latency = 0.01
    collect(job(server, tmp_path, HeaderLink()))
    assert server.log.summary().peak_in_flight > 1
    assert found_in(tmp_path) == []


def test_a_redirect_that_repeats_the_key(server: FaultServer, tmp_path: Path) -> None:
    def moved(request: Request, nth: int) -> Any:
        return Redirect(f"/moved{request.target}", 307) if request.path == "/employees" else None

    server.faults = moved
    collect(job(server, tmp_path, JsonLink(next_url_path="links.next")))
    assert found_in(tmp_path) == []
