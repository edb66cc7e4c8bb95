"""The line that says how far a collection has come: figures of given moments, on a clock that the test sets."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from airflow_paginated import PageRequest, Stop, Total
from airflow_paginated.collect.progress import Progress, ProgressSnapshot
from airflow_paginated.core.values import PageRecord, TotalKind


@dataclass
class Desk:
    """Where reports arrive, at a time of day that the test says."""

    partitions: int = 1
    now: float = 1_000.0
    retries: int = 0
    throttled: float = 0.0
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.progress = Progress(
            lambda snapshot: self.lines.append(str(snapshot)),
            lambda: (self.retries, self.throttled),
            partitions=self.partitions,
            interval_seconds=5.0,
            clock=lambda: self.now,
        )

    @property
    def planned(self) -> int | None:
        return self.progress.snapshot().planned


def page(
    index: int, rows: int, total: int | None = None, kind: TotalKind = "items", last: bool = False, partition: int = 0
) -> PageRecord:
    return PageRecord(
        request=PageRequest("/rows", partition=(partition,), index=index),
        successor=Stop("total reached") if last else PageRequest("/rows", partition=(partition,), index=index + 1),
        rows=rows,
        bytes=10 * rows,
        sha256="",
        total=None if total is None else Total(total, kind),
    )


@pytest.mark.parametrize(
    ("snapshot", "line"),
    [
        (ProgressSnapshot(0, None, 0, 0.0, 0, 0.0), "0 pages, 0 rows, 0 retries, 0.0 s throttled"),
        (ProgressSnapshot(0, None, 0, 5.0, 3, 0.0), "0 pages, 0 rows, 3 retries, 0.0 s throttled"),
        (ProgressSnapshot(4, None, 40, 2.0, 0, 0.0), "4 pages, 40 rows, 20 rows/s, 0 retries, 0.0 s throttled"),
        (
            ProgressSnapshot(25, 100, 2500, 5.0, 2, 1.26),
            "25 of 100 pages, 2500 rows, 500 rows/s, 2 retries, 1.3 s throttled, about 15 s left",
        ),
        (
            ProgressSnapshot(100, 100, 990, 5.0, 0, 0.0),
            "100 of 100 pages, 990 rows, 198 rows/s, 0 retries, 0.0 s throttled",
        ),
        # What an earlier try stored says nothing about how fast this one is.
        (
            ProgressSnapshot(60, 100, 600, 5.0, 0, 0.0, resumed=60),
            "60 of 100 pages, 600 rows, 0 retries, 0.0 s throttled",
        ),
        (
            ProgressSnapshot(70, 100, 700, 5.0, 0, 0.0, resumed=60),
            "70 of 100 pages, 700 rows, 20 rows/s, 0 retries, 0.0 s throttled, about 15 s left",
        ),
    ],
)
def test_a_line(snapshot: ProgressSnapshot, line: str) -> None:
    assert str(snapshot) == line


def test_a_line_comes_at_most_every_five_seconds() -> None:
    desk = Desk()
    for index in range(12):
        desk.now += 1.0
        desk.progress.add_page(page(index, 10, total=1000))
    assert [line.partition(",")[0] for line in desk.lines] == ["5 of 100 pages", "10 of 100 pages"]


def test_a_line_comes_while_nothing_arrives() -> None:
    desk = Desk(retries=4, throttled=17.0)
    desk.progress.tick()
    assert desk.lines == []
    for _ in range(11):
        desk.now += 1.0
        desk.progress.tick()
    assert desk.lines == ["0 pages, 0 rows, 4 retries, 17.0 s throttled"] * 2


def test_a_long_silence_is_followed_by_one_line_not_by_many() -> None:
    desk = Desk()
    desk.now += 100.0
    for index in range(3):
        desk.progress.add_page(page(index, 10))
    assert len(desk.lines) == 1


@pytest.mark.parametrize(("total", "kind"), [(95, "items"), (10, "pages")])
def test_a_total_gives_the_plan_in_pages(total: int, kind: TotalKind) -> None:
    desk = Desk()
    desk.progress.add_page(page(0, 10, total, kind))
    assert desk.planned == 10
    for index in range(1, 9):
        desk.progress.add_page(page(index, 10, total, kind))
    assert desk.planned == 10
    desk.progress.add_page(page(9, 5, total, kind, last=True))
    assert (desk.planned, desk.progress.snapshot().pages) == (10, 10)


def test_a_total_that_only_the_first_page_tells_stays_the_plan() -> None:
    desk = Desk()
    desk.progress.add_page(page(0, 10, total=40))
    desk.progress.add_page(page(1, 10))
    assert desk.planned == 4


def test_a_growing_total_moves_the_plan() -> None:
    desk = Desk()
    desk.progress.add_page(page(0, 10, total=40))
    desk.progress.add_page(page(1, 10, total=61))
    assert desk.planned == 7


def test_a_page_that_comes_short_does_not_move_the_plan() -> None:
    desk = Desk()
    desk.progress.add_page(page(0, 10, total=40))
    desk.progress.add_page(page(1, 3, total=40))
    assert desk.planned == 4


def test_without_a_total_there_is_no_plan_until_the_end() -> None:
    desk = Desk()
    desk.progress.add_page(page(0, 10))
    desk.progress.add_page(page(1, 10))
    assert desk.planned is None
    desk.progress.add_page(page(2, 0, last=True))
    assert desk.planned == 3


def test_the_plan_of_several_partitions_is_known_when_each_has_told() -> None:
    desk = Desk(partitions=3)
    desk.progress.add_page(page(0, 10, total=30, partition=0))
    desk.progress.add_page(page(0, 0, total=0, last=True, partition=1))
    assert desk.planned is None
    desk.progress.add_page(page(0, 10, total=20, partition=2))
    assert desk.planned == 3 + 1 + 2


def test_stored_pages_count_as_done_and_not_as_work() -> None:
    desk = Desk()
    for index in range(6):
        desk.progress.add_page(page(index, 10, total=100), resumed=True)
    desk.now += 2.0
    desk.progress.add_page(page(6, 10, total=100))
    snapshot = desk.progress.snapshot()
    assert (snapshot.pages, snapshot.resumed, snapshot.planned, snapshot.seconds) == (7, 6, 10, 2.0)
    assert str(snapshot).endswith("5 rows/s, 0 retries, 0.0 s throttled, about 6 s left")
