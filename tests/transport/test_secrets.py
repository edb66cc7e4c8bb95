"""A server that says every secret it was told, in every place and spelling: none of it gets into an error or a log."""

from __future__ import annotations

import base64
import html
import json
import logging
import traceback
from collections.abc import Callable
from itertools import cycle
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import requests
from requests.auth import HTTPBasicAuth

from airflow_paginated.core.errors import PaginatedApiError
from airflow_paginated.core.secrets import Scrubber
from airflow_paginated.transport import ClientOptions, Endpoint, RateLimit, RequestRetry, SessionOptions
from tests.servers import DribbleBody, Fault, FaultServer, Given, Raw, RetryLater, ServerError
from tests.transport.clients import QUICK, Calls, connect, options, page, short

CANARY = 'c4n4ry/+ "k&y"%é\\;'
LONG = "L0ng/" * 20
LOGIN = f"ro bot:{CANARY}"
WORD = "w0rdw0rd"
SECRETS = (CANARY, LONG, LOGIN, WORD)
SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "percent": lambda text: quote(text, safe=""),
    "percent, slashes kept": quote,
    "percent, lower case": lambda text: quote(text, safe="").replace("%2F", "%2f").replace("%C3%A9", "%c3%a9"),
    "form": quote_plus,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64, no padding": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON with escaped slashes": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "JSON in UTF-8": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "HTML": html.escape,
    "lower case": str.lower,
}
PARTS = ("c4n4ry", "k&y", "L0ng", "k%26y", "YzRuNHJ5", "TDBuZ", "cm8gYm90", "w0rd", "dzByZ")
"""What shows of a canary in any of these spellings, even when it is cut."""


def told(outcome: object, caplog: pytest.LogCaptureFixture) -> str:
    """Return all that a failed fetch lets out: the error, its causes with their source lines, and the logs."""
    assert isinstance(outcome, PaginatedApiError)
    assert outcome.__context__ is None, "what is not shown of an error is still there for who looks"
    return "".join(traceback.format_exception(outcome)) + repr(outcome) + caplog.text


def places(said: str) -> dict[str, Fault]:
    """Return answers that say this text in every place that an error could quote."""
    raw = said.encode("latin-1")
    header = raw.decode("latin-1").replace("\n", "")
    ok = b"HTTP/1.1 200 OK\r\n"
    return {
        "the body of a refusal": Given(403, raw),
        "the body of a refusal, around the cut": Given(400, b"x" * 190 + raw),
        "the body of an error": Given(500, raw, headers=(("X-Echo", header),)),
        "the reason": Raw(b"HTTP/1.1 404 " + raw + b"\r\nContent-Length: 0\r\n\r\n", "keep"),
        "the status line": Raw(b"HTTP/1.1 " + raw + b"\r\n\r\n"),
        "a key beside the rows": Given(200, json.dumps({said: 1}).encode()),
        "a key at the rows": Given(200, json.dumps({"data": {said: 1}}).encode()),
        "a key that is there twice": Given(200, b'{"data": [], %b: 1, %b: 2}' % ((json.dumps(said).encode(),) * 2)),
        "what is no JSON": Given(200, raw),
        "the charset": Given(200, b"{}", f"application/json; charset={header}"),
        "the coding": Given(200, b"{}", headers=(("Content-Encoding", header),)),
        "the framing": Raw(ok + b"Content-Length: " + raw + b"\r\nContent-Length: 7\r\n\r\n"),
        "the size of a chunk": Raw(ok + b"Transfer-Encoding: chunked\r\n\r\n" + raw + b"\r\n"),
        "a line that is no header": Raw(ok + raw + b"\r\nContent-Length: 0\r\n\r\n"),
        "a redirect to another host": Given(302, headers=(("Location", f"http://{header}.test/{header}"),)),
        "a redirect to a user": Given(302, headers=(("Location", f"http://{header}@a.test/"),)),
        "a redirect to what is no URL": Given(302, headers=(("Location", f"http://[{header}/"),)),
        "a redirect on the path": Given(302, headers=(("Location", f"/{header}?{header}={header}#{header}"),)),
        "a time to wait": RetryLater(header),
        "a time to wait of years": Given(429, raw, headers=(("Retry-After", "1000000000"),)),
    }


