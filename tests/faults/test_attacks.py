"""An API that means harm, or that somebody else speaks for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from requests.auth import HTTPBasicAuth

from airflow_paginated import HeaderLink, JsonLink, PageNumber, PageRequest
from airflow_paginated.core.errors import OriginError, PaginatedApiError, PermanentError
from airflow_paginated.pagination.protocols import Pagination
from airflow_paginated.transport import RequestRetry, SessionOptions
from tests.collect.disk import published
from tests.collect.running import Job
from tests.faults.child import in_child
from tests.faults.endings import exact, refused
from tests.faults.wires import nothing_but
from tests.servers import FaultServer, PagedApi, Redirect, Reply, Request
from tests.servers.schedules import Schedule

API = PagedApi(rows=500)
QUICK = RequestRetry(max_attempts=2, backoff_factor=0.002, allowed_methods={"GET", "POST"})
CREDENTIALS: dict[str, Any] = {
    "headers": {"X-Api-Key": "k3y-k3y-k3y"},
    "auth": HTTPBasicAuth("ann", "p4ssw0rd"),
    "secrets": ("k3y-k3y-k3y", "p4ssw0rd"),
    "retry": QUICK,
}
ASKED_BY_POST: dict[str, Any] = {
    "request": PageRequest("/employees", "POST", body={"active": True}),
    "pagination": PageNumber(total_path="meta.total", inject_into="body"),
}


def job(server: FaultServer, path: Path, **given: Any) -> Job:
    """Return a job with credentials of every kind."""
    client = {**CREDENTIALS, "session": SessionOptions(verify=_verify(server)), **given.pop("client", {})}
    return Job(url=given.pop("url", server.url), path=f"{path}/out/", client=client, **given)


def _verify(server: FaultServer) -> bool | str:
    return str(server.ca_file) if server.url.startswith("https") else True


def moved(to: str, status: int = 307, page: str = "2") -> Schedule:
    """Redirect the requests for one page, as long as they go to the old path."""
    away = Redirect(to, status)
    return lambda request, nth: away if str(request.parameters().get("page")) == page else None


def with_cookies(request: Request) -> Reply:
    """Answer as the API does, with a cookie."""
    reply = API(request)
    return replace(reply, headers=(*reply.headers, ("Set-Cookie", "session=c00kie; Path=/")))


@pytest.fixture
def elsewhere() -> Iterator[Callable[..., FaultServer]]:
    """Return a function that starts a server of the attacker's, which must never hear anything."""
    with ExitStack() as stack:
        started: list[FaultServer] = []

        def start(**options: Any) -> FaultServer:
            started.append(stack.enter_context(FaultServer(API, **options)))
            return started[-1]

        yield start
        assert [server.log.requests for server in started] == [()] * len(started)


