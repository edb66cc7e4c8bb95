"""The audit: every check passed, waived, unverified or failed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated import Completeness, PageRequest, Stop, Total
from airflow_paginated.collect.audit import Audit
from airflow_paginated.core.errors import IncompleteError, LimitExceeded, NothingCollected
from airflow_paginated.core.policies import Limits
from airflow_paginated.core.values import Check, CollectionReport, PageRecord, Split, TotalKind

CHECKS = [
    "every_partition_ended",
    "every_page_once",
    "no_page_repeats",
    "unique_key",
    "no_page_ignored",
    "total_is_stable",
    "rows_equal_total",
    "nothing_beyond_total",
    "pages_overlap",
    "min_rows",
]

NOT_ASKED = dict.fromkeys(("unique_key", "pages_overlap"), "unverified")

PASSED = dict.fromkeys(CHECKS, "passed") | NOT_ASKED
"""All that can pass without being asked for."""


def record(
    index: int,
    rows: int = 10,
    *,
    partition: tuple[int, ...] = (0,),
    end: str | None = None,
    total: int | None = None,
    kind: TotalKind = "items",
    sha256: str | None = None,
) -> PageRecord:
    request = PageRequest("/rows", partition=partition, index=index)
    successor = replace(request, index=index + 1) if end is None else Stop(end)
    digest = f"{partition} {index} {rows}" if sha256 is None else sha256
    declared = None if total is None else Total(total, kind)
    return PageRecord(request, successor, rows=rows, bytes=rows * 3, sha256=digest, total=declared)


def account(records: Iterable[PageRecord], limits: Limits | None = None, **policy: Any) -> CollectionReport:
    audit = Audit(Completeness(**policy), limits or Limits())
    for each in records:
        audit.add_page(each)
    return audit.report()


def verdicts(found: CollectionReport) -> dict[str, str]:
    return {check.name: check.verdict for check in found.checks}


def evidence(found: CollectionReport, name: str) -> str:
    return next(check.evidence for check in found.checks if check.name == name)


WITH_TOTAL = [record(0, total=25), record(1, total=25), record(2, 5, total=25, end="total reached")]


def test_a_whole_collection_passes_every_check() -> None:
    found = account(WITH_TOTAL)
    assert replace(found, checks=()) == CollectionReport(1, 3, 25, 75, "total reached", ())
    assert found.checks == (
        Check("every_partition_ended", "passed", "1 partitions, last: total reached"),
        Check("every_page_once", "passed", "3 pages, numbered without gaps"),
        Check("no_page_repeats", "passed", "no repeats in 3 pages"),
        Check("unique_key", "unverified", "0 rows, 0 duplicates"),
        Check("no_page_ignored", "passed", "0 pages ignored"),
        Check("total_is_stable", "passed", "1 of 1 partitions declare a total, 0 changes"),
        Check("rows_equal_total", "passed", "25 rows; 1 of 1 partitions declare a total"),
        Check("nothing_beyond_total", "passed", "probed past 0 of 0 full last pages; 0 inconclusive"),
        Check("pages_overlap", "unverified", "consecutive pages overlap by 0 rows"),
        Check("min_rows", "passed", "25 rows, at least 0"),
    )
    assert found.complete


def test_a_total_told_once_is_enough() -> None:
    found = account([record(0, total=25), record(1), record(2, 5, end="total reached")])
    assert verdicts(found) == PASSED


def test_without_a_total_two_checks_are_unverified() -> None:
    found = account([record(0), record(1, 0, end="empty page")])
    assert verdicts(found) == PASSED | {
        "total_is_stable": "unverified",
        "rows_equal_total": "unverified",
    }
    assert found.complete


def test_a_total_of_pages_verifies_no_rows() -> None:
    found = account([record(0, total=2, kind="pages"), record(1, 3, total=2, kind="pages", end="total reached")])
    assert verdicts(found)["rows_equal_total"] == "unverified"
    assert verdicts(found)["total_is_stable"] == "passed"


def test_rows_are_verified_when_every_partition_declares_its_total() -> None:
    one, other = record(0, total=10, end="x"), record(0, 4, partition=(1,), total=4, end="x")
    untold = record(0, 4, partition=(1,), end="x")
    assert verdicts(account([one, other]))["rows_equal_total"] == "passed"
    assert verdicts(account([one, untold]))["rows_equal_total"] == "unverified"
    assert "1 of 2 partitions" in evidence(account([one, untold]), "rows_equal_total")


def test_nothing_at_all_is_complete_and_says_so() -> None:
    found = account([])
    assert replace(found, checks=()) == CollectionReport(0, 0, 0, 0, "no pages", ())
    assert found.complete
    assert verdicts(found)["rows_equal_total"] == "unverified"


@pytest.mark.parametrize("kind", ["items", "pages"])
def test_an_empty_table_may_declare_nothing(kind: TotalKind) -> None:
    assert account([record(0, 0, total=0, kind=kind, end="total reached")]).complete
    assert account([record(0, 0, total=1, kind="pages", end="total reached")]).complete


@pytest.mark.parametrize(
    ("rows", "total", "kind", "said"),
    [
        (10, 11, "items", "partition 0 has 10 items, the API declares 11"),
        (10, 9, "items", "partition 0 has 10 items, the API declares 9"),
        (10, 2, "pages", "partition 0 has 1 pages, the API declares 2"),
        (10, 0, "pages", "partition 0 has 1 pages, the API declares 0"),
        (10, 0, "items", "partition 0 has 10 items, the API declares 0"),
        (0, 5, "items", "partition 0 has 0 items, the API declares 5"),
    ],
)
@pytest.mark.parametrize("policy", ["fail", "extend", "warn"])
def test_what_does_not_add_up_fails_or_is_waived(
    rows: int, total: int, kind: TotalKind, said: str, policy: str
) -> None:
    records = [record(0, rows, total=total, kind=kind, end="total reached")]
    if policy == "warn":
        found = account(records, on_total_change=policy)
        assert verdicts(found)["rows_equal_total"] == "waived"
        assert evidence(found, "rows_equal_total") == said
        assert not found.complete
    else:
        with pytest.raises(IncompleteError) as caught:
            account(records, on_total_change=policy)
        advice = "; if its total is not exact, set total_is='hint' and another stop rule"
        assert str(caught.value) == f"{said}{advice} (check rows_equal_total)"


class TestATotalThatChanges:
    RECORDS = (record(0, total=15), record(1, total=20, end="total reached"))

    def test_fails(self) -> None:
        audit = Audit(Completeness())
        audit.add_page(self.RECORDS[0])
        with pytest.raises(IncompleteError) as caught:
            audit.add_page(self.RECORDS[1])
        assert str(caught.value) == (
            "page 2 of partition 0 declares 20 items, an earlier page 15; for a table that grows while it is read, set"
            " completeness.on_total_change='extend' (check total_is_stable)"
        )

    def test_is_followed_to_the_newest_total(self) -> None:
        found = account(self.RECORDS, on_total_change="extend")
        assert verdicts(found)["total_is_stable"] == "unverified"
        assert evidence(found, "total_is_stable") == "1 of 1 partitions declare a total, 1 changes"
        assert verdicts(found)["rows_equal_total"] == "passed"
        assert found.complete

    def test_is_waived_and_makes_the_collection_incomplete(self) -> None:
        found = account(self.RECORDS, on_total_change="warn")
        assert verdicts(found) == PASSED | {"total_is_stable": "waived"}
        assert evidence(found, "total_is_stable").startswith("page 2 of partition 0 declares 20 items")
        assert not found.complete

    def test_and_comes_back_is_compared_with_the_newest(self) -> None:
        records = [record(0, total=20), record(1, total=30), record(2, total=30), record(3, total=40, end="x")]
        assert account(records, on_total_change="extend").rows == 40
        with pytest.raises(IncompleteError, match="40 items, the API declares 20"):
            account([*records[:3], record(3, total=20, end="x")], on_total_change="extend")

    def test_is_another_matter_in_another_partition(self) -> None:
        records = [record(0, total=10, end="x"), record(0, 12, partition=(1,), total=12, end="x")]
        assert verdicts(account(records)) == PASSED


@pytest.mark.parametrize(("cap", "most", "got"), [("max_pages", 2, 3), ("max_rows", 20, 25)])
def test_a_cap_fails_the_run_and_never_truncates(cap: str, most: int, got: int) -> None:
    with pytest.raises(LimitExceeded, match=rf"^{got} .* were collected, limits.{cap} is {most}: raise it or narrow"):
        account(WITH_TOTAL, Limits(**{cap: most}))
    assert account(WITH_TOTAL, Limits(**{cap: got})).rows == 25


class TestAPartitionThatIsSplit:
    HALVES = (PageRequest("/rows", partition=(0, 0)), PageRequest("/rows", partition=(0, 1)))

    def split(self, total: int | None) -> PageRecord:
        return replace(record(0, 0, total=total), successor=Split(self.HALVES))

    def leaf(self, half: int, rows: int) -> PageRecord:
        return record(0, rows, partition=(0, half), total=rows, end="x")

    def test_gives_way_to_its_parts(self) -> None:
        found = account([self.split(30), self.leaf(0, 10), self.leaf(1, 20)])
        assert (found.partitions, found.pages, found.rows) == (2, 3, 30)
        assert verdicts(found) == PASSED

    @pytest.mark.parametrize("rows", [19, 21])
    def test_has_the_rows_of_its_parts(self, rows: int) -> None:
        records = [self.split(30), self.leaf(0, 10), self.leaf(1, rows)]
        with pytest.raises(IncompleteError, match=f"of partition 0 have {10 + rows} rows, the API declares 30"):
            account(records)
        assert verdicts(account(records, on_total_change="warn"))["rows_equal_total"] == "waived"

    def test_may_not_know_how_many(self) -> None:
        assert account([self.split(None), self.leaf(0, 10), self.leaf(1, 20)]).complete

    def test_counts_its_grandchildren(self) -> None:
        deeper = replace(record(0, 0, partition=(0, 1), total=20), successor=Split(self.HALVES))
        leaves = [record(0, 10, partition=(0, 1, part), total=10, end="x") for part in (0, 1)]
        assert account([self.split(30), self.leaf(0, 10), deeper, *leaves]).complete

    def test_lacks_what_was_ignored_in_its_parts(self) -> None:
        lost = replace(record(0, 0, partition=(0, 1), total=20), ignored=True)
        rest = record(1, 8, partition=(0, 1), end="x")
        found = account([self.split(30), self.leaf(0, 10), lost, rest])
        assert verdicts(found)["rows_equal_total"] == "waived"
        with pytest.raises(IncompleteError, match="partition 0 have 31 rows"):
            account([self.split(30), self.leaf(0, 23), lost, rest])


def test_a_page_that_is_ignored_is_missing() -> None:
    found = account([replace(record(0), ignored=True), record(1, end="x")])
    assert verdicts(found)["no_page_ignored"] == "waived"
    assert evidence(found, "no_page_ignored").startswith("page 1 of partition 0")
    assert not found.complete


def test_its_rows_are_not_asked_for_by_a_total() -> None:
    lost = replace(record(0, 0, total=25), ignored=True)
    found = account([lost, record(1, 10, total=25), record(2, 5, total=25, end="total reached")])
    assert verdicts(found)["rows_equal_total"] == verdicts(found)["no_page_ignored"] == "waived"
    assert "partition 0 has 15 items, the API declares 25" in evidence(found, "rows_equal_total")
    with pytest.raises(IncompleteError, match="has 26 items, the API declares 25"):
        account([lost, record(1, 26, total=25, end="total reached")])
    with pytest.raises(IncompleteError, match="partition 1 has 9 items, the API declares 10"):
        account([lost, record(1, end="x"), record(0, 9, total=10, partition=(1,), end="x")])


class TestPagesThatDoNotFollow:
    @pytest.mark.parametrize(("index", "due"), [(1, 1), (5, 1)])
    def test_a_partition_begins_with_its_first_page(self, index: int, due: int) -> None:
        with pytest.raises(
            IncompleteError, match=f"^page {index + 1} of partition 3.0.1 arrived where page {due} was expected"
        ):
            account([record(index, partition=(3, 0, 1))])

    @pytest.mark.parametrize("index", [0, 2])
    def test_a_page_follows_the_one_before(self, index: int) -> None:
        with pytest.raises(IncompleteError, match="arrived where page 2 was expected"):
            account([record(0), record(index)])

    def test_nothing_follows_the_end(self) -> None:
        with pytest.raises(IncompleteError, match="page 2 of partition 0 arrived where page 1 was expected"):
            account([record(0, end="x"), record(1)])

    def test_every_partition_has_an_end(self) -> None:
        with pytest.raises(IncompleteError, match=r"^2 partitions have not ended"):
            account([record(0), record(0, partition=(1,)), record(0, partition=(2,), end="x")])


class TestFewRows:
    @pytest.mark.parametrize(("rows", "enough"), [(9, False), (10, True), (11, True)])
    def test_min_rows(self, rows: int, enough: bool) -> None:
        if enough:
            found = account([record(0, rows, end="x")], min_rows=10)
            assert Check("min_rows", "passed", f"{rows} rows, at least 10") in found.checks
        else:
            with pytest.raises(IncompleteError, match=r"9 rows were collected, completeness\.min_rows requires 10"):
                account([record(0, rows, end="x")], min_rows=10)

    @pytest.mark.parametrize("records", [[], [record(0, 0, end="x")]])
    @pytest.mark.parametrize(("policy", "error"), [("fail", IncompleteError), ("skip", NothingCollected)])
    def test_no_rows_at_all(self, records: list[PageRecord], policy: str, error: type[Exception]) -> None:
        assert account(records, on_empty="ok").complete
        with pytest.raises(error, match=f"no rows were collected, and completeness.on_empty is '{policy}'"):
            account(records, on_empty=policy)

    @pytest.mark.parametrize("policy", ["ok", "fail", "skip"])
    def test_some_rows_are_not_none(self, policy: str) -> None:
        assert account([record(0, 1, end="x")], on_empty=policy).complete

    def test_min_rows_is_asked_before_on_empty(self) -> None:
        with pytest.raises(IncompleteError, match="min_rows"):
            account([], min_rows=1, on_empty="skip")


def test_a_sample_is_never_complete_and_its_rows_are_not_compared() -> None:
    found = account([record(0, total=25), record(1, total=25, end="sample")], Limits(sample_pages=2))
    assert verdicts(found) == PASSED | {
        "every_partition_ended": "waived",
        "rows_equal_total": "unverified",
    }
    assert evidence(found, "every_partition_ended") == "limits.sample_pages=2"
    assert not found.complete
    assert found.stop_reason == "sample"


@given(counts=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), max_size=8), chance=st.randoms())
def test_the_sum_does_not_depend_on_the_order_of_partitions(counts: list[list[int]], chance: Any) -> None:
    queues = [
        [
            record(n, rows, partition=(p,), total=sum(pages), end="x" if n + 1 == len(pages) else None)
            for n, rows in enumerate(pages)
        ]
        for p, pages in enumerate(counts)
    ]
    mixed = []
    while any(queues):
        mixed.append(chance.choice([queue for queue in queues if queue]).pop(0))
    found = account(mixed)
    assert (found.partitions, found.pages) == (len(counts), sum(map(len, counts)))
    assert (found.rows, found.bytes) == (sum(map(sum, counts)), 3 * sum(map(sum, counts)))
    assert verdicts(found)["rows_equal_total"] == ("passed" if counts else "unverified")


@pytest.mark.parametrize("seen", [1, 3])
def test_a_parameter_set_that_was_never_asked_for_is_noticed(seen: int) -> None:
    audit = Audit(Completeness(), expected=2)
    for number in range(seen):
        audit.add_page(record(0, partition=(number,), end="that is all"))
    with pytest.raises(IncompleteError, match=f"{seen} of 2 parameter sets were collected"):
        audit.report()


def test_the_parts_of_a_split_are_one_parameter_set() -> None:
    audit = Audit(Completeness(), expected=1)
    halves = tuple(PageRequest("/rows", query={"half": half}, partition=(0, half)) for half in (0, 1))
    audit.add_page(replace(record(0, 0), successor=Split(halves)))
    for half in halves:
        audit.add_page(record(0, partition=half.partition, end="that is all"))
    assert audit.report().partitions == 2


def test_an_error_of_the_audit_is_about_a_partition() -> None:
    with pytest.raises(IncompleteError) as caught:
        account([record(1, partition=(4,))])
    assert caught.value.partition == (4,)
