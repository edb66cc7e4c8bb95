"""Runs over a table that changes between them: each change once, whoever fails, dies or runs beside another."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_paginated.operators.watermark import FolderStore, Watermark
from airflow_paginated.paging import Completeness, Incremental
from airflow_paginated.paging.errors import (
    Cancelled,
    IncompleteError,
    PaginatedApiError,
    ResponseError,
    StoreError,
    TargetError,
    WatermarkMoved,
)
from airflow_paginated.sinks.files.local_storage import LocalStorage
from tests.pipeline.collect import Job, collect
from tests.pipeline.disk import leftovers, manifest, proved, published
from tests.pipeline.tries import Manner, Try
from tests.servers import FaultServer, Reply, Request, ServerError, on_page, seven_faults
from tests.servers.changing import ChangingTable

NOON: Final = datetime(2024, 3, 30, 12, tzinfo=UTC)


def at(seconds: float) -> str:
    return (NOON + timedelta(seconds=seconds)).isoformat()


@dataclass(frozen=True)
class Site:
    """An API with a table that changes, and a place for what is collected of it."""

    server: FaultServer
    table: ChangingTable
    folder: Path
    policy: Mapping[str, Any] = field(default_factory=dict)

    def job(self, run: str, target: str = "{run}/", **known: Any) -> Job:
        given = {"param": "updated_since", "initial_value": at(0), "state_path": f"{self.folder}/state", **self.policy}
        return Job(
            url=self.server.url,
            path=f"{self.folder}/{target.format(run=run)}",
            run=run,
            workers=2,
            incremental=Incremental(field="updated_at", **given),
            **known,
        )

    def run(self, run: str, **known: Any) -> list[Any]:
        """Collect and return what the run has published."""
        job = self.job(run, **known)
        collect(job)
        return self.rows(job)

    def rows(self, job: Job) -> list[Any]:
        return [json.loads(line) for line in proved(job.path).splitlines()]

    @property
    def state(self) -> Any:
        """What the newest state says, read with no code of the package."""
        names = sorted((self.folder / "state").glob("watermark-*.json"))
        return json.loads(names[-1].read_text()) if names else None

    def with_policy(self, **policy: Any) -> Site:
        return replace(self, policy={**self.policy, **policy})


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    table = ChangingTable()
    with FaultServer(table) as server:
        yield Site(server, table, tmp_path)


def fill(site: Site, count: int = 8) -> None:
    for key in range(count):
        site.table.change(key, at(key))


@pytest.mark.parametrize("target", ["{run}/", "{run}.jsonl"])
@pytest.mark.parametrize(
    ("lookback", "inclusive", "start"), [(0, True, 7), (3, True, 4), (3, False, 4), (0.5, True, 6)]
)
def test_three_runs_bring_each_change_once(
    site: Site, lookback: float, inclusive: bool, start: int, target: str
) -> None:
    site.table.inclusive = inclusive
    site = site.with_policy(lookback=lookback)
    fill(site)
    if not inclusive:
        site.table.rows.pop(0)
    expected = list(site.table.rows.values())
    assert site.run("run-1", target=target) == expected
    assert site.run("run-2", target=target) == []
    changed = [site.table.change(3, at(20)), site.table.change(9, at(21))]
    if lookback == 3:
        # It could not be seen until now, though it is from before the watermark.
        changed.append(site.table.change(10, at(4.5)))
    assert site.run("run-3", target=target) == changed
    assert site.run("run-4", target=target) == []
    assert list(dict.fromkeys(site.table.asked)) == [at(0), at(start), at(21 - lookback).replace(".500000", "")]
    said = manifest(site.job("run-3", target=target).path)
    assert said is not None
    assert said["watermark"] == at(21)
    assert said["plan"]["incremental"] == {"field": "updated_at", "after": 1, "start": at(start)}
    (check,) = [each for each in said["checks"] if each["name"] == "only_changes"]
    assert check["evidence"].startswith(f"{len(changed)} of ")


def test_the_result_tells_the_watermark(site: Site) -> None:
    fill(site)
    assert collect(site.job("run-1"))["watermark"] == at(7)
    result = collect(site.job("run-2"))
    assert (result["watermark"], result["rows"], result["files"], result["complete"]) == (at(7), 0, 0, True)


def test_everything_is_fetched_where_the_api_cannot_tell_what_has_changed(site: Site) -> None:
    site = site.with_policy(param=None, initial_value=None)
    fill(site)
    assert len(site.run("run-1")) == 8
    changed = site.table.change(3, at(20))
    assert site.run("run-2") == [changed]
    assert set(site.table.asked) == {None}


def test_rows_without_a_value_fail_or_are_left_out(site: Site) -> None:
    fill(site)
    site.table.change(4, None)
    with pytest.raises(ResponseError, match="'updated_at' is missing or null in a row of page 2"):
        site.run("run-1")
    assert site.state is None
    assert [row["id"] for row in site.with_policy(on_missing="exclude").run("run-1")] == [0, 1, 2, 3, 5, 6, 7]


def refuse() -> None:
    raise Cancelled("told to stop")


@pytest.mark.parametrize("failing", ["publish", "check", "page"])
def test_a_run_that_fails_does_not_move_the_watermark(site: Site, failing: str) -> None:
    fill(site)
    site.run("run-1")
    before = site.state
    changed = [site.table.change(key, at(20 + key)) for key in range(5)]
    job = site.job("run-2", completeness=Completeness(min_rows=100 if failing == "check" else 0))
    if failing == "page":
        site.server.faults = on_page(2, ServerError())
    kind = {"publish": Cancelled, "check": IncompleteError, "page": PaginatedApiError}[failing]
    with pytest.raises(kind):
        collect(job, proceed=refuse if failing == "publish" else None)
    assert published(job.path) is None
    assert site.state == before
    site.server.faults = lambda request, nth: None
    assert site.run("run-3") == changed


def test_what_may_not_be_all_does_not_move_the_watermark(site: Site) -> None:
    def of_one_more(request: Request) -> Reply:
        answer = json.loads(site.table(request).body)
        answer["meta"]["total"] += 1
        return Reply(json.dumps(answer).encode())

    fill(site)
    site.run("run-1")
    changed = [site.table.change(3, at(20))]
    site.server.app = of_one_more
    result = collect(site.job("run-2", completeness=Completeness(on_total_change="warn", look_beyond=False)))
    assert (result["rows"], result["complete"], result["watermark"]) == (1, False, at(7))
    assert site.state["watermark"] == at(7)
    site.server.app = site.table
    assert site.run("run-3") == changed


def test_a_try_that_published_and_died_is_made_good_by_the_next(site: Site) -> None:
    fill(site)
    site.run("run-1")
    changed = [site.table.change(3, at(20))]

    class Full(LocalStorage):
        def create(self, name: str, data: bytes) -> bool:
            raise StoreError("no space left")

    class Dying(Job):
        @property
        def watermark(self) -> Watermark:
            store = FolderStore(Full(f"{site.folder}/state", f"{'0' * 16}-{'0' * 8}"))
            assert self.incremental is not None
            return Watermark(self.incremental, store, self.identity.owner, self.request.path)

    job = site.job("run-2")
    with pytest.raises(StoreError, match="no space left"):
        collect(Dying(**{name: getattr(job, name) for name in job.__dataclass_fields__}))
    # Visible, and not yet counted: whatever may be done to a target that exists, the same run begins where it began.
    assert site.rows(job) == changed
    assert site.state["watermark"] == at(7)
    changed.append(site.table.change(9, at(21)))
    for mode in ("skip", "fail"):
        assert site.run("run-2", sink={"if_exists": mode}) == changed
    assert site.state["watermark"] == at(21)
    assert site.run("run-3") == []


def test_the_last_run_can_be_made_again_and_an_older_one_not(site: Site) -> None:
    fill(site)
    site.run("run-1")
    changed = [site.table.change(3, at(20))]
    assert site.run("run-2") == changed
    assert site.run("run-2") == changed
    assert site.run("run-2", sink={"if_exists": "skip"}) == changed
    requests = len(site.table.asked)
    with pytest.raises(TargetError, match="has what this run published, up to '2024-03-30T12:00:07"):
        site.run("run-1")
    assert len(site.run("run-1", sink={"if_exists": "skip"})) == 8
    assert len(site.table.asked) == requests
    assert site.run("run-3") == []


def test_a_run_from_before_the_watermark_was_kept_is_collected_again(site: Site) -> None:
    fill(site)
    collect(replace(site.job("run-1"), incremental=None))
    assert len(site.run("run-1")) == 8


def test_a_run_is_made_again_from_a_watermark_that_was_set_back(site: Site) -> None:
    fill(site)
    site.run("run-1")
    site.table.change(3, at(20))
    site.run("run-2")
    site.table.change(4, at(30))
    site.run("run-3")
    for path in (site.folder / "state").iterdir():
        path.unlink()
    (site.folder / "state/watermark-00000001.json").write_text(json.dumps({"watermark": at(7)}))
    assert [row["id"] for row in site.run("run-2")] == [3, 4, 7]


def test_one_target_for_all_runs_has_the_changes_of_the_last(site: Site) -> None:
    fill(site)
    assert len(site.run("run-1", target="out/")) == 8
    changed = [site.table.change(3, at(20))]
    assert site.run("run-2", target="out/") == changed
    # Another run by now owns the target: the first one goes on as a new one would.
    changed = [site.table.change(4, at(21))]
    assert site.run("run-1", target="out/") == changed
    assert leftovers(f"{site.folder}/out/") == set()


def steps_of(site: Site, run: str) -> int:
    """Return how often a run asks whether it may go on while it publishes."""
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    collect(site.job(run), proceed=count)
    return steps


# From the end: 1 is when all but the manifest is there, 2 before the last look at the watermark.
@pytest.mark.parametrize("left", [2, 3, 5, 9])
def test_of_two_runs_at_once_one_publishes_and_the_other_begins_again(site: Site, left: int) -> None:
    fill(site)
    steps = steps_of(site, "run-1")
    for key in range(8):
        site.table.change(key, at(20 + key))
    older = site.job("run-2")
    with Try(older, Manner(freeze=steps - left)) as frozen:
        assert frozen.frozen()
        site.table.change(9, at(40))
        newer = site.run("run-3")
        assert len(newer) == 9
        state = site.state
        frozen.signal(signal.SIGCONT)
        lost = frozen.wait()
    assert lost.error == "WatermarkMoved", lost.text
    assert published(older.path) is None
    assert leftovers(older.path) <= {"_pages"}
    assert site.state == state
    site.table.change(2, at(41))
    # The next try of the older one: only what the newer one has not published.
    assert site.run("run-2") == [site.table.rows[2]]


def test_two_runs_that_publish_in_the_same_moment_are_told_of(site: Site) -> None:
    fill(site)
    steps = steps_of(site, "run-1")
    for key in range(8):
        site.table.change(key, at(20 + key))
    older = site.job("run-2")
    with Try(older, Manner(freeze=steps - 1)) as frozen:
        assert frozen.frozen()
        site.table.change(9, at(40))
        site.run("run-3")
        state = site.state
        frozen.signal(signal.SIGCONT)
        lost = frozen.wait()
    assert lost.error == "TargetError"
    assert "run 'run-3'" in lost.text
    assert "remove that of this run" in lost.text
    assert site.state == state
    with pytest.raises(TargetError, match="later runs have gone on from there"):
        site.run("run-2")


@pytest.mark.parametrize("seed", range(3))
def test_three_runs_under_faults_and_kills(site: Site, seed: int) -> None:
    site.table.page_size = 10
    site = site.with_policy(lookback=30)
    fill(site, 200)
    site.server.faults = seven_faults(0.1, seed=seed)
    expected: Counter[str] = Counter()
    delivered: Counter[str] = Counter()
    for number in range(3):
        expected.update({json.dumps(row) for row in site.table.rows.values()} - set(expected))
        job = site.job(f"run-{number}")
        site.server.latency = 0.01
        with Try(job) as doomed:
            time.sleep(0.02 * seed)
            doomed.kill()
        site.server.latency = 0.0
        with Try(job) as good:
            result = good.wait().result
        assert result is not None
        assert result["watermark"] == max(row["updated_at"] for row in site.table.rows.values())
        delivered.update(json.dumps(row) for row in site.rows(job))
        for key in range(number, 220, 7):
            site.table.change(key, at(300 * (number + 1) - key / 10))
    assert delivered == expected


def failed(site: Site, run: str) -> Job:
    """Return a job that has failed at page 4; what made it fail is over."""
    job = replace(site.job(run), workers=1)
    site.server.faults = on_page(4, ServerError())
    with pytest.raises(PaginatedApiError, match="page 4"):
        collect(job)
    site.server.faults = lambda request, nth: None
    return job


def test_a_retry_asks_for_the_same_and_goes_on(site: Site) -> None:
    fill(site)
    site.run("run-1")
    for key in range(12):
        site.table.change(key, at(20 + key))
    job = failed(site, "run-2")
    result = collect(job)
    assert (result["resumed_pages"], result["rows"], result["watermark"]) == (3, 12, at(31))
    assert set(site.table.asked) == {at(0), at(7)}


def test_what_another_run_has_published_meanwhile_a_retry_does_not_ask_for_again(site: Site) -> None:
    fill(site)
    site.run("run-1")
    for key in range(12):
        site.table.change(key, at(20 + key))
    job = failed(site, "run-2")
    assert len(site.run("run-3")) == 12
    # What it had stored is of no use: the run now begins elsewhere.
    result = collect(job)
    assert (result["resumed_pages"], result["rows"]) == (0, 0)


def now() -> str:
    return datetime.now(UTC).isoformat()


def test_a_row_that_changes_behind_a_run_comes_with_the_next(site: Site) -> None:
    for key in range(9):
        site.table.change(key, now())

    def behind(number: int) -> None:
        if number == 3:
            site.table.change(0, now(), behind=True)
            site.table.change(8, now(), ahead=True)

    site.table.on_page = behind
    first = site.run("run-1")
    assert [row["id"] for row in first if len(row) > 2] == [8]
    site.table.on_page = lambda number: None
    assert site.run("run-2") == [site.table.rows[0]]
    assert site.run("run-3") == []


def test_a_row_that_changes_between_two_tries_comes_with_the_next_run(site: Site) -> None:
    for key in range(12):
        site.table.change(key, now())
    job = failed(site, "run-1")
    missed, seen = site.table.change(0, now(), behind=True), site.table.change(11, now(), ahead=True)
    assert collect(job)["resumed_pages"] == 3
    assert missed not in site.rows(job)
    assert seen in site.rows(job)
    assert site.run("run-2") == [missed]


@settings(max_examples=15)
@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(-12, 12)), min_size=1, max_size=25),
    st.integers(1, 4),
    st.integers(0, 2**16),
)
def test_the_watermark_is_the_maximum_whatever_faults_there_are(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], workers: int, seed: int
) -> None:
    table = ChangingTable()
    for key, (seconds, hours) in enumerate(changes):
        table.change(key, (NOON + timedelta(seconds=seconds, hours=hours)).isoformat())
    with FaultServer(table, seven_faults(0.2, seed=seed)) as server:
        site = Site(server, table, tmp_path_factory.mktemp("site"), {"initial_value": None})
        result = collect(replace(site.job("run-1"), workers=workers))
    assert datetime.fromisoformat(result["watermark"]) == NOON + max(
        timedelta(seconds=seconds, hours=hours) for seconds, hours in changes
    )


def test_of_two_runs_that_end_at_once_none_moves_the_watermark_back(site: Site) -> None:
    """Each of several processes, over and over: publish, or be told that another was faster."""
    fill(site)
    site.run("run-0")
    for turn in range(4):
        site.table.change(turn, at(100 * (turn + 1)))
        jobs = [site.job(f"run-{turn}-{number}") for number in range(3)]
        tries = [Try(job) for job in jobs]
        outcomes = [one.wait() for one in tries]
        assert any(outcome.result is not None for outcome in outcomes)
        assert {outcome.error for outcome in outcomes} <= {"", WatermarkMoved.__name__, TargetError.__name__}
        assert site.state["watermark"] == at(100 * (turn + 1))
