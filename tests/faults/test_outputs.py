"""Faults between us and the target: what fails while it is written, a full disk, a store with errors, a slow one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from airflow_paginated import PageNumber
from airflow_paginated.core.errors import ConfigurationError, StoreError
from airflow_paginated.sinks.rows import RowFunctions
from tests.collect.disk import leftovers, proved, published
from tests.collect.running import Job, collect
from tests.collect.tries import Manner, Try
from tests.faults.endings import exact, refused
from tests.servers import FaultServer, PagedApi, ServerProcess
from tests.sinks.s3_client import filesystem_at
from tests.sinks.s3_server import Fault, S3Server, serving

ROOT = Path(__file__).resolve().parents[2]
OLD, NEW = PagedApi(rows=60, page_size=10), PagedApi(rows=80, page_size=10, seed=1)
# More than one block of an upload, which is then one of several parts.
LARGE = PagedApi(rows=42_000, page_size=3_000)
TARGETS = ["out/", "out/rows.jsonl", "out/rows.jsonl.gz"]


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    # A bucket that other tests in this process do not have.
    with serving("shelf") as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server) -> Iterator[S3Server]:
    s3_server.answered_500 = 0
    yield s3_server
    s3_server.faults.clear()
    bucket = s3_server.filesystem()
    bucket.invalidate_cache()
    if bucket.find("shelf"):
        bucket.rm("shelf/out", recursive=True)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(OLD) as server:
        yield server


def job_over_old(server: FaultServer, path: str) -> Job:
    """Publish the old rows, and return the job of a run that is to replace them."""
    job = Job(url=server.url, path=path, sink={"part_bytes": 5_000} if path.endswith("/") else {})
    server.app = OLD
    collect(replace(job, run="earlier"))
    server.app = NEW
    server.log.clear()
    return job


@dataclass(frozen=True)
class OnRow:
    """A function of a row that does something odd with one of them."""

    number: int
    odd: Callable[[], Any]

    def __call__(self, row: Any) -> Any:
        return self.odd() if row["id"] == self.number else row


def fails() -> None:
    raise KeyError("salary")


@pytest.mark.fault("O1")
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("odd", [fails, object], ids=["raises", "returns no JSON"])
def test_a_function_of_a_row_fails(server: FaultServer, odd: Callable[[], Any], target: str, tmp_path: Path) -> None:
    job = job_over_old(server, f"{tmp_path}/{target}")
    before = published(job.path)
    ending = refused(replace(job, rows=RowFunctions(change=OnRow(57, odd))), ConfigurationError, before)
    assert "row 8 of page 6" in str(ending.error)
    server.log.clear()
    # Once it is mended, the API is not asked again.
    collect(replace(job, rows=RowFunctions(change=OnRow(-1, fails))))
    assert set(server.log.counts) <= {("", 8)}
    assert [json.loads(line)["id"] for line in proved(job.path).splitlines()] == list(range(80))
    assert leftovers(job.path) == set()


def raising(error: BaseException, at: int) -> Callable[[], None]:
    """Return what raises at this step of publishing."""
    steps = iter(range(10**6))

    def check_cancelled() -> None:
        if next(steps) == at:
            raise error

    return check_cancelled


@pytest.mark.fault("O1")
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("error", [RuntimeError("a defect"), MemoryError(), KeyboardInterrupt()], ids=repr)
def test_anything_is_raised_while_a_part_is_open(
    server: FaultServer, error: BaseException, target: str, tmp_path: Path
) -> None:
    job = job_over_old(server, f"{tmp_path}/{target}")
    before = published(job.path)
    with pytest.raises(type(error)):
        # Two notes and the file, or the first part, come before its pages.
        collect(job, check_cancelled=raising(error, 4))
    assert published(job.path) == before
    assert list(tmp_path.rglob("*.tmp")) == []
    exact(job, NEW)
    assert leftovers(job.path) == set()


@pytest.mark.fault("O1")
@pytest.mark.parametrize("target", ["out/", "out/rows.jsonl"])
def test_anything_is_raised_while_an_upload_is_under_way(s3: S3Server, target: str, tmp_path: Path) -> None:
    with FaultServer(LARGE) as server:
        job = Job(url=server.url, path=f"s3://shelf/{target}", store=s3.url)
        with pytest.raises(RuntimeError, match="a defect"):
            collect(job, check_cancelled=raising(RuntimeError("a defect"), 16))
    assert [name for name in visible(s3) if "/_" not in name] == []
    assert pending_uploads(s3) == 0


@pytest.mark.fault("O1")
def test_a_stored_page_is_damaged(server: FaultServer, tmp_path: Path) -> None:
    job = job_over_old(server, f"{tmp_path}/out/")
    before = published(job.path)

    def damage() -> None:
        for segment in job.staging.glob("shard-0000/*"):
            segment.write_bytes(segment.read_bytes().replace(b'"boss": null', b'"boss": true'))

    with pytest.raises(StoreError, match="the next try collects everything again"):
        collect(job, check_cancelled=damage)
    assert published(job.path) == before
    assert exact(job, NEW)["resumed_pages"] == 0
    assert leftovers(job.path) == set()


@pytest.mark.fault("O2")
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.parametrize("moment", ["collecting", "publishing"])
def test_the_disk_is_full(moment: str, tmp_path: Path) -> None:
    # 256 kB hold the pages of the one once, and those of the other not even that.
    api = PagedApi(rows={"collecting": 2_000, "publishing": 800})
    with FaultServer(api) as server:
        run = f'exec "$PYTHON" -m tests.faults.full_disk "$URL" "$DISK" {moment}'
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size=256k tmpfs "$DISK" && {run}'],
            env=os.environ | {"DISK": str(tmp_path), "PYTHON": sys.executable, "URL": server.url},
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    if "unshare failed" in done.stderr or "permission denied" in done.stderr:
        pytest.skip(f"this host allows no mounts: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["error"] == "StoreError"
    assert "No space left on device" in found["text"]
    assert (found["visible"], found["temporary"]) == (False, [])
    assert found["resumed"] == found["landed"] > 5
    assert found["rows"].encode() == api.reference([moment])
    assert found["leftovers"] == []


def visible(s3: S3Server) -> list[str]:
    bucket = filesystem_at(s3.url)
    bucket.invalidate_cache()
    found: list[str] = bucket.find("shelf")
    return found


def pending_uploads(s3: S3Server) -> int:
    return len(s3.filesystem().list_multipart_uploads("shelf"))


def copied(s3: S3Server, root: Path) -> str:
    """Copy the bucket to the disk and return the target there."""
    for name in visible(s3):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(s3.filesystem().cat_file(name))
    return f"{root}/shelf/out/"


ERRORS = {
    "a claim": Fault("PUT", "", 1, "claim-"),
    "a segment": Fault("PUT", "", 1, "segment-"),
    "an upload's beginning": Fault("POST", "uploads", 1),
    "a part": Fault("PUT", "partNumber", 1),
    "its completion": Fault("POST", "uploadId", 1),
    "its completion, under 200": Fault("POST", "uploadId", 1, status="200 OK"),
    "the manifest": Fault("PUT", "", 1, "_manifest"),
}


@pytest.mark.fault("O3")
def test_each_request_to_a_store_fails_once(s3: S3Server, tmp_path: Path) -> None:
    s3.faults.extend(replace(fault) for fault in ERRORS.values())
    with FaultServer(LARGE) as server:
        collect(Job(url=server.url, path="s3://shelf/out/", store=s3.url))
    assert s3.answered_500 == len(ERRORS)
    assert proved(copied(s3, tmp_path)) == LARGE.reference()
    assert pending_uploads(s3) == 0


@pytest.mark.fault("O3")
@pytest.mark.parametrize("where", ["a part", "its completion, under 200", "the manifest"])
def test_a_request_to_a_store_fails_for_good(s3: S3Server, where: str, tmp_path: Path) -> None:
    s3.faults.append(replace(ERRORS[where], times=10**6))
    with FaultServer(LARGE) as server:
        job = Job(url=server.url, path="s3://shelf/out/", store=s3.url)
        with pytest.raises(StoreError, match="cannot write s3"):
            collect(job)
        assert 1 < s3.answered_500 < 50
        assert "shelf/out/_manifest.json" not in visible(s3)
        assert pending_uploads(s3) == 0
        s3.faults.clear()
        server.log.clear()
        assert collect(job)["resumed_pages"] == 14
        assert set(server.log.counts) <= {("", 14)}
    path = copied(s3, tmp_path)
    assert proved(path) == LARGE.reference()
    assert leftovers(path) == set()


def peak_with(s3: S3Server, server: ServerProcess, latency: float) -> int:
    """Return the peak memory, in KiB, of a process whose store takes so long for each PUT, and check that it waited."""
    by_page = PageNumber(total_path="meta.total", page_size=100, page_size_param="per_page")
    s3.latency = latency
    job = Job(url=server.url, path=f"s3://shelf/out/{latency}/", pagination=by_page, store=s3.url)
    with Try(job, Manner(segment_pages=25)) as running:
        outcome = running.wait()
    s3.latency = 0.0
    assert outcome.result is not None, outcome.text
    assert outcome.result["pages"] == 500
    # There are twenty segments.
    assert outcome.result["seconds"] >= 20 * latency
    return outcome.peak_kib


@pytest.mark.fault("O4")
def test_a_store_that_is_slower_than_the_api(s3: S3Server) -> None:
    # 11 MB of rows: what piles up while the store is waited for would show.
    with ServerProcess({"api": {"rows": 50_000}}) as server:
        fast, slow = (peak_with(s3, server, latency) for latency in (0.0, 0.1))
    print(f"peak: {fast / 1024:.1f} MiB with a fast store, {slow / 1024:.1f} MiB with a slow one")
    assert slow < fast + 5 * 1024
