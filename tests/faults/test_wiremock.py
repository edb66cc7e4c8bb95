"""A second opinion: faults as WireMock makes them, a server that is not of this project and runs in Java."""

from __future__ import annotations

import json
import shutil
import sys
from base64 import b64encode
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from airflow_paginated.core.errors import PageFailed
from airflow_paginated.core.policies import Timeouts
from airflow_paginated.transport import RequestRetry
from tests.collect.running import RETRY, Job
from tests.faults.endings import exact, refused
from tests.faults.in_time import PATIENT, in_time
from tests.servers import ChildServer, PagedApi
from tests.servers.process import ROOT
from tests.servers.wire import Request as Asked

API: Final = PagedApi(rows=950)
PAGES: Final = range(1, 11)
SPOILT: Final = (1, 2, 5, 8)
JAVA: Final = shutil.which("java") or ""
JARS: Final = [str(jar) for jar in (ROOT / ".node/node_modules/wiremock/build").glob("wiremock-standalone-*.jar")]
# Proxies of the environment must not come between a test and loopback.
_OPENER: Final = build_opener(ProxyHandler({}))
pytestmark = pytest.mark.skipif(
    not (JAVA and JARS),
    reason="no Java (Debian: apt-get install openjdk-17-jre-headless)"
    if not JAVA
    else "WireMock is not there: .ci/install-node-packages installs it where npm is",
)
Stub = dict[str, Any]
Record = Callable[[str, object], None]


@dataclass(frozen=True)
class WireMock:
    """A running WireMock."""

    url: str

    def serve(self, fault: Mapping[str, Any], times: int | None = None, pages: Collection[int] = SPOILT) -> None:
        """Serve the API, some pages with a fault, the first so many times or always."""
        self.admin("/reset")
        stubs = [stub for page in PAGES for stub in _stubs(page, fault if page in pages else None, times)]
        self.admin("/mappings/import", {"mappings": stubs})

    def asked(self, page: int) -> int:
        """Count the requests for a page."""
        count: int = self.admin("/requests/count", _request(page))["count"]
        return count

    def admin(self, path: str, body: object = None) -> Any:
        """Use its control interface."""
        data = json.dumps(body or {}).encode()
        with _OPENER.open(Request(f"{self.url}/__admin{path}", data=data), timeout=30) as response:
            return json.loads(response.read() or b"null")


def _request(page: int) -> Stub:
    return {"method": "GET", "urlPath": "/employees", "queryParameters": {"page": {"equalTo": str(page)}}}


def _stubs(page: int, fault: Mapping[str, Any] | None, times: int | None) -> Iterator[Stub]:
    """Yield what a page is answered with: the fault, so many times, then itself."""
    reply = API(Asked("GET", "/employees", {"page": str(page)}))
    good = {"status": 200, "headers": dict(reply.headers), "base64Body": b64encode(reply.body).decode()}
    # What a fault says of headers is added to those of the response.
    bad = None if fault is None else {**good, **fault, "headers": {**good["headers"], **fault.get("headers", {})}}
    states = ["Started", *(f"failed {nth}" for nth in range(1, (times or 0) + 1))]
    for state, following in zip(states, [*states[1:], None], strict=True):
        last = following is None
        response = good if bad is None or (last and times is not None) else bad
        moves = {} if last else {"newScenarioState": following}
        yield {
            "scenarioName": f"page {page}",
            "requiredScenarioState": state,
            "request": _request(page),
            "response": response,
            **moves,
        }


@pytest.fixture(scope="module")
def wiremock() -> Iterator[WireMock]:
    """Run it once; each test begins with a reset."""
    with ChildServer(sys.executable, "-m", "tests.faults.wiremock_server", JAVA, JARS[0]) as process:
        yield WireMock(process.url)


def survives(wiremock: WireMock, fault: Mapping[str, Any], path: str, record: Record, **client: Any) -> None:
    """Let four pages fail twice: the rows are exact. Let one fail for good: the task fails, and names it."""
    wiremock.serve(fault, times=2)
    result = exact(Job(url=wiremock.url, path=f"{path}/out/", client={"retry": PATIENT, **client}), API)
    assert result["retries"] >= 2 * len(SPOILT)
    assert all(wiremock.asked(page) >= 3 for page in SPOILT)
    wiremock.serve(fault, pages=[5])
    client = {"retry": RequestRetry(max_attempts=3, backoff_factor=0.0), **client}
    ending = refused(Job(url=wiremock.url, path=f"{path}/never/", client=client), PageFailed)
    assert f"page 5 (GET {wiremock.url}/employees?page=5) failed in " in str(ending.error)
    # One more than is charged, where the first one was on a connection that had been idle.
    assert 3 <= wiremock.asked(5) <= 4
    record("runs", 2 * len(SPOILT) + wiremock.asked(5))


@pytest.mark.fault("T1")
@pytest.mark.parametrize("kind", ["CONNECTION_RESET_BY_PEER", "EMPTY_RESPONSE", "RANDOM_DATA_THEN_CLOSE"])
def test_no_headers_come(wiremock: WireMock, kind: str, tmp_path: Path, record_property: Record) -> None:
    survives(wiremock, {"fault": kind}, str(tmp_path), record_property)


@pytest.mark.fault("T3")
@pytest.mark.parametrize("length", ["99999", "999"], ids=["short", "long"])
def test_a_body_is_not_as_long_as_it_says(
    wiremock: WireMock, length: str, tmp_path: Path, record_property: Record
) -> None:
    # A body that is compressed is not as long as a stub says anyway.
    plain = {"Accept-Encoding": "identity"}
    survives(wiremock, {"headers": {"Content-Length": length}}, str(tmp_path), record_property, headers=plain)


@pytest.mark.fault("T4")
def test_chunks_are_malformed(wiremock: WireMock, tmp_path: Path, record_property: Record) -> None:
    survives(wiremock, {"fault": "MALFORMED_RESPONSE_CHUNK"}, str(tmp_path), record_property)


STALLS: Final = {
    "before the headers": {"fixedDelayMilliseconds": 8_000},
    "in the body": {"chunkedDribbleDelay": {"numberOfChunks": 2, "totalDuration": 16_000}},
}


@pytest.mark.fault("T8")
@pytest.mark.parametrize("where", STALLS)
def test_a_response_stalls(wiremock: WireMock, where: str, tmp_path: Path, record_property: Record) -> None:
    timeouts = Timeouts(attempt=0.3)
    survives(wiremock, STALLS[where], str(tmp_path), record_property, timeouts=timeouts)


@pytest.mark.fault("T9")
def test_a_body_comes_in_drops(wiremock: WireMock, tmp_path: Path) -> None:
    wiremock.serve({"chunkedDribbleDelay": {"numberOfChunks": 1_000, "totalDuration": 20_000}}, pages=[1])
    in_time(Job(url=wiremock.url, path=f"{tmp_path}/out/"))


@pytest.mark.fault("T9")
def test_a_body_that_takes_its_time_is_a_page(wiremock: WireMock, tmp_path: Path) -> None:
    wiremock.serve({"chunkedDribbleDelay": {"numberOfChunks": 20, "totalDuration": 200}}, pages=PAGES)
    assert exact(Job(url=wiremock.url, path=f"{tmp_path}/out/", client={"retry": RETRY}), API)["retries"] == 0
