"""A secret, and a server that repeats it in every way it can: it is found nowhere."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus, urlencode

import pytest
from airflow.sdk import Connection

from airflow_paginated import HeaderLink, JsonLink, PageRequest
from airflow_paginated.collect.collection import split_credentials
from airflow_paginated.core.policies import Timeouts
from airflow_paginated.hooks.connection import read_settings
from airflow_paginated.pagination.protocols import Pagination
from airflow_paginated.transport import Endpoint, RequestRetry, ResponseRules
from tests.collect.running import BY_ITEMS, Job
from tests.faults.canary import CANARY, CORE, LOGIN, SPELLINGS, Witness, hits, left_in, listening, told_by
from tests.faults.endings import Ending, run
from tests.servers import (
    BadChunkSize,
    CloseBeforeHeaders,
    CorruptGzip,
    CutChunk,
    CutHeaders,
    DribbleBody,
    DropIdle,
    EmptyOK,
    Fault,
    FaultServer,
    Given,
    HtmlOK,
    PagedApi,
    Raw,
    Redirect,
    Reply,
    Request,
    ResetBeforeHeaders,
    ResetInBody,
    ResetOnReuse,
    RetryLater,
    ServerError,
    ShortBody,
    StallBeforeHeaders,
    StallInBody,
    TruncatedGzip,
    TruncatedJson,
    UnframedCut,
)
from tests.transport.clients import blackhole, refusing
from tests.transport.test_secrets import places

API = PagedApi(rows=300)
SHORT = Timeouts(attempt=0.2, page=0.4, connect=0.2)
ONCE = RequestRetry(max_attempts=1, budget=0, backoff_factor=0.002, retry_after_max=0.1)
CREDENTIALS: dict[str, dict[str, Any]] = {
    "basic": {"login": LOGIN, "password": CANARY},
    "bearer": {"password": CANARY},
    "an API key in a header": {"extra": {"headers": {"X-Api-Key": CANARY}}},
    "a token in a header": {"extra": {"headers": {"Authorization": f"Token {CANARY.replace(' ', '_')}"}}},
    "the query": {"query": {"api_key": CANARY}},
    "the query, by another name": {"password": CANARY, "query": {"q": f"to {CANARY}"}},
}
Recorder = Callable[[str, object], None]


def job(url: str, path: Path, fields: dict[str, Any], pagination: Pagination = BY_ITEMS, **client: Any) -> Job:
    """Return a job with the credentials of a connection, as the operator makes one."""
    known = {**fields, "extra": json.dumps(fields.get("extra", {}))}
    query = known.pop("query", {})
    settings = read_settings(Connection(conn_id="api", conn_type="paginated_api", host=url, **known))
    made = Job(url=url, path=f"{path}/out/", pagination=pagination, workers=2)
    made = replace(made, request=PageRequest("/employees", query={**query, "active": True}))
    collection = split_credentials(made.collection, settings.secrets)
    endpoint: Endpoint = replace(settings.endpoint, query=collection.secret_query)
    given = {"endpoint": endpoint, "session": settings.session, "secrets": settings.secrets, "retry": ONCE}
    return replace(made, request=collection.request, client={**given, "timeouts": SHORT, **client})


@pytest.fixture(scope="module", autouse=True)
def _airflow_is_set_up() -> None:
    # It sets up logging when it is first used, and would take our ears off.
    assert Connection(conn_id="api", conn_type="paginated_api", host="x").extra_dejson == {}


@contextmanager
def watched(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[Job], Ending]]:
    """Yield what runs a job, and checks all that it says and leaves."""
    with listening() as witness:
        logging.getLogger("urllib3.connectionpool").debug("to be heard")
        assert "to be heard" in witness.records[0]

        def check(job: Job) -> Ending:
            ending = run(job)
            _check(ending, witness, Path(job.path))
            return ending

        yield check
    printed = capfd.readouterr()
    assert CORE not in printed.out + printed.err


def _check(ending: Ending, witness: Witness, folder: Path) -> None:
    assert told_by(ending.error) == []
    assert witness.hits() == []
    assert CORE not in repr(ending.result)
    assert left_in(folder) == []
    witness.records.clear()


def asks_for(number: int) -> Callable[[Request], bool]:
    return lambda request: str(request.parameters().get("page")) == str(number)


@pytest.mark.fault("S8")
@pytest.mark.parametrize("kind", CREDENTIALS)
def test_what_the_server_repeats(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], record_property: Recorder
) -> None:
    fields = CREDENTIALS[kind]
    spells = list(SPELLINGS.values())
    # One kind in every spelling; the others, which differ in who knows of the secret, in another one at each place.
    turn = list(CREDENTIALS).index(kind)
    runs = [
        (place, spell)
        for number, place in enumerate(places(""))
        for spell in (spells if turn == 0 else [spells[(number + turn) % len(spells)]])
    ]
    with FaultServer(API) as server, watched(capfd) as check:
        for number, (place, spell) in enumerate(runs):
            fault = places(spell(_secret(fields)))[place]
            server.faults = lambda request, nth, fault=fault: fault if asks_for(2)(request) else None
            assert check(job(server.url, tmp_path / str(number), fields)).error is not None, place
    record_property("runs", len(runs))


def _secret(fields: dict[str, Any]) -> str:
    headers = fields.get("extra", {}).get("headers", {})
    return str(headers.get("Authorization", f"Token {CANARY}")).removeprefix("Token ")


def echo(request: Request) -> str:
    """Return all that a request says, as an error page of a framework in its debug mode shows it."""
    raw = "\r\n".join((request.target, *(f"{name}: {value}" for name, value in request.headers.items())))
    said = {"headers": dict(request.headers), "query": dict(request.query), "body": request.body.decode("latin-1")}
    return json.dumps({**said, "raw": base64.b64encode(raw.encode("latin-1")).decode(), "repr": repr(request)})


@pytest.mark.fault("S8")
@pytest.mark.parametrize("kind", CREDENTIALS)
def test_a_page_that_shows_the_request(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], record_property: Recorder
) -> None:
    fields = CREDENTIALS[kind]
    statuses = (200, 302, 400, 401, 403, 404, 422, 429, 500, 503)
    with FaultServer(API) as server, watched(capfd) as check:
        for number, status in enumerate(statuses):
            # Where a message cuts what it quotes depends on what comes before.
            server.faults = lambda request, nth, status=status, before=" " * 15 * number: (
                Given(status, (before + echo(request)).encode()) if asks_for(2)(request) else None
            )
            made = job(server.url, tmp_path / str(number), fields, rules=ResponseRules(error_path="query"))
            assert check(made).error is not None, status
    record_property("runs", len(statuses))


FAULTS: list[Fault] = [
    *(ResetBeforeHeaders(), CloseBeforeHeaders(), StallBeforeHeaders(1.0), CutHeaders(), ResetInBody(), ShortBody()),
    *(UnframedCut(), CutChunk(), BadChunkSize(), TruncatedGzip(), CorruptGzip(), StallInBody(1.0), ServerError(500)),
    *(RetryLater("0"), RetryLater("1000"), EmptyOK(), HtmlOK(), TruncatedJson(), Redirect("/employees"), Redirect("")),
    *(DropIdle(), ResetOnReuse(), DribbleBody(), Raw(b"HTTP/1.1 200\r\nX\r\n"), Raw(b"\x16\x03\x01")),
]


@pytest.mark.fault("S8")
@pytest.mark.parametrize("kind", CREDENTIALS)
def test_what_breaks(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], record_property: Recorder) -> None:
    # Each kind in turn meets some of the faults; all of them together all.
    turn = list(CREDENTIALS).index(kind)
    faults = FAULTS[turn :: len(CREDENTIALS)]
    with FaultServer(API) as server, watched(capfd) as check:
        for number, fault in enumerate(faults):
            server.faults = lambda request, nth, fault=fault: fault if asks_for(2)(request) else None
            check(job(server.url, tmp_path / str(number), CREDENTIALS[kind]))
    record_property("runs", len(faults))


@pytest.mark.fault("S8")
@pytest.mark.parametrize("kind", CREDENTIALS)
def test_a_server_that_is_not_there(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with ExitStack() as stack:
        urls = [f"http://127.0.0.1:{stack.enter_context(down())}" for down in (refusing, blackhole)]
        # Nobody trusts this certificate; plain HTTP where TLS is due; a name that nobody resolves.
        urls.append(stack.enter_context(FaultServer(API, tls=True)).url)
        urls.append(stack.enter_context(FaultServer(API)).url.replace("http:", "https:"))
        urls.append("http://nobody.invalid")
        check = stack.enter_context(watched(capfd))
        for number, url in enumerate(urls):
            assert check(job(url, tmp_path / str(number), CREDENTIALS[kind])).error is not None


def repeating(request: Request) -> Reply:
    """Answer as the API does, with links that repeat the whole query."""
    reply, number = API(request), int(request.query.get("page", "1"))
    following = None
    if number < API.pages():
        following = f"/employees?{urlencode({**request.query, 'page': number + 1})}"
    header = (("Link", f'<{following}>; rel="next"' if following else '</>; rel="first"'),)
    return Reply(reply.body[:-1] + b', "next": %b}' % json.dumps(following).encode(), 200, (*reply.headers, *header))


@pytest.mark.fault("S8")
@pytest.mark.parametrize("pagination", [BY_ITEMS, JsonLink(), HeaderLink()], ids=["pages", "links", "headers"])
@pytest.mark.parametrize("kind", CREDENTIALS)
def test_what_is_stored(kind: str, pagination: Pagination, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with FaultServer(repeating) as server, watched(capfd) as check:
        good = job(server.url, tmp_path, CREDENTIALS[kind], pagination, timeouts=Timeouts())
        assert check(good).visible == API.reference()
        sent = [seen.request for seen in server.log.requests]
        assert len(sent) >= 3
        # It got there, each time, and once: what is nowhere else was not lost.
        assert all(unquote_plus(each.target).count(CANARY) <= 1 for each in sent)
        assert all(hits(f"{each.target} {each.headers}") for each in sent)
        server.faults = lambda request, nth: ServerError(500) if asks_for(3)(request) else None
        failed = replace(good, path=f"{tmp_path}/failed/")
        assert check(failed).error is not None
        assert list(failed.staging.rglob("segment-*")) != []