@pytest.mark.parametrize("place", places(""))
def test_an_echo(server: FaultServer, place: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said = [WORD] if "redirect to" in place else [spell(secret) for spell in SPELLINGS.values() for secret in SECRETS]
    echoes = cycle(said)
    server.faults = lambda request, nth: places(next(echoes))[place]
    known: dict[str, Any] = {
        "retry": RequestRetry(max_attempts=1),
        "timeouts": short(page=0.1),
        "secrets": SECRETS,
    }
    auth, headers = HTTPBasicAuth("ro bot", CANARY.encode()), {"X-Key": CANARY, "X-Long": LONG}
    with connect(server.url, auth=auth, headers=headers, **known) as client:
        for _ in said:
            outcome = Calls(client.fetch, [page(1, query={"key": CANARY})]).join()[0]
            text = told(outcome, caplog)
            assert [part for part in PARTS if part.lower() in text.lower()] == [], text


@pytest.mark.parametrize("fault", [ServerError(), DribbleBody(), Raw(b""), RetryLater("1000")])
def test_what_is_asked_for_is_not_repeated(server: FaultServer, fault: Fault, caplog: pytest.LogCaptureFixture) -> None:
    server.faults = lambda request, nth: fault
    path = f"employees/{quote(CANARY, safe='')}/x"
    with connect(server.url, secrets=SECRETS, timeouts=short(page=0.3), headers={"X-Key": CANARY}) as client:
        outcome = Calls(client.fetch, [page(1, path, query={CANARY: CANARY}, headers={"X-Own": CANARY})]).join()[0]
    text = told(outcome, caplog)
    assert [part for part in PARTS if part in text] == []
    assert "employees/***/x?page=1&token=***&***=***" in text


def test_the_log_tells_of_each_answer_in_place_of_urllib3(
    server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with connect(server.url, secrets=SECRETS) as client:
        client.fetch(page(1, query={"key": CANARY}))
    assert [record.name for record in caplog.records if "urllib3" in record.name] == []
    assert f"page 1 (GET {server.url}/employees?page=1&token=***&key=***): 200 OK, " in caplog.text


def test_a_session_of_somebody_elses_goes_on_to_log(server: FaultServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with connect(server.url) as client:
        client.fetch(page(1))
    with requests.Session() as session:
        session.trust_env = False
        session.get(f"{server.url}/employees?page=7")
    assert "GET /employees?page=7" in caplog.text


@pytest.mark.parametrize("path", [f"http://u:{WORD}@127.0.0.1/x", f"x#access_token={WORD}"])
def test_what_a_link_carries_is_not_repeated(server: FaultServer, path: str) -> None:
    server.faults = lambda request, nth: ServerError()
    with connect(server.url, secrets=()) as client:
        outcome = Calls(client.fetch, [page(1, path)]).join()[0]
    assert WORD not in str(outcome)


def test_values_do_not_show_what_they_hold() -> None:
    session = SessionOptions(cert=("/secret/c4n4ry.pem", "k"), proxies={"http": f"http://u:{CANARY}@p"})
    given = {"headers": {"X-Key": CANARY}, "auth": HTTPBasicAuth("a", CANARY), "secrets": SECRETS, "session": session}
    shown = repr(options("http://api", retry=QUICK, rate_limit=RateLimit(requests=1), **given))
    assert [part for part in PARTS if part in shown] == []
    assert "http://api" in shown
    assert "c4n4ry" not in repr(Endpoint("http://api", {"X-Key": CANARY}))
    assert ClientOptions(endpoint=Endpoint("http://api")).retry == RequestRetry()


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_found(spelling: str) -> None:
    text = f"<{SPELLINGS[spelling](CANARY)}>"
    assert Scrubber([CANARY])(text) == "<***>"


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", ["", "x", "xy", "xyz", '{"authorization": "Bearer '])
@pytest.mark.parametrize("after", ["", "x", "xy", '"}'])
def test_it_is_found_within_a_text_that_is_coded(encode: Callable[[bytes], bytes], before: str, after: str) -> None:
    text = encode(f"{before}{CANARY}{after}".encode()).decode()
    found = Scrubber([CANARY])(text)
    assert "***" in found
    around = f"{before}{after}".encode()
    assert len(found.replace("***", "").rstrip("=")) <= 4 * (len(around) // 3 + 2)
    assert [part for part in ("YzRuNHJ5", "M0bjRy", "jNG40c") if part in found] == []


def test_the_longest_secret_is_found_first() -> None:
    assert Scrubber(["key", "key-2", ""])("key-2 key") == "*** ***"
    assert Scrubber([])("key") == "key"


def test_secrets_may_be_learned_later() -> None:
    scrub = Scrubber(["a key"])
    scrub.learn(["t0ken", ""])
    scrub.learn(["t0ken"])
    assert scrub("a+key t0ken T0KEN") == "*** *** ***"
