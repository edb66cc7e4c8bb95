"""Runs over a table that changes between them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from airflow_paginated import Incremental
from tests.collect.disk import proved
from tests.collect.running import Job, collect
from tests.servers import FaultServer
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


def fill(site: Site, count: int = 8) -> None:
    for key in range(count):
        site.table.change(key, at(key))
