"""Faults of the paging itself: totals that are wrong, tables that move, cursors that go in circles."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_paginated import Completeness, Cursor, HeaderLink, Offset, PageNumber, PageRequest
from airflow_paginated.core.errors import IncompleteError, LimitExceeded, PageFailed, RequestRefused, ResponseError
from airflow_paginated.core.policies import Limits
from airflow_paginated.transport import ResponseRules
from tests.collect.disk import manifest
from tests.collect.running import RETRY, Job
from tests.faults.endings import exact, refused, run
from tests.faults.shelf import PAGE_SIZE, Shelf
from tests.servers import (
    CloseBeforeHeaders,
    FaultServer,
    Given,
    PagedApi,
    Reply,
    Request,
    ServerError,
    on_page,
)
from tests.servers.styles import Bare, ByLink, ByToken, Envelope, More, StyledApi, employees

HUNDRED = PagedApi(rows=1_000, page_size=10)
BY_PAGES = PageNumber(total_path="meta.total_pages", total_kind="pages")
ITEMS = PageRequest("/items")
OFFSETS = Offset(page_size=PAGE_SIZE, total_path="total")


def verdicts(path: str) -> dict[str, str]:
    """Return the verdict of each check in a manifest."""
    said = manifest(path)
    assert said is not None
    return {check["name"]: check["verdict"] for check in said["checks"]}


def shelf_job(server: FaultServer, path: object, pagination: Offset = OFFSETS, workers: int = 8, **policy: Any) -> Job:
    completeness = Completeness(**policy)
    return Job(
        url=server.url,
        path=f"{path}/",
        request=ITEMS,
        pagination=pagination,
        completeness=completeness,
        workers=workers,
    )


@pytest.mark.fault("P1")
@pytest.mark.parametrize("page", [1, 50, 100])
@pytest.mark.parametrize(("fault", "kind"), [(ServerError(500), PageFailed), (Given(404), RequestRefused)])
def test_one_page_of_a_hundred_fails_for_good(page: int, fault: Any, kind: Any, tmp_path: Path) -> None:
    before = exact_before(tmp_path)
    with FaultServer(HUNDRED, on_page(page, fault)) as server:
        ending = refused(Job(url=server.url, path=f"{tmp_path}/out/", run="run-2"), kind, before)
    assert str(ending.error).startswith(f"page {page} (GET http://127.0.0.1:")


def exact_before(tmp_path: Path) -> bytes:
    """Let an earlier run show something else at the target."""
    api = PagedApi(rows=30, page_size=10)
    with FaultServer(api) as server:
        exact(Job(url=server.url, path=f"{tmp_path}/out/", run="run-1"), api)
    return api.reference()


@pytest.mark.fault("P2")
@pytest.mark.parametrize("off", [-20, -10, -1, 1, 10, 20])
def test_a_total_that_is_off(off: int, tmp_path: Path) -> None:
    shelf = Shelf(list(range(100)), total=lambda rows: len(rows) + off)
    with FaultServer(shelf) as server:
        ending = run(shelf_job(server, tmp_path))
        assert isinstance(ending.error, IncompleteError | ResponseError)
        assert ending.visible is None
        if off > 0:
            exact(shelf_job(server, tmp_path / "warned", on_total_change="warn"), shelf)
            assert verdicts(f"{tmp_path}/warned/")["rows_equal_total"] == "waived"


@pytest.mark.fault("P2")
@pytest.mark.parametrize("at", [1, 5, 9])
def test_a_total_that_grows_in_mid_run(at: int, tmp_path: Path) -> None:
    shelf = Shelf(list(range(100)), at, lambda rows: [*rows, *range(100, 125)])
    with FaultServer(shelf) as server:
        refused(shelf_job(server, tmp_path / "fail"), IncompleteError)
    shelf = Shelf(list(range(100)), at, lambda rows: [*rows, *range(100, 125)])
    with FaultServer(shelf) as server:
        # With one worker the last page is asked for last: what grows after that is not the run's any more.
        exact(shelf_job(server, tmp_path / "extend", workers=1, on_total_change="extend"), shelf)
    assert verdicts(f"{tmp_path}/extend/")["total_is_stable"] == "unverified"
    assert verdicts(f"{tmp_path}/extend/")["rows_equal_total"] == "passed"


@pytest.mark.fault("P2")
@pytest.mark.parametrize("response_format", ["jsonl", "csv"])
def test_nothing_at_all_behind_a_full_last_page(response_format: str, tmp_path: Path) -> None:
    """An empty body is a fault of any page, but an answer to the look behind the last one."""

    def lines(request: Request) -> Reply:
        start = int(request.query["offset"])
        text = "".join(f"{row}\n" for row in range(start, min(start + 10, 100)))
        return Reply(text.encode(), 200, (("Content-Type", "text/plain"), ("X-Total-Count", "100")))

    by_header = Offset(page_size=10, total_header="X-Total-Count")
    rules = ResponseRules(response_format=response_format, csv_columns=["n"] if response_format == "csv" else None)  # type: ignore[arg-type]
    with FaultServer(lines) as server:
        job = Job(
            url=server.url,
            path=f"{tmp_path}/",
            request=ITEMS,
            pagination=by_header,
            data_selector=None,
            client={"rules": rules},
        )
        found = run(job)
        assert found.error is None
        assert found.result is not None
        assert (found.result["rows"], found.result["retries"]) == (100, 0)
        assert verdicts(f"{tmp_path}/")["nothing_beyond_total"] == "passed"


@pytest.mark.fault("P3")
@pytest.mark.parametrize("at", [1, 5, 9])
@pytest.mark.parametrize(
    "change",
    [
        lambda rows: [999, *rows],
        lambda rows: rows[1:],
        lambda rows: [999, 998, 997, *rows[:90], *rows[93:]],
        lambda rows: [*rows[3:], 999, 998, 997],
    ],
    ids=["+1", "-1", "+3 -3", "-3 +3"],
)
def test_rows_that_come_or_go_in_mid_run(change: Callable[..., list[int]], at: int, tmp_path: Path) -> None:
    every = {"key": "id", "overlap": 1}
    shelf = Shelf(list(range(100)), at, change)
    with FaultServer(shelf) as server:
        refused(shelf_job(server, tmp_path / "fail", **every), IncompleteError)
        # All that moves has moved: another try is exact.
        exact(shelf_job(server, tmp_path / "fail", **every), shelf)


@pytest.mark.fault("P3")
def test_without_total_and_key_it_is_unverified(tmp_path: Path) -> None:
    shelf = Shelf(list(range(100)), 3, lambda rows: rows[1:], total=lambda rows: None)
    by_end = Offset(page_size=PAGE_SIZE, stop_after_empty_page=True)
    with FaultServer(shelf) as server:
        assert run(shelf_job(server, tmp_path, by_end)).error is None
    said = verdicts(f"{tmp_path}/")
    assert {said[name] for name in ("rows_equal_total", "unique_key", "pages_overlap")} == {"unverified"}


class Circle:
    """Pages whose cursors lead from A to B and back to A."""

    def __call__(self, request: Request) -> Reply:
        here = request.query.get("cursor", "A")
        rows = {"A": [1, 2], "B": [3, 4]}[here]
        return Reply(json.dumps({"data": rows, "next": "A" if here == "B" else "B"}).encode())


@pytest.mark.fault("P4")
def test_a_cursor_that_goes_in_circles(tmp_path: Path) -> None:
    with FaultServer(Circle()) as server:
        job = Job(url=server.url, path=f"{tmp_path}/", pagination=Cursor(cursor_path="next"))
        ending = refused(job, IncompleteError)
        assert "page 3 of partition 0 has the same rows as an earlier page" in str(ending.error)
        assert len(server.log.requests) <= 4


@pytest.mark.fault("P4", "P5")
def test_empty_pages_are_exempt(tmp_path: Path) -> None:
    api = StyledApi(rows=employees(100), asked=ByToken(empty=(1, 3, 4)), shape=Envelope())
    with FaultServer(api) as server:
        job = Job(url=server.url, path=f"{tmp_path}/", request=ITEMS, pagination=Cursor(cursor_path="next_cursor"))
        assert exact(job, api)["pages"] == 8


@pytest.mark.fault("P5")
def test_a_short_page_in_the_middle(tmp_path: Path) -> None:
    """The API filters after paging: only its flag says where the end is."""
    kept = [row for row in range(100) if row // 10 not in (2, 5) and row % 10 != row // 10]

    def filtered(request: Request) -> Reply:
        page = int(request.query["page"]) - 1
        rows = [{"id": row} for row in kept if row // 10 == page]
        return Reply(json.dumps({"data": rows, "has_more": page < 9}).encode())

    with FaultServer(filtered) as server:
        found = run(Job(url=server.url, path=f"{tmp_path}/", pagination=PageNumber(has_more_path="has_more")))
    assert found.visible == b"".join(b'{"id": %d}\n' % row for row in kept)


ODD_LINKS = {
    "two relations": '<{next}>; rel="last next"',
    "upper case": "<{next}>; REL=NEXT",
    "semicolon": '<{next}>; title="a;b,c"; rel=next',
    "others before": '</first>; rel="first", <{next}>; rel="next"',
    "space": '<{next}>;rel = "next"',
}


@pytest.mark.fault("P6")
@pytest.mark.parametrize("wrote", ODD_LINKS.values(), ids=ODD_LINKS)
def test_an_odd_link_header(wrote: str, tmp_path: Path) -> None:
    def headers(targets: Any, host: str) -> Any:
        return (("Link", wrote.format(next=targets["next"])),) if "next" in targets else ()

    asked = ByLink(headers=headers, query=lambda number: f"a;b=1&page={number}")
    api = StyledApi(rows=employees(50), asked=asked, shape=Bare())
    with FaultServer(api) as server:
        exact(Job(url=server.url, path=f"{tmp_path}/", request=ITEMS, pagination=HeaderLink(), data_selector=None), api)


@pytest.mark.fault("P6")
def test_a_cursor_that_is_missing_where_one_is_required(tmp_path: Path) -> None:
    """The API says that there is more, and does not say where."""
    api = StyledApi(rows=employees(50), asked=ByToken(end="null"), tells=(More(),), shape=Envelope())

    def forgetful(request: Request) -> Reply:
        body = json.loads(api(request).body)
        return Reply(json.dumps({**body, "next_cursor": None}).encode())

    with FaultServer(forgetful) as server:
        by_cursor = Cursor(cursor_path="next_cursor", has_more_path="has_more")
        refused(Job(url=server.url, path=f"{tmp_path}/", request=ITEMS, pagination=by_cursor), ResponseError)
        no_cursor = Cursor(cursor_path="meta.next")
        refused(Job(url=server.url, path=f"{tmp_path}/", request=ITEMS, pagination=no_cursor), ResponseError)


@pytest.mark.fault("P7")
def test_a_post_whose_reply_is_lost(tmp_path: Path) -> None:
    in_body = PageNumber(total_path="meta.total", inject_into="body")
    search = PageRequest("/employees", method="POST", body={})
    with FaultServer(HUNDRED, on_page(7, CloseBeforeHeaders(), times=1)) as server:
        job = Job(url=server.url, path=f"{tmp_path}/", request=search, pagination=in_body)
        ending = refused(job)
        assert "allowed_methods" in str(ending.error)
        assert server.log.counts["", 6] == 1
    with FaultServer(HUNDRED, on_page(7, CloseBeforeHeaders(), times=1)) as server:
        retry = RETRY.__class__(backoff_factor=0.02, allowed_methods=frozenset({"POST"}))
        job = Job(
            url=server.url,
            path=f"{tmp_path}/",
            request=search,
            pagination=in_body,
            run="run-2",
            client={"retry": retry},
        )
        exact(job, HUNDRED)
        assert server.log.counts["", 6] == 2


@pytest.mark.fault("P8")
def test_more_pages_than_max_pages(tmp_path: Path) -> None:
    with FaultServer(HUNDRED) as server:
        for number, stop in enumerate([{"total_path": "meta.total"}, {"has_more_path": "has_more"}]):
            job = Job(url=server.url, path=f"{tmp_path}/{number}/", pagination=PageNumber(**stop))
            for cap in ({"max_pages": 99}, {"max_rows": 999}):
                ending = refused(replace(job, limits=Limits(**cap)), LimitExceeded)
                assert f"limits.{next(iter(cap))} is" in str(ending.error)
            exact(replace(job, limits=Limits(max_pages=100, max_rows=1000)), HUNDRED)


@pytest.mark.fault("P9")
@pytest.mark.parametrize("totals", [True, False])
@pytest.mark.parametrize("workers", [1, 8])
def test_a_server_that_ignores_the_page_parameter(totals: bool, workers: int, tmp_path: Path) -> None:
    stop: dict[str, Any] = {"total_path": "meta.total"} if totals else {"stop_after_empty_page": True}
    with FaultServer(HUNDRED) as server:
        by_other_name = PageNumber(page_param="seite", **stop)
        job = Job(url=server.url, path=f"{tmp_path}/", pagination=by_other_name, workers=workers)
        ending = refused(job, IncompleteError)
        assert "page 2 of partition 0 has the same rows as an earlier page" in str(ending.error)
        assert len(server.log.requests) <= 1 + 5 * workers


@pytest.mark.fault("P10")
@pytest.mark.parametrize("kind", ["numbers", "offsets"])
def test_a_server_that_clamps_the_page_size(kind: str, tmp_path: Path) -> None:
    api = PagedApi(rows=1_050, page_size=100, max_page_size=100)
    many: dict[str, Any] = {"page_size": 1_000, "total_path": "meta.total"}
    pagination = Offset(**many) if kind == "offsets" else PageNumber(page_size_param="per_page", **many)
    with FaultServer(api) as server:
        assert exact(Job(url=server.url, path=f"{tmp_path}/", pagination=pagination), api)["pages"] == 11


@pytest.mark.fault("P10")
def test_a_later_page_that_is_clamped_more(tmp_path: Path) -> None:
    """From page 3 on the server serves half of what it did: offsets that go on in whole steps skip the other half."""

    def stingy(request: Request) -> Reply:
        start = int(request.query["offset"])
        rows = [{"id": row} for row in range(start, min(start + (10 if start < 20 else 5), 60))]
        return Reply(json.dumps({"data": rows}).encode())

    by_end: dict[str, Any] = {"page_size": 10, "stop_after_empty_page": True}
    with FaultServer(stingy) as server:
        job = Job(url=server.url, path=f"{tmp_path}/", request=ITEMS, pagination=Offset(**by_end))
        ending = refused(job, ResponseError)
        assert "step='received'" in str(ending.error)
        found = run(
            Job(url=server.url, path=f"{tmp_path}/", request=ITEMS, pagination=Offset(**by_end, step="received"))
        )
        assert found.visible == b"".join(b'{"id": %d}\n' % row for row in range(60))
