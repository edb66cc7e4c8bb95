"""From parents to children: the items of each order of an earlier collection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_paginated import Completeness, Cursor, Limits, PageNumber, PageRequest, Product, RowsOf
from airflow_paginated.core.errors import ConfigurationError, PageFailed, PaginatedApiError, StoreError
from airflow_paginated.sinks import AddColumns
from airflow_paginated.transport import ResponseRules
from tests.collect.disk import landed, leftovers, manifest, proved
from tests.collect.running import Job, collect
from tests.servers import Family, FaultServer, Request, Schedule, ServerError, seven_faults
from tests.servers.faults import Fault
from tests.sinks.s3_server import S3Server

FAMILY = Family(orders=60, most=7)

BY_TOTAL = PageNumber(total_path="meta.total")

BY_CURSOR = Cursor(cursor_path="meta.next", cursor_param="page")


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(FAMILY) as made:
        yield made


def parents(server: FaultServer, tmp_path: Path, **known: Any) -> str:
    """Collect the orders and return their manifest."""
    job = Job(url=server.url, path=f"{tmp_path}/orders/", request=PageRequest("/orders"), **known)
    manifest: str = collect(job)["manifest"]
    return manifest


def children(server: FaultServer, tmp_path: Path, of: str, **known: Any) -> Job:
    options = {"pagination": BY_TOTAL, "path": f"{tmp_path}/items/", "partitions": RowsOf(of, {"order_id": "id"})}
    return Job(url=server.url, request=PageRequest("/orders/{order_id}/items"), **{**options, **known})


def test_each_parent_has_its_children_in_order(server: FaultServer, tmp_path: Path) -> None:
    job = children(server, tmp_path, parents(server, tmp_path))
    result = collect(job)
    assert proved(job.path) == FAMILY.reference()
    said = manifest(job.path)
    assert said is not None
    pages = sum(max(1, -(-len(FAMILY.items(number)) // 2)) for number in range(60))
    assert (said["partitions"], said["pages"], result["rows"]) == (60, pages, FAMILY.reference().count(b"\n"))
    checks = {check["name"]: check for check in said["checks"]}
    assert checks["parents_complete"]["verdict"] == "passed"
    assert checks["parents_complete"]["evidence"].startswith(f"60 rows of {tmp_path}/orders/_manifest.json")
    assert said["plan"]["partitions"]["fields"] == {"order_id": "id"}
    assert said["complete"]


@pytest.mark.parametrize("pagination", [BY_TOTAL, BY_CURSOR])
def test_the_bytes_do_not_depend_on_workers_and_faults(server: FaultServer, tmp_path: Path, pagination: Any) -> None:
    job = children(server, tmp_path, parents(server, tmp_path), pagination=pagination)
    job = replace(job, add_columns=AddColumns({"order_id": "partition.order_id", "_page": "page"}))
    digests = set()
    for workers in (1, 3, 16):
        server.faults = seven_faults(0.1, seed=workers)
        at = replace(job, path=f"{tmp_path}/{workers}/", workers=workers)
        collect(at)
        digests.add(proved(at.path))
    (found,) = digests
    rows = [json.loads(line) for line in found.splitlines()]
    expected = [(number, at) for number in range(60) for at in range(len(FAMILY.items(number)))]
    assert [(row["order_id"], row["item"] % 1000) for row in rows] == expected
    assert [row["_page"] for row in rows] == [at // 2 + 1 for _, at in expected]
    assert b'"price":3.50,"order_id":' in found


def test_a_404_can_mean_that_there_are_no_children(server: FaultServer, tmp_path: Path) -> None:
    of = parents(server, tmp_path)
    server.app = family = replace(FAMILY, childless="not_found")
    job = children(server, tmp_path, of)
    with pytest.raises(PaginatedApiError, match=r"404 Not Found.*\(partitions\[\d+\]: order_id=\d+\)"):
        collect(job)
    rules = ResponseRules(response_actions=[{"action": "END", "status": 404}])
    collect(replace(job, client={"rules": rules}))
    assert proved(job.path) == family.reference()
    said = manifest(job.path)
    assert said is not None
    assert said["partitions"] == 60


def test_no_parents_are_no_children(server: FaultServer, tmp_path: Path) -> None:
    server.app = Family(orders=0)
    job = children(server, tmp_path, parents(server, tmp_path))
    result = collect(job)
    assert (result["rows"], result["pages"], result["files"]) == (0, 0, 0)


def always(order: int) -> Schedule:
    def fault(request: Request, nth: int) -> Fault | None:
        return ServerError(500) if request.path == f"/orders/{order}/items" else None

    return fault


def test_one_that_fails_is_named_and_shows_nothing(server: FaultServer, tmp_path: Path) -> None:
    job = children(server, tmp_path, parents(server, tmp_path))
    server.faults = always(37)
    with pytest.raises(PageFailed, match=r"of partition 37 .*/orders/37/items.*\(partitions\[37\]: order_id=37\)$"):
        collect(job)
    assert manifest(job.path) is None


def test_a_total_that_is_wrong_names_the_parameters(server: FaultServer, tmp_path: Path) -> None:
    of = parents(server, tmp_path)
    job = children(server, tmp_path, of, pagination=PageNumber(total_path="meta.lie"))
    with pytest.raises(PaginatedApiError, match=r"total_path 'meta.lie' .*\(partitions\[\d+\]: order_id=\d+\)"):
        collect(job)


@pytest.mark.parametrize("pagination", [BY_TOTAL, BY_CURSOR])
def test_a_retry_fetches_what_had_not_landed(server: FaultServer, tmp_path: Path, pagination: Any) -> None:
    known = {"pagination": pagination, "workers": 3, "completeness": Completeness(probe_past_end=False)}
    job = children(server, tmp_path, parents(server, tmp_path), **known)
    job = replace(job, add_columns=AddColumns({"order": "partition.order_id"}))
    server.faults = always(41)
    with pytest.raises(PageFailed):
        collect(job)
    stored, before = landed(job.staging), server.log.counts
    assert len(stored) > 30
    server.faults = always(-1)
    result = collect(job)
    again = [page for page, count in server.log.counts.items() if count > before[page]]
    # Of one that was open, the newest page is fetched once more; of one that had ended, none.
    assert all(index >= stored[(int(order),)].final for order, index in again if (int(order),) in stored)
    assert len(again) == result["requests"] < 130
    rows = [json.loads(line) for line in proved(job.path).splitlines()]
    assert [row["item"] for row in rows] == [json.loads(line)["item"] for line in FAMILY.reference().splitlines()]
    assert all(row["order"] == row["item"] // 1000 for row in rows)
    assert leftovers(job.path) == set()


def test_other_parents_are_another_collection(server: FaultServer, tmp_path: Path) -> None:
    of = parents(server, tmp_path)
    job = children(server, tmp_path, of)
    server.faults = always(37)
    with pytest.raises(PageFailed):
        collect(job)
    server.app, server.faults = Family(orders=30, most=7), always(-1)
    assert parents(server, tmp_path, run="run-2") == of
    result = collect(job)
    assert result["resumed_pages"] == 0
    assert proved(job.path) == FAMILY.reference(range(30))


def test_a_sample_of_parents_is_refused_or_makes_an_incomplete_dataset(server: FaultServer, tmp_path: Path) -> None:
    server.app = replace(FAMILY, page_size=10)
    of = parents(server, tmp_path, limits=Limits(sample_pages=2))
    with pytest.raises(ConfigurationError, match="is not complete"):
        collect(children(server, tmp_path, of))
    job = children(server, tmp_path, of, partitions=RowsOf(of, {"order_id": "id"}, allow_incomplete=True))
    assert collect(job)["complete"] is False
    assert proved(job.path) == FAMILY.reference(range(20))


def test_parents_that_go_before_the_children_are_there_fail_the_run(server: FaultServer, tmp_path: Path) -> None:
    job = children(server, tmp_path, parents(server, tmp_path))
    (part,) = (tmp_path / "orders").glob("part-*")
    part.unlink()
    with pytest.raises(StoreError, match="is not what"):
        collect(job)
    assert server.log.counts == {}


def test_parents_with_the_same_value_are_refused_or_one(server: FaultServer, tmp_path: Path) -> None:
    of = parents(server, tmp_path)
    fields = {"order_id": "customer.id"}
    with pytest.raises(ConfigurationError, match=r"partitions\[5\] sends the same request as partitions\[0\]"):
        collect(children(server, tmp_path, of, partitions=RowsOf(of, fields)))
    assert server.log.counts == {}
    job = children(server, tmp_path, of, partitions=RowsOf(of, fields, on_duplicate="drop"))
    collect(job)
    assert proved(job.path) == FAMILY.reference(range(5))


def test_a_product_is_collected_in_its_order(server: FaultServer, tmp_path: Path) -> None:
    of = parents(server, tmp_path)
    two = Product([RowsOf(of, {"order_id": "id"}), [{"lang": "de"}, {"lang": "en"}]])
    job = children(server, tmp_path, of, partitions=two, add_columns=AddColumns({"lang": "partition.lang"}))
    collect(job)
    rows = [json.loads(line) for line in proved(job.path).splitlines()]
    expected = [
        (json.loads(text)["item"], lang)
        for number in range(60)
        for lang in ("de", "en")
        for text in FAMILY.items(number)
    ]
    assert [(row["item"], row["lang"]) for row in rows] == expected


def test_parents_in_a_store(server: FaultServer, tmp_path: Path) -> None:
    bucket = f"orders-{uuid4().hex}"
    with S3Server() as s3:
        s3.filesystem().mkdir(bucket)
        orders = {"path": f"s3://{bucket}/orders/", "store": s3.url, "sink": {"part_bytes": 900}}
        of = collect(Job(url=server.url, request=PageRequest("/orders"), **orders))["manifest"]
        collect(children(server, tmp_path, of, path=f"s3://{bucket}/items.jsonl", store=s3.url))
        assert s3.filesystem().cat_file(f"{bucket}/items.jsonl") == FAMILY.reference()