@pytest.mark.fault("S1")
@pytest.mark.parametrize(
    ("own", "other"),
    [({}, {"host": "127.0.0.2"}), ({}, {}), ({}, {"tls": True}), ({"tls": True}, {})],
    ids=["host", "port", "http to https", "https to http"],
)
def test_a_redirect_away(
    own: dict[str, Any],
    other: dict[str, Any],
    elsewhere: Callable[..., FaultServer],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    with FaultServer(with_cookies, **own) as server:
        # Another host, and nothing else that is different.
        attacker = elsewhere(**other, port=server.port if "host" in other else 0)
        runs = [(status, kind) for status in (301, 302, 303, 307, 308) for kind in ({}, ASKED_BY_POST)]
        for number, (status, kind) in enumerate(runs):
            server.faults = moved(f"{attacker.url}/employees?page=2", status)
            with nothing_but(server):
                ending = refused(job(server, tmp_path / str(number), **kind), PermanentError)
            if not kind:
                assert isinstance(ending.error, OriginError)
                assert f"leads to {attacker.url}, away from the connection's origin {server.url}" in str(ending.error)
        assert not any("cookie" in seen.request.headers for seen in server.log.requests)
    record_property("runs", len(runs))


@pytest.mark.fault("S1")
@pytest.mark.parametrize("kind", [{}, ASKED_BY_POST], ids=["GET", "POST"])
def test_a_redirect_that_stays(kind: dict[str, Any], tmp_path: Path) -> None:
    with FaultServer(with_cookies) as server:

        def schedule(request: Request, nth: int) -> Redirect | None:
            back = request.path == "/employees" and str(request.parameters().get("page")) == "2"
            return Redirect(f"{server.url}/v2/employees?page=2", 308) if back else None

        server.faults = schedule
        with nothing_but(server):
            exact(job(server, tmp_path, **kind), API)
        (moved_to,) = [seen.request for seen in server.log.requests if seen.request.path == "/v2/employees"]
    assert (moved_to.headers["x-api-key"], moved_to.headers["authorization"][:6]) == ("k3y-k3y-k3y", "Basic ")
    assert moved_to.headers.get("cookie") is None


def linked(links: Mapping[int, str]) -> Callable[[Request], Reply]:
    """Return an API that links from page to page, in its body and in a header; from some pages to where it is told."""

    def app(request: Request) -> Reply:
        reply = API(request)
        number = int(request.query.get("page", "1"))
        following = links.get(number, f"/employees?page={number + 1}" if number < API.pages() else None)
        body = reply.body[:-1] + b', "next": %b}' % json.dumps(following).encode()
        header = (("Link", f'<{following}>; rel="next"' if following else '</>; rel="first"'),)
        return Reply(body, reply.status, (*reply.headers, *header))

    return app


LINKS: list[Pagination] = [JsonLink(), HeaderLink()]
AWAY = [
    "http://127.0.0.1:{other}/employees?page=3",
    "//127.0.0.1:{other}/employees?page=3",
    "https://127.0.0.1:{own}/employees?page=3",
    "https://127.0.0.1/employees?page=3",
    "http://127.0.0.2:{own}/employees?page=3",
    "http://localhost:{own}/employees?page=3",
    "//evil.test/employees?page=3",
    "///evil.test/rows?page=3",
    "http:///evil.test/rows?page=3",
    "http:////127.0.0.1:{other}/rows?page=3",
    "http://ann:p4ss@127.0.0.1:{own}/employees?page=3",
    "http://ann@127.0.0.1:{other}/employees?page=3",
    "http://127.0.0.1:{own}@127.0.0.1:{other}/employees?page=3",
]
METADATA = [
    "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "//169.254.169.254/latest/meta-data/",
    "http://169.254.169.254:80/",
    "http://2852039166/latest/meta-data/",
    "http://0xa9.0xfe.0xa9.0xfe/",
    "http://[::ffff:169.254.169.254]/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "file:///etc/passwd",
    "file:/etc/passwd",
    "file://localhost/etc/passwd",
    "FILE:///etc/passwd",
    "ftp://127.0.0.1:{other}/x",
    "gopher://127.0.0.1:{other}/x",
    "data:application/json,[]",
    "javascript:alert(1)",
    "unix:///var/run/docker.sock",
]


@pytest.mark.fault("S2")
@pytest.mark.parametrize("pagination", LINKS, ids=["in the body", "in a header"])
def test_a_link_away(
    pagination: Pagination,
    elsewhere: Callable[..., FaultServer],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    _links_are_refused(AWAY, pagination, elsewhere(), tmp_path)
    record_property("runs", len(AWAY))


@pytest.mark.fault("S4")
@pytest.mark.parametrize("pagination", LINKS, ids=["in the body", "in a header"])
def test_a_link_inwards(
    pagination: Pagination,
    elsewhere: Callable[..., FaultServer],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    _links_are_refused(METADATA, pagination, elsewhere(), tmp_path)
    record_property("runs", len(METADATA))


def _links_are_refused(links: list[str], pagination: Pagination, other: FaultServer, path: Path) -> None:
    with FaultServer(API) as server:
        for number, link in enumerate(links):
            server.log.clear()
            server.app = linked({2: link.format(own=server.port, other=other.port)})
            with nothing_but(server):
                ending = refused(job(server, path / str(number), pagination=pagination), PermanentError)
            # What is left of ///evil.test after joining is a path of the API's own, where there is nothing.
            assert isinstance(ending.error, OriginError) or "404 Not Found" in str(ending.error), (link, ending)
            assert "p4ss" not in str(ending.error)
            asked = [seen.request.path for seen in server.log.requests]
            assert asked[:2] == ["/employees"] * 2
            assert len(asked) == (2 if isinstance(ending.error, OriginError) else 3)


@pytest.mark.fault("S2")
@pytest.mark.parametrize("pagination", LINKS, ids=["in the body", "in a header"])
def test_a_link_that_stays(pagination: Pagination, tmp_path: Path) -> None:
    with FaultServer(API) as server:
        server.app = linked({2: f"HTTP://127.0.0.1:{server.port}/v2/../employees?page=3#top", 3: "?page=4"})
        with nothing_but(server):
            exact(job(server, tmp_path, pagination=pagination), API)


ODD = [
    "http://evil.test\\@127.0.0.1:{own}/employees?page=2",
    "http://127.0.0.1:{own}\\@evil.test/employees?page=2",
    "http://127.0.0.1:{own}\\.evil.test/employees?page=2",
    "http://ann:x@127.0.0.1:{own}/employees?page=2",
    "http://@127.0.0.1:{own}/employees?page=2",
    "http://evil.test#@127.0.0.1:{own}/employees?page=2",
    "http://evil.test?@127.0.0.1:{own}/employees?page=2",
    "http://evil.test;@127.0.0.1:{own}/employees?page=2",
    "http://0x7f.1:{own}/employees?page=2",
    "http://0x7f000001:{own}/employees?page=2",
    "http://2130706433:{own}/employees?page=2",
    "http://127.1:{own}/employees?page=2",
    "http://0177.0.0.1:{own}/employees?page=2",
    "http://127.0.0.1.:{own}/employees?page=2",
    "http://[::ffff:127.0.0.1]:{own}/employees?page=2",
    "http://[::ffff:7f00:1]:{own}/employees?page=2",
    "http://[::1]:{own}/employees?page=2",
    "http://0:{own}/employees?page=2",
    "http://localhost:{own}/employees?page=2",
    "http://127.0.0.1:80/employees?page=2",
    "http://127.0.0.1/employees?page=2",
    "http://127.0.0.1%00.evil.test:{own}/employees?page=2",
    "http://127.0.0.1%2eevil.test:{own}/employees?page=2",
    "http://127.0.0.1:{own}%40evil.test/employees?page=2",
    "http://127.0.0.1 .evil.test:{own}/employees?page=2",
    "http://127.0.0.1\t.evil.test:{own}/employees?page=2",
    "http://127.0.0.1:{own}.evil.test/employees?page=2",
    "http://127.0.0.1:99999/employees?page=2",
    "http://[127.0.0.1]:{own}/employees?page=2",
]


def by_link(server: FaultServer, url: str) -> dict[str, Any]:
    server.app = linked({1: url})
    return {"pagination": JsonLink()}


def by_redirect(server: FaultServer, url: str) -> dict[str, Any]:
    server.app, server.faults = API, moved(url)
    return {}


def by_endpoint(server: FaultServer, url: str) -> dict[str, Any]:
    server.app = API
    return {"request": PageRequest(url.partition("?")[0])}


@pytest.mark.fault("S3")
@pytest.mark.parametrize("way", [by_link, by_redirect, by_endpoint])
def test_odd_spellings(
    way: Callable[[FaultServer, str], dict[str, Any]], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with FaultServer(API) as server:
        for number, odd in enumerate(ODD):
            given = way(server, odd.format(own=server.port))
            with nothing_but(server):
                ending = refused(job(server, tmp_path / str(number), **given), PaginatedApiError)
            assert isinstance(ending.error, PermanentError), (odd, ending)
    record_property("runs", len(ODD))


@pytest.mark.fault("S3")
def test_equal_origins_in_other_spellings(tmp_path: Path) -> None:
    with FaultServer(API) as server:
        for number, base in enumerate((f"http://localhost:{server.port}", f"HTTP://LocalHost:{server.port}/v1/..")):
            server.app = linked({1: f"http://LOCALHOST:{server.port}/employees?page=2"})
            with nothing_but(server, "localhost", "::1"):
                exact(job(server, tmp_path / str(number), url=base, pagination=JsonLink()), API)


@pytest.mark.fault("S5")
def test_the_environment_is_not_asked(elsewhere: Callable[..., FaultServer], tmp_path: Path) -> None:
    proxy, bundle = elsewhere(), tmp_path / "bundle.pem"
    bundle.write_text("none")
    with FaultServer(API) as server, FaultServer(API, tls=True) as secure:
        environment = {**_proxies(proxy.url), **_netrc(tmp_path), "REQUESTS_CA_BUNDLE": str(bundle)}
        without = {"auth": None, "headers": {}}
        for number, each in enumerate((server, secure)):
            told = in_child(job(each, tmp_path / str(number), client=without), **environment)
            assert (told.error, told.result is not None) == ("", True), told
            assert published(f"{tmp_path}/{number}/out/") == API.reference()
            assert {seen.request.headers.get("authorization") for seen in each.log.requests} == {None}


@pytest.mark.fault("S5")
def test_the_environment_counts_where_it_is_let_in(tmp_path: Path) -> None:
    with FaultServer(API) as server, FaultServer(API) as proxy:
        session = {"session": SessionOptions(trust_env=True), "auth": None}
        told = in_child(job(server, tmp_path, client=session), **_proxies(proxy.url), **_netrc(tmp_path))
        assert (told.error, told.result is not None) == ("", True), told
        assert server.log.requests == ()
        assert {seen.request.headers["authorization"] for seen in proxy.log.requests} == {"Basic bW9sZTpzM2NyM3Q="}


def _proxies(url: str) -> dict[str, str]:
    names = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    return dict.fromkeys(names, url)


def _netrc(path: Path) -> dict[str, str]:
    for name in ("netrc", ".netrc"):
        (path / name).write_text("machine 127.0.0.1 login mole password s3cr3t\ndefault login mole password s3cr3t\n")
        (path / name).chmod(0o600)
    return {"NETRC": str(path / "netrc"), "HOME": str(path)}
