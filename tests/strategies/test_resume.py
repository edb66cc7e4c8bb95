"""Every pagination style resumes where an earlier try stopped: a strategy's state survives in a file."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from airflow_paginated import Cursor, PageRequest
from airflow_paginated.collect.collection import Collection
from airflow_paginated.collect.collector import Collector
from airflow_paginated.core.deadline import NEVER
from airflow_paginated.core.errors import PageFailed, RequestRefused
from airflow_paginated.hooks.paginated_api import PAGES_PER_WORKER, PaginatedApiHook
from airflow_paginated.sinks import FileSink
from airflow_paginated.sinks.files.file_sink import local_or_fsspec
from airflow_paginated.sinks.protocol import Owner, Run
from tests.servers import Fault, FaultServer, Given, Request, Schedule, ServerError, no_faults
from tests.servers.styles import ByToken
from tests.strategies import numbered
from tests.strategies.cases import Case, case
from tests.strategies.collecting import POLICIES, Collect
from tests.strategies.test_every_style import CASES

FRAGILE = {"max_attempts": 1, "budget": 0, "allowed_methods": ["GET", "POST"]}


@dataclass
class After:
    """Lets a number of requests through, then fails."""

    good: int
    fault: Fault = field(default_factory=ServerError)
    seen: int = 0

    def __call__(self, request: Request, nth: int) -> Fault | None:
        self.seen += 1
        return self.fault if self.seen > self.good else None


@dataclass
class Task:
    """One task with many tries."""

    collect: Collect
    server: FaultServer
    case: Case
    path: Path
    workers: int
    tries: int = 0

    def run(self, faults: Schedule) -> dict[str, Any]:
        """Run one try."""
        self.tries += 1
        self.server.faults = faults
        hook, collection = self._hook(), self._collection()
        run = Run(Owner("dag", "collect", "run-1"), collection.plan(self.server.url, "styled_api"), collection.request)
        sink = FileSink(str(self.path)).resolved(local_or_fsspec)
        with closing(sink.open(run)) as dataset, hook.client(collection, NEVER) as client:
            result: dict[str, Any] = Collector(
                collection=collection,
                client=client,
                dataset=dataset,
                workers=self.workers,
                window=hook.window,
                completeness=hook.completeness,
            ).run()
            return result

    @property
    def rows(self) -> list[Any]:
        """The published rows."""
        return [json.loads(row) for row in self.path.read_bytes().splitlines()]

    @property
    def requests(self) -> int:
        """How many requests the newest try has sent; one of the try before may still arrive."""
        return sum(each.request.headers["x-try"] == str(self.tries) for each in self.server.log.requests)

    def _hook(self) -> PaginatedApiHook:
        conn_id = self.collect.connection(self.server.url, **{"X-Try": str(self.tries)})
        policies = {name: value for name, value in self.case.asked.items() if name in POLICIES}
        return PaginatedApiHook(conn_id, max_workers=self.workers, retry=FRAGILE, **policies)

    def _collection(self) -> Collection:
        asked, names = self.case.request, ("method", "query", "headers", "body")
        request = PageRequest("items", **{name: asked[name] for name in names if name in asked})
        return Collection(request=request, pagination=self.case.pagination, data_selector=asked["data_selector"])


@pytest.mark.parametrize(("workers", "good"), [(1, 7), (16, 2)])
@pytest.mark.parametrize("name", CASES)
def test_the_next_try_goes_on(collect: Collect, tmp_path: Path, name: str, workers: int, good: int) -> None:
    case = CASES[name]
    with FaultServer(case.api) as server:
        task = Task(collect, server, case, tmp_path / "rows.jsonl", workers)
        with pytest.raises(PageFailed):
            task.run(After(good))
        result = task.run(no_faults)
        assert not any(case.api.wrong(each.request) for each in server.log.requests)
    assert task.rows == [json.loads(row) for row in case.api.rows]
    landed = result["resumed_pages"]
    # Where one page follows the other, what has come is stored.
    assert landed == good if workers == 1 and not case.guesses else landed <= good
    again = 1 + len(numbered.RANGES) * (name in numbered.RANGES)
    assert task.requests <= case.pages - landed + again + case.guesses * PAGES_PER_WORKER * workers


EXPIRED = {"a refusal": Given(410, b"{}"), "a wrong request": Given(400, b'{"error": "invalid cursor"}')}


@pytest.mark.parametrize("refusal", EXPIRED.values(), ids=EXPIRED)
def test_a_cursor_that_has_expired_begins_anew(collect: Collect, tmp_path: Path, refusal: Fault) -> None:
    token = case(ByToken(), Cursor(cursor_path="next_cursor"), query={}, headers={})
    with FaultServer(token.api) as server:
        task = Task(collect, server, token, tmp_path / "rows.jsonl", workers=1)
        with pytest.raises(PageFailed):
            task.run(After(5))
        # The last landed page is asked for once more, by a cursor that is not known any more.
        result = task.run(lambda request, nth: refusal if task.requests < 1 else None)
    assert task.rows == [json.loads(row) for row in token.api.rows]
    assert result["resumed_pages"] == 0


def test_a_refusal_that_says_nothing_of_a_cursor_is_one(collect: Collect, tmp_path: Path) -> None:
    token = case(ByToken(), Cursor(cursor_path="next_cursor"), query={}, headers={})
    with FaultServer(token.api) as server:
        task = Task(collect, server, token, tmp_path / "rows.jsonl", workers=1)
        with pytest.raises(PageFailed):
            task.run(After(5))
        with pytest.raises(RequestRefused, match="403 Forbidden"):
            task.run(lambda request, nth: Given(403, b"{}"))
        assert task.run(no_faults)["resumed_pages"] == 5
