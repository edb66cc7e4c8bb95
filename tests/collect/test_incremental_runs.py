"""Runs over a table that changes between them: each change once, and what moves the watermark."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from airflow_paginated import Completeness
from airflow_paginated.collect.watermark import FolderStore, Watermark
from airflow_paginated.core.errors import (
    Cancelled,
    IncompleteError,
    PaginatedApiError,
    ResponseError,
    StoreError,
    TargetError,
)
from airflow_paginated.sinks.files.local_storage import LocalStorage
from tests.collect.changing import Site, at, fill
from tests.collect.disk import leftovers, manifest, published
from tests.collect.running import Job, collect
from tests.servers import Reply, Request, ServerError, on_page


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
    assert [row["id"] for row in site.with_policy(missing_value="exclude").run("run-1")] == [0, 1, 2, 3, 5, 6, 7]


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
        collect(job, check_cancelled=refuse if failing == "publish" else None)
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
    result = collect(site.job("run-2", completeness=Completeness(on_total_change="warn", probe_past_end=False)))
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
