"""Pages as the scheduler yields them, and what must be published of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from airflow_paginated.collect.audit import Audit
from airflow_paginated.core.policies import Completeness
from airflow_paginated.core.values import CollectionReport, OrderedPage, Page, PageRecord, PageRequest, Stop, Total
from airflow_paginated.sinks.protocol import Dataset, Owner, Run

SECRET = "s3cr3t-canary"
BASE = PageRequest(path="/employees", query={"active": "true"}, headers={"X-Api-Key": SECRET})


def run_of(run: str = "run-1", **known: Any) -> Run:
    owner = Owner("dag", "collect", run, known.pop("map_index", -1))
    return Run(owner, {"endpoint": "/employees", **known.pop("plan", {})}, BASE, **known)


@dataclass(frozen=True)
class Api:
    """An API of ``pages`` pages in each of ``partitions``, whose rows follow from the numbers alone."""

    pages: int = 6
    partitions: int = 1
    rows: int = 10
    version: int = 1

    def partition_ids(self) -> list[tuple[int, ...]]:
        return [(number,) for number in range(self.partitions)]

    def request(self, partition: tuple[int, ...], index: int) -> PageRequest:
        query = {**BASE.query, "page": index + 1}
        return replace(BASE, partition=partition, index=index, query=query, state={"step": self.rows})

    def landing(self, partition: tuple[int, ...], index: int) -> OrderedPage:
        request = self.request(partition, index)
        place = {"partition": list(partition), "page": index, "version": self.version}
        rows = [json.dumps({**place, "row": row, "price": 1.10}).encode() for row in range(self.rows)]
        going_on = index + 1 < self.pages
        successor = self.request(partition, index + 1) if going_on else Stop("total reached")
        return OrderedPage(Page.of(request, rows, attempts=2, seconds=0.25), successor)

    def landings(self) -> Iterator[OrderedPage]:
        """Yield all pages, the partitions taking turns, as they do in a walk."""
        for index in range(self.pages):
            for partition in self.partition_ids():
                yield self.landing(partition, index)

    def lines(self) -> bytes:
        """Return all rows as they must be published."""
        each = (self.landing(partition, i).page.lines for partition in self.partition_ids() for i in range(self.pages))
        return b"".join(each)


def record_of(landing: OrderedPage) -> PageRecord:
    return PageRecord.of(landing, Total(6, "pages"))


def store_pages(dataset: Dataset, landings: Iterable[OrderedPage]) -> None:
    for landing in landings:
        dataset.store_page(record_of(landing), landing.page.lines)


def report_of(dataset: Dataset) -> CollectionReport:
    """Fold what a dataset stores as a run does."""
    audit = Audit(Completeness(on_total_change="warn", on_repeat="allow"))
    for record in dataset.records():
        audit.add_page(replace(record, total=None))
    return audit.report()


def missing(dataset: Dataset, api: Api) -> Iterator[OrderedPage]:
    """Yield what a resumed run would fetch: the newest page of each partition again, and all that follows it."""
    for partition in api.partition_ids():
        last = dataset.last(partition)
        for index in range(last.request.index if last else 0, api.pages):
            yield api.landing(partition, index)


def collect(dataset: Dataset, api: Api) -> Any:
    """Collect what is missing, publish, and return the result."""
    try:
        store_pages(dataset, list(missing(dataset, api)))
        return dataset.publish(report_of(dataset))
    finally:
        dataset.close()
