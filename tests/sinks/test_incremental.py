"""Which rows are new, and where the next run goes on: values in, values out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_paginated.core.errors import ConfigurationError, LimitExceeded, ResponseError, WatermarkMoved
from airflow_paginated.core.policies import Incremental, State
from airflow_paginated.sinks.incremental import IncrementalFilter

LATER = datetime(2030, 1, 1, tzinfo=UTC).timestamp()

POLICY = Incremental(field="at", param="since")


def lines(rows: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def changes(base: State | None = None, began: float = LATER, most: int = 100_000, **policy: Any) -> IncrementalFilter:
    return IncrementalFilter(replace(POLICY, **policy), base, began, most)


def admitted(found: IncrementalFilter, *pages: Iterable[Any]) -> list[Any]:
    return [json.loads(row) for page in pages for row in found.admit(lines(page), "page 1 of partition 0")]


def rows(*values: Any) -> list[Any]:
    return [{"id": number, "at": value} for number, value in enumerate(values)]


def left(found: IncrementalFilter) -> State:
    state = found.next()
    assert state is not None
    return state


def test_the_first_run_takes_everything() -> None:
    found = changes()
    given = rows("2024-01-02T00:00:00Z", "2024-01-03T00:00:00Z", "2024-01-01T00:00:00Z")
    assert admitted(found, given[:2], given[2:]) == given
    state = left(found)
    assert (state.watermark, state.start, len(list(state.digests))) == ("2024-01-03T00:00:00Z",) * 2 + (1,)
    assert found.evidence == "3 of 3 rows are new, 0 were published before"


def test_without_rows_there_is_nothing_to_leave() -> None:
    found = changes()
    assert admitted(found, []) == []
    assert (found.next(), found.reached(True), found.new) == (None, None, 0)


def test_rows_at_the_watermark_do_not_come_again() -> None:
    first = changes()
    given = rows("2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z")
    admitted(first, given)
    second = changes(left(first))
    late = {"id": 7, "at": "2024-01-02T00:00:00Z"}
    assert admitted(second, [given[1], late]) == [late]
    assert (second.new, second.again, second.older) == (1, 1, 0)
    assert left(second).watermark == "2024-01-02T00:00:00Z"
    third = changes(left(second))
    assert admitted(third, [given[1], late]) == []


def test_rows_in_the_lookback_come_once_and_older_ones_never() -> None:
    first = changes(lookback=3600)
    given = rows("2024-01-01T22:59:59Z", "2024-01-01T23:30:00Z", "2024-01-02T00:00:00Z")
    admitted(first, given)
    assert left(first).start == "2024-01-01T23:00:00Z"
    second = changes(left(first), lookback=3600)
    late, new = {"id": 8, "at": "2024-01-01T23:00:00Z"}, {"id": 9, "at": "2024-01-02T05:00:00Z"}
    assert admitted(second, given, [late, new]) == [late, new]
    assert second.evidence == (
        "2 of 5 rows are new, 2 were published before, 1 are older than the start '2024-01-01T23:00:00Z'"
    )
    assert (left(second).start, len(list(left(second).digests))) == ("2024-01-02T04:00:00Z", 1)


def test_a_row_that_changes_within_one_instant_comes_again() -> None:
    first = changes()
    admitted(first, [{"id": 1, "at": 5, "name": "a"}])
    second = changes(left(first))
    assert admitted(second, [{"id": 1, "at": 5, "name": "b"}]) == [{"id": 1, "at": 5, "name": "b"}]


def test_rows_that_are_alike_come_as_often_as_there_are_more_of_them() -> None:
    first = changes()
    assert admitted(first, [{"at": 5}, {"at": 5}]) == [{"at": 5}] * 2
    second = changes(left(first))
    assert admitted(second, [{"at": 5}] * 3) == [{"at": 5}]
    assert admitted(changes(left(second)), [{"at": 5}] * 3) == []


def test_nothing_is_remembered_where_that_is_not_wanted() -> None:
    first = changes(remember=False)
    admitted(first, rows(5, 6))
    assert left(first).seen == ""
    second = changes(left(first), remember=False)
    assert admitted(second, [{"at": 5}, {"at": 6}]) == [{"at": 6}]


def test_the_watermark_never_goes_back() -> None:
    found = changes(State(watermark=10, start=5))
    assert admitted(found, [{"at": 7}, {"at": 8}]) == [{"at": 7}, {"at": 8}]
    assert (left(found).watermark, left(found).start) == (10, 10)


def test_a_longer_lookback_reaches_no_further_back_than_what_is_known() -> None:
    first = changes()
    admitted(first, rows(90, 100))
    second = changes(left(first), lookback=50)
    assert admitted(second, [{"at": 90}, {"at": 100.5}]) == [{"at": 100.5}]
    assert left(second).start == 100
    third = changes(replace(left(second), watermark=200), lookback=50)
    admitted(third, [{"at": 300}])
    assert left(third).start == 250


def test_what_changes_while_a_run_reads_does_not_hide_what_it_has_missed() -> None:
    began = datetime(2024, 1, 1, 12, tzinfo=UTC).timestamp()
    found = changes(began=began, lookback=60)
    # Asked for after row 0 was read; row 0 may have changed at 12:01, and would never be seen.
    given = rows("2024-01-01T11:00:00Z", "2024-01-01T12:02:00Z")
    admitted(found, given)
    state = left(found)
    assert (state.watermark, state.start) == ("2024-01-01T12:02:00Z", "2024-01-01T11:59:00Z")
    missed = {"id": 0, "at": "2024-01-01T12:01:00Z"}
    assert admitted(changes(state, lookback=60), [missed, given[1]]) == [missed]


def test_a_resumed_run_began_when_its_first_page_was_asked_for() -> None:
    found = changes(began=datetime(2024, 1, 1, 18, tzinfo=UTC).timestamp())
    found.begin(datetime(2024, 1, 1, 12, tzinfo=UTC).timestamp())
    admitted(found, rows("2024-01-01T17:00:00+00:00"))
    assert left(found).start == "2024-01-01T12:00:00+00:00"


def test_a_watermark_by_hand_is_enough() -> None:
    given = rows("2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z")
    assert admitted(changes(State(watermark="2024-01-02T00:00:00Z")), given) == given[1:]


def test_rows_without_a_value() -> None:
    given = [{"at": 1}, {"at": None}, {"other": 1}, [], {"at": 2}]
    with pytest.raises(ResponseError, match="'at' is missing or null in a row of page 1 of partition 0"):
        admitted(changes(), given)
    assert admitted(changes(missing_value="exclude"), given) == [{"at": 1}, {"at": 2}]
    found = changes(missing_value="include")
    assert admitted(found, given) == given
    assert found.evidence.endswith("3 have no 'at'")
    assert admitted(changes(left(found), missing_value="include"), given) == given[1:4]


def test_a_value_within_a_row() -> None:
    found = changes(field='meta["changed.at"]')
    assert admitted(found, [{"meta": {"changed.at": 3}}, {"meta": {"changed.at": 2}}])
    assert left(found).watermark == 3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1, "2024-01-01T00:00:00Z"], "is a timestamp in a row of page 1 of partition 0, and a number in others"),
        (["2024-01-01T00:00:00Z", "2024-01-01T00:00:00"], "is a timestamp without an offset in a row"),
        (["abc", "17"], "is a number in a row of page 1 of partition 0, and a text in others"),
        ([True], "is neither a number nor a string, in a row of page 1"),
        (["01/02/2024"], "is a date in a format that does not sort"),
    ],
)
def test_values_that_cannot_be_compared_fail(values: list[Any], said: str) -> None:
    with pytest.raises(ResponseError, match=said):
        admitted(changes(), rows(*values))


def test_the_stored_watermark_must_be_of_their_kind() -> None:
    with pytest.raises(ResponseError, match="and a number in others or in the stored watermark"):
        admitted(changes(State(watermark=5)), rows("2024-01-01T00:00:00Z"))


@pytest.mark.parametrize(
    "state", [State(watermark=None), State(watermark=True), State(watermark=[]), State(watermark=5, seen="?")]
)
def test_a_state_that_is_none_is_refused(state: State) -> None:
    with pytest.raises(ConfigurationError, match="invalid stored watermark"):
        changes(state)


def test_a_start_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="stored watermark and start have different kinds"):
        changes(State(watermark=5, start="abc"))


def test_more_rows_than_can_be_remembered_fail() -> None:
    admitted(found := changes(most=3, lookback=2), rows(1, 2, 3, 8, 9, 10, 1, 2, 3))
    assert len(list(left(found).digests)) == 3
    admitted(found := changes(most=3, lookback=2), rows(8, 9, 10, 9))
    with pytest.raises(LimitExceeded, match="more than 3 rows between '8' and the watermark '10'") as caught:
        found.reached(True)
    assert "remember=False" in str(caught.value)
    assert found.reached(False) is None
    admitted(found := changes(most=3, lookback=2, remember=False), rows(8, 9, 10, 9))
    assert left(found).seen == ""


def test_rows_that_may_not_be_all_move_nothing() -> None:
    found = changes(State(watermark=5))
    admitted(found, rows(6))
    assert (found.reached(False), found.reached(True)) == (5, 6)


def test_it_looks_whether_another_run_has_gone_on() -> None:
    def moved() -> None:
        raise WatermarkMoved("moved")

    with pytest.raises(WatermarkMoved):
        IncrementalFilter(POLICY, None, LATER, check_unchanged=moved).begin(LATER)


def test_a_number_keeps_its_digits() -> None:
    found = changes()
    found.admit(b'{"at":1700000000.123456789012}\n{"at":1.0}\n', "page 1")
    assert (left(found).watermark, found.reached(True)) == (
        {"number": "1700000000.123456789012"},
        "1700000000.123456789012",
    )


ZERO = datetime(2024, 3, 31, tzinfo=UTC)

OFFSETS = st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours)))

INSTANTS = st.builds(
    lambda seconds, offset: (ZERO + timedelta(seconds=seconds)).astimezone(offset).isoformat(),
    st.integers(0, 100),
    OFFSETS,
)


@given(st.lists(st.lists(INSTANTS, max_size=5)), st.randoms(use_true_random=False))
def test_the_watermark_is_the_maximum_in_whatever_order(pages: list[list[str]], random: Any) -> None:
    one, other = changes(lookback=10), changes(lookback=10)
    for page in pages:
        one.admit(lines(rows(*page)), "page 1")
    shuffled = [random.sample(page, len(page)) for page in random.sample(pages, len(pages))]
    for page in shuffled:
        other.admit(lines(rows(*page)), "page 1")
    every = [datetime.fromisoformat(text) for page in pages for text in page]
    for found in (one, other):
        mark = found.top
        assert (mark and datetime.fromisoformat(mark.text)) == max(every, default=None)


Story = Sequence[tuple[int, Sequence[tuple[int, int]]]]
"""For each run: how far the clock has come, and of each change its row, and how late it is."""


def stories(lateness: int) -> st.SearchStrategy[Story]:
    change = st.tuples(st.integers(0, 5), st.integers(0, lateness))
    return st.lists(st.tuples(st.integers(0, 20), st.lists(change, max_size=6)), min_size=1, max_size=8)


@given(stories(10), st.sampled_from(["inclusive", "exclusive", "coarse", "ignored"]), OFFSETS, st.randoms())
def test_every_change_comes_exactly_once(story: Story, api: str, offset: timezone, random: Any) -> None:
    """Of changes that come at most a lookback late, whatever the API makes of the value to start from."""
    table: dict[int, Any] = {}
    expected: Counter[str] = Counter()
    delivered: Counter[str] = Counter()
    state: State | None = None
    clock, top, version = 0, 0, 0
    lookback = 11 if api == "exclusive" else 10
    for passed, made in story:
        clock += passed
        for key, late in made:
            # No later than the lookback, and no earlier than what the row says already.
            at = max(clock - late, top - 10, table[key]["seconds"] if key in table else 0)
            version += 1
            text = (ZERO + timedelta(seconds=at)).astimezone(offset).isoformat()
            table[key] = {"id": key, "at": text, "seconds": at, "version": version}
        found = changes(state, lookback=lookback)
        start = None if found.start is None else datetime.fromisoformat(str(found.start.sent))
        served = [row for row in table.values() if _served(row, start, api)]
        random.shuffle(served)
        delivered.update(json.dumps(row) for row in admitted(found, served[:3], served[3:]))
        expected = Counter(set(expected) | {json.dumps(row) for row in table.values()})
        state = found.next() if found.new else state
        top = max((row["seconds"] for row in table.values()), default=0)
    assert delivered == expected


def _served(row: Any, start: datetime | None, api: str) -> bool:
    if start is None or api == "ignored":
        return True
    at = datetime.fromisoformat(row["at"])
    if api == "coarse":
        return at >= start.replace(second=0)
    return at > start if api == "exclusive" else at >= start
