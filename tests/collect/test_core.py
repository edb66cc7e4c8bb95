"""Whatever is collected and however often a try dies: the rows of a plain loop, and nothing asked for in vain."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from airflow_paginated import Offset, PageNumber, Sliced
from airflow_paginated.core.errors import IncompleteError
from tests.collect.api import Api, Style
from tests.collect.core import Case, Fate, task
from tests.collect.disk import landed, leftovers, proved, published
from tests.collect.draws import NEVER, STOP_RULES, cases, cases_of_every_kind, fates, thorough, whole_fates
from tests.collect.tables import Tables


@given(case=cases(), lives=st.lists(fates, min_size=1, max_size=3), one_file=st.booleans())
@thorough(max_examples=320)
def test_the_rows_of_a_plain_loop_whatever_befalls_the_tries(case: Case, lives: list[Fate], one_file: bool) -> None:
    check(case, lives, one_file)


@given(case=cases_of_every_kind(), lives=st.lists(fates, min_size=1, max_size=3), one_file=st.booleans())
@thorough(max_examples=320)
def test_the_rows_of_the_tables_whatever_the_strategy(case: Case, lives: list[Fate], one_file: bool) -> None:
    check(case, lives, one_file)


def check(case: Case, lives: list[Fate], one_file: bool) -> None:
    """Try until one try survives, and compare what is there with all rows."""
    with task(one_file) as made:
        died = 0
        for fate in [*lives, NEVER]:
            result = made.die(case, fate)
            made.check_manners(case)
            if result is not None:
                break
            died += 1
            assert published(made.path) is None
        assert result is not None
        assert proved(made.path) == case.expected
        assert result["rows"] == case.expected.count(b"\n")
        assert leftovers(made.path) == set()
    event(f"{died} deaths")


@given(case=cases(least=1, holes=False), fate=fates, lives=st.lists(whole_fates, max_size=2))
@thorough(max_examples=80)
def test_a_partition_whose_newest_page_reads_otherwise_starts_over(case: Case, fate: Fate, lives: list[Fate]) -> None:
    assert isinstance(case.api, Api)
    check_changed(case, replace(case, api=replace(case.api, row_bytes=3)), fate, lives)


@given(case=cases_of_every_kind(), fate=fates, lives=st.lists(whole_fates, max_size=2))
@thorough(max_examples=120)
def test_so_it_does_whatever_the_strategy(case: Case, fate: Fate, lives: list[Fate]) -> None:
    assert isinstance(case.api, Tables)
    check_changed(case, replace(case, api=replace(case.api, extra="xxx")), fate, lives)


def check_changed(case: Case, changed: Case, fate: Fate, lives: list[Fate]) -> None:
    """Die once, find all rows changed, and compare what is there with the old rows and the new ones."""
    with task() as made:
        assume(made.die(case, fate) is None)
        kept = landed(made.staging)
        assert any(made.die(changed, each) for each in [*lives, NEVER])
        old, new = case.by_partition, changed.by_partition
        # A partition whose end is stored is not asked for again.
        ended = {partition for partition, stored in kept.items() if stored.ended}
        assert proved(made.path) == b"".join((old if each in ended else new)[each] for each in sorted(new))
        assert leftovers(made.path) == set()


@given(
    kind=st.sampled_from(["items", "pages"]),
    size=st.integers(1, 12),
    pages=st.integers(3, 12),
    more=st.integers(1, 3),
    data=st.data(),
)
@thorough(max_examples=50)
def test_a_total_that_changed_between_tries_fails_once_and_begins_anew(
    kind: Style, size: int, pages: int, more: int, data: st.DataObject
) -> None:
    case = Case(api=Api(tables=[size * pages], style=kind, page_size=size), pagination=PageNumber(**STOP_RULES[kind]))
    grown = replace(case, api=replace(case.api, tables=[size * (pages + more)]))
    with task() as made:
        assert made.die(case, Fate("landing", data.draw(st.integers(2, pages - 1), label="pages landed"))) is None
        with pytest.raises(IncompleteError, match="check total_is_stable"):
            made.die(grown, NEVER)
        assert published(made.path) is None
        assert not landed(made.staging)
        assert made.die(grown, NEVER) is not None
        made.check_manners(grown)
        assert proved(made.path) == grown.expected


@given(case=cases() | cases_of_every_kind(), fate=fates, lost=st.sets(st.integers(0, 9), min_size=1))
@thorough(max_examples=120)
def test_a_staging_that_lost_any_of_its_files_still_leads_to_the_rows(case: Case, fate: Fate, lost: set[int]) -> None:
    with task() as made:
        assume(made.die(case, fate) is None and made.die(case, fate) is None)
        stored = sorted(path for path in made.staging.rglob("*") if path.is_file())
        for path in {stored[pick % len(stored)] for pick in lost}:
            path.unlink()
        assert made.die(case, NEVER) is not None
        made.check_manners(case)
        assert proved(made.path) == case.expected
        assert leftovers(made.path) == set()


HALVES = Sliced(
    pagination=Offset(total_path="meta.total"), from_param="low", to_param="high", start=0, end=64, max_rows=6
)


@pytest.mark.parametrize("rows", [40, 5])
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize(("first", "second"), [(1, 1), (1, 8), (2, 3), (4, 6), (8, 1)])
def test_where_a_page_that_was_split_is_lost_so_are_its_parts(first: int, second: int, workers: int, rows: int) -> None:
    """With five rows it is not split again: what was stored of its parts would be there beside them."""
    case = Case(api=Tables(keys=[range(40)], page_size=3), pagination=HALVES, workers=workers)
    with task() as made:
        for landings in (first, second):
            assert made.die(case, Fate("landing", landings)) is None
        lost = list(made.staging.glob("shard-0000/segment-0001-*"))
        assert lost
        for path in lost:
            path.unlink()
        assert list(made.staging.glob("shard-0000/segment-0002-*"))
        now = replace(case, api=Tables(keys=[range(rows)], page_size=3))
        result = made.die(now, NEVER)
        assert result is not None
        assert result["rows"] == rows
        assert proved(made.path) == now.expected
        assert leftovers(made.path) == set()
