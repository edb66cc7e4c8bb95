"""What the audit passes to its parts, page by page, and how it uses their results."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import Any

import pytest

from airflow_paginated import Completeness, Page, PageNumber, PageRequest, Stop
from airflow_paginated.collect.audit import Audit
from airflow_paginated.core.errors import IncompleteError, ResponseError
from airflow_paginated.core.values import OrderedPage, PageRecord, Split, Total

BY_ITEMS = PageNumber(total_path="n")


def page(index: int, *rows: bytes, total: int = 4, partition: tuple[int, ...] = (0,)) -> Page:
    request = PageRequest("/rows", query={"page": index + 1}, partition=partition, index=index)
    return Page.of(request, rows, envelope={"n": total})


TWO = (page(0, b"1", b"2"), page(1, b"3", b"4"))


def record(each: Page, end: bool = False, total: int | None = 4) -> PageRecord:
    following = Stop("total reached") if end else page(each.request.index + 1).request
    return PageRecord.of(OrderedPage(each, following), None if total is None else Total(total, "items"))


def audited(*pages: Page, recalled: int = 0, total: int | None = 4, **policy: Any) -> Audit:
    """Show an audit these pages, the first so many as stored by an earlier try."""
    audit = Audit(Completeness(**policy), strategy=BY_ITEMS)
    for number, each in enumerate(pages):
        end = number == len(pages) - 1
        if number < recalled:
            audit.restore(record(each, end, total), each.lines if audit.keys.active else None)
        else:
            audit.add_page(record(audit.admit(each), end, total))
    return audit


def check(audit: Audit, name: str) -> tuple[str, str]:
    (found,) = [each for each in audit.report().checks if each.name == name]
    return found.verdict, found.evidence


def test_a_page_that_an_earlier_try_stored_does_not_come_again() -> None:
    with pytest.raises(IncompleteError, match="page 2 of partition 0 has the same rows as an earlier page"):
        audited(TWO[0], page(1, b"1", b"2"), recalled=1)


def test_a_probe_that_is_not_sent_is_unverified() -> None:
    full = "probed past 0 of 1 full last pages; 0 inconclusive"
    assert check(audited(*TWO), "nothing_beyond_total") == ("unverified", full)
    waived = "probed past 0 of 0 full last pages; 0 inconclusive"
    assert check(audited(*TWO, probe_past_end=False), "nothing_beyond_total") == ("unverified", waived)
    audit = audited(*TWO)
    audit.check_past_end(page(2))
    assert check(audit, "nothing_beyond_total")[0] == "passed"


def test_a_refused_probe_is_unverified() -> None:
    audit = audited(*TWO)
    audit.check_past_end(Page.of(page(2).request, (), end="refused"))
    assert check(audit, "nothing_beyond_total")[0] == "unverified"


@pytest.mark.parametrize(("whole", "verdict"), [(2, "passed"), (1, "unverified")])
def test_parts_that_come_to_their_whole_are_no_change(whole: int, verdict: str) -> None:
    parts = (PageRequest("/rows", partition=(0, 0)), PageRequest("/rows", partition=(0, 1)))
    audit = Audit(Completeness(on_total_change="extend"))
    audit.add_page(PageRecord.of(OrderedPage(page(0), Split(parts)), Total(whole, "items")))
    for part in parts:
        audit.add_page(record(Page.of(part, (b"1",)), end=True, total=1))
    found = check(audit, "total_is_stable")
    assert found == (verdict, f"2 of 2 partitions declare a total, {2 - whole} changes")


def test_ignored_pages_are_counted() -> None:
    audit = Audit(Completeness())
    for index in (0, 1):
        ignored = PageRecord(page(index).request, page(index + 1).request, 0, 0, "", ignored=True)
        audit.add_page(ignored)
    audit.add_page(record(page(2, b"1"), end=True, total=None))
    assert check(audit, "no_page_ignored") == ("waived", "page 1 of partition 0 is the first ignored page")


def of_partitions(*firsts: bytes, recalled: int = 0, **policy: Any) -> Audit:
    """Show an audit the only page of each partition."""
    audit = Audit(Completeness(**policy))
    for number, row in enumerate(firsts):
        only = page(0, *filter(None, [row]), partition=(number,))
        only = replace(only, request=replace(only.request, query={"store": number}))
        if number < recalled:
            audit.restore(record(only, end=True, total=None))
        else:
            audit.add_page(record(audit.admit(only), end=True, total=None))
    return audit


@pytest.mark.parametrize("recalled", [0, 2])
def test_partitions_that_are_all_alike_are_one(recalled: int) -> None:
    with pytest.raises(
        ResponseError, match="first pages of all 3 partitions that have rows are the same: does the API"
    ):
        of_partitions(b"1", b"", b"1", b"1", recalled=recalled).report()
    allowed = of_partitions(b"1", b"1", b"1", recalled=recalled, on_repeat="allow")
    assert check(allowed, "no_page_repeats")[0] == "waived"


@pytest.mark.parametrize("firsts", [(b"1", b"1"), (b"1", b"1", b"1", b"2"), (b"2", b"1", b"1", b"1"), (b"", b"", b"")])
def test_some_that_are_alike_are_not(firsts: tuple[bytes, ...]) -> None:
    assert check(of_partitions(*firsts), "no_page_repeats")[0] == "passed"


def test_an_error_has_the_partition_of_its_page() -> None:
    audit = Audit(Completeness(key="a"), strategy=BY_ITEMS)
    last = page(0, b'{"a":1}', total=1, partition=(7,))
    with pytest.raises(IncompleteError) as early:
        audit.add_page(record(page(1, partition=(7,))))
    audit.add_page(record(audit.admit(last), end=True, total=1))
    with pytest.raises(ResponseError) as beyond:
        audit.check_past_end(page(1, b'{"a":2}', total=1, partition=(7,)))
    with pytest.raises(IncompleteError) as restored:
        audit.restore(record(last), last.lines)
    assert early.value.partition == beyond.value.partition == restored.value.partition == (7,)


def test_it_lets_go_of_what_it_remembers() -> None:
    audit = audited(page(0, b'{"a":1}'), total=1, key="a")
    audit.close()
    for part in (audit, audit.keys):
        with pytest.raises(sqlite3.ProgrammingError):
            part.admit(page(1, b'{"a":2}'))
