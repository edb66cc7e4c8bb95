from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest

from airflow_paginated.core.errors import ClaimLost, StoreError
from airflow_paginated.sinks.files import segments
from tests.sinks.conftest import Lake
from tests.sinks.pages import Api, collect, missing, record_of, report_of, run_of, store_pages
from tests.sinks.reading import published
from tests.sinks.s3_server import Fault, S3Server

API = Api(pages=5, partitions=3)


def test_going_on_after_a_try_that_closed(lake: Lake) -> None:
    dataset = lake.open()
    store_pages(dataset, islice(API.landings(), 7))
    dataset.close()
    dataset.close()
    again = lake.open()
    assert list(again.records()) == [record_of(API.landing((part,), page)) for part, page in stored(7)]
    assert list(again.unfinished()) == [
        record_of(API.landing((part,), page)) for part, page in ((0, 2), (1, 1), (2, 1))
    ]
    assert again.last((7,)) is None
    assert len(list(missing(again, API))) == 15 - 7 + 3
    collect(again, API)
    assert published(lake) == API.lines()
    assert not any("_staging" in name for name in lake.files())


def stored(count: int) -> list[tuple[int, int]]:
    """Return partition and index of the first pages to store, in the order of the dataset."""
    return sorted((number % 3, number // 3) for number in range(count))


def test_nothing_is_visible_before_it_is_published(near: Lake) -> None:
    dataset = near.open()
    store_pages(dataset, API.landings())
    dataset.close()
    assert {name.partition("/")[0] for name in near.files()} == {"_staging"}


def test_a_local_try_that_was_killed_loses_nothing_it_landed(local: Lake) -> None:
    dataset = local.open()
    store_pages(dataset, islice(API.landings(), 7))
    again = local.open()
    assert len(list(again.records())) == 7
    collect(again, API)
    assert published(local) == API.lines()


@pytest.mark.parametrize("kind", ["memory", "store"])
def test_a_store_loses_at_most_the_open_segment(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake: Lake = request.getfixturevalue(kind)
    monkeypatch.setattr(segments, "MAX_PAGES", 3)
    dataset = lake.open()
    store_pages(dataset, islice(API.landings(), 8))
    again = lake.open()
    assert len(list(again.records())) == 6
    collect(again, API)
    assert published(lake) == API.lines()


@pytest.mark.parametrize(("limit", "value"), [("MAX_BYTES", 1_000), ("MAX_PAGES", 2), ("MAX_SECONDS", 0.0)])
def test_segments_are_bounded(near: Lake, monkeypatch: pytest.MonkeyPatch, limit: str, value: float) -> None:
    monkeypatch.setattr(segments, limit, value)
    dataset = near.open()
    store_pages(dataset, API.landings())
    assert sum("segment-" in name for name in near.files()) >= 5
    collect(dataset, API)
    assert published(near) == API.lines()


def test_more_segments_than_can_be_open(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "MAX_PAGES", 3)
    monkeypatch.setattr(segments, "OPEN_READERS", 2)
    collect(lake.open(), API)
    assert published(lake) == API.lines()


@pytest.mark.parametrize("cut", [1, 40, 300, 1200])
def test_a_torn_tail_is_collected_again(local: Lake, cut: int) -> None:
    dataset = local.open()
    store_pages(dataset, islice(API.landings(), 7))
    segment = next(Path(local.root).rglob("segment-*"))
    os.truncate(segment, segment.stat().st_size - cut)
    again = local.open()
    assert 4 <= len(list(again.records())) <= 6
    collect(again, API)
    assert published(local) == API.lines()


def test_a_hole_in_the_log_starts_its_partitions_over(
    local: Lake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(segments, "MAX_PAGES", 3)
    dataset = local.open()
    store_pages(dataset, islice(API.landings(), 9))
    dataset.close()
    os.truncate(min(Path(local.root).rglob("segment-*")), 600)
    dataset = local.open()
    store_pages(dataset, missing(dataset, API))
    dataset.close()
    again = local.open()
    assert len(list(again.records())) == 15
    collect(again, API)
    assert published(local) == API.lines()
    assert "is damaged" in caplog.text


def test_a_gap_is_closed_by_starting_over(local: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "MAX_PAGES", 3)
    dataset = local.open()
    store_pages(dataset, islice(API.landings(), 9))
    dataset.close()
    min(Path(local.root).rglob("segment-*")).unlink()
    again = local.open()
    assert list(again.records()) == []
    collect(again, API)
    assert published(local) == API.lines()


def test_damaged_rows_are_never_published(local: Lake) -> None:
    dataset = local.open()
    store_pages(dataset, API.landings())
    segment = next(Path(local.root).rglob("segment-*"))
    data = bytearray(segment.read_bytes())
    data[-10:-5] = b"XXXXX"
    segment.write_bytes(data)
    with pytest.raises(StoreError, match="is damaged"):
        dataset.publish(report_of(dataset))
    dataset.close()
    assert not [name for name in local.files() if not name.startswith("_staging/")]
    again = local.open()
    assert list(again.records()) == []
    collect(again, API)
    assert published(local) == API.lines()


def test_a_partition_that_starts_over(lake: Lake) -> None:
    dataset = lake.open()
    store_pages(dataset, islice(API.landings(), 9))
    dataset.restart((1,))
    assert dataset.last((1,)) is None
    dataset.close()
    again = lake.open()
    assert again.last((1,)) is None
    newer = Api(pages=5, partitions=3, version=2)
    store_pages(again, [newer.landing((1,), page) for page in range(5)])
    collect(again, API)
    assert newer.landing((1,), 0).page.lines in published(lake)
    assert API.landing((1,), 0).page.lines not in published(lake)


def test_discarding(lake: Lake) -> None:
    dataset = lake.open()
    store_pages(dataset, islice(API.landings(), 9))
    dataset.discard()
    assert list(dataset.records()) == []
    dataset.close()
    again = lake.open()
    assert list(again.records()) == []
    collect(again, API)
    assert published(lake) == API.lines()


def test_pages_that_are_too_old_are_collected_again(near: Lake, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="airflow_paginated")
    dataset = near.open()
    store_pages(dataset, islice(API.landings(), 9))
    dataset.close()
    time.sleep(0.05)
    again = near.open(run=run_of(resume_max_age=0.01))
    assert list(again.records()) == []
    assert "older than limits.resume_max_age" in caplog.text
    collect(again, API)
    assert published(near) == API.lines()


def test_another_plan_is_another_collection(near: Lake) -> None:
    dataset = near.open()
    store_pages(dataset, islice(API.landings(), 9))
    dataset.close()
    again = near.open(run=run_of(plan={"query": "changed"}))
    assert list(again.records()) == []
    collect(again, API)


def test_the_newer_of_two_tries_wins(lake: Lake) -> None:
    zombie = lake.open()
    store_pages(zombie, islice(API.landings(), 9))
    newer = lake.open()
    store_pages(zombie, islice(API.landings(), 9, None))
    for action in (lambda: zombie.publish(report_of(zombie)), zombie.discard):
        with pytest.raises(ClaimLost, match="another try of this task"):
            action()
    zombie.close()
    collect(newer, API)
    assert published(lake) == API.lines()


def test_a_try_that_lost_notices_at_its_next_segment(near: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "MAX_PAGES", 4)
    zombie = near.open()
    near.open()
    with pytest.raises(ClaimLost):
        store_pages(zombie, API.landings())
    zombie.close()


def test_a_staging_that_was_removed_and_claimed_anew_is_lost_too(near: Lake) -> None:
    zombie = near.open()
    store_pages(zombie, API.landings())
    near.storage("out/_staging").sub(run_of().key).drop()
    with pytest.raises((ClaimLost, StoreError)):
        zombie.publish(report_of(zombie))
    newer = near.open()
    store_pages(newer, API.landings())
    with pytest.raises((ClaimLost, StoreError)):
        zombie.publish(report_of(zombie))
    zombie.close()
    collect(newer, API)
    assert published(near) == API.lines()


def test_a_zombie_does_not_make_the_staging_anew(near: Lake) -> None:
    zombie = near.open()
    collect(near.open(), API)
    published_files = near.files()
    with suppress(ClaimLost):
        zombie.restart((0,))
    zombie.close()
    assert near.files() == published_files


def test_a_store_that_fails_while_it_is_read(s3: S3Server, store: Lake) -> None:
    dataset = store.open()
    store_pages(dataset, islice(API.landings(), 7))
    dataset.close()
    segment = next(name for name in store.files() if "segment-" in name)
    s3.faults.append(Fault("GET", "", 100, path=segment))
    with pytest.raises(StoreError, match="cannot read s3"):
        store.open()
    s3.faults.clear()
    collect(store.open(), API)
    assert published(store) == API.lines()


def test_segments_without_their_claim_are_not_taken_for_our_own(near: Lake) -> None:
    dataset = near.open()
    store_pages(dataset, islice(API.landings(), 7))
    dataset.close()
    near.storage("out/_staging").sub(run_of().key).delete(["claim-1"])
    again = near.open()
    assert len(list(again.records())) == 7
    collect(again, API)
    assert published(near) == API.lines()


def test_pages_that_a_zombie_landed_do_not_mix_with_newer_ones(local: Lake) -> None:
    newer = Api(pages=5, version=2)
    zombie = local.open()
    store_pages(zombie, islice(Api(pages=5).landings(), 2))
    second = local.open()
    store_pages(zombie, islice(Api(pages=5).landings(), 2, 5))
    store_pages(second, islice(newer.landings(), 1, 3))
    third = local.open()
    assert [record.request.index for record in third.records()] == [0, 1, 2]
    store_pages(third, islice(newer.landings(), 2, None))
    third.publish(report_of(third))
    expected = [Api(pages=5).landing((0,), 0), *(newer.landing((0,), page) for page in range(1, 5))]
    assert published(local) == b"".join(each.page.lines for each in expected)
