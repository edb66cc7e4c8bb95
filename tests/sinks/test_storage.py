from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_paginated.core.errors import ConfigurationError, StoreError, TargetError
from airflow_paginated.sinks.files.local_storage import LocalStorage
from airflow_paginated.sinks.files.object_storage import ObjectStorage
from airflow_paginated.sinks.files.storage import store_error, temp_name, temp_owner, translated
from tests.sinks.conftest import TOKEN, Lake
from tests.sinks.s3_server import Fault, S3Server

ROOT = Path(__file__).resolve().parents[2]


def test_create_writes_only_what_is_not_there(lake: Lake) -> None:
    storage = lake.storage()
    assert storage.create("a/claim-1", b"first") is True
    assert storage.create("a/claim-1", b"second") is False
    assert storage.read("a/claim-1") == b"first"


def test_put_replaces(lake: Lake) -> None:
    storage = lake.storage()
    storage.put("a/b", b"old and longer")
    storage.put("a/b", b"new")
    assert lake.files() == {"a/b": b"new"}


@pytest.mark.parametrize("size", [0, 10, 20 * 1024 * 1024])
def test_a_pending_file_appears_whole_at_its_commit(lake: Lake, size: int) -> None:
    storage = lake.storage()
    data = os.urandom(size)
    pending = storage.begin("a/part", size)
    for at in range(0, size, 1024 * 1024):
        pending.write(data[at : at + 1024 * 1024])
    assert "a/part" not in lake.files()
    pending.commit()
    pending.discard()
    assert lake.files() == {"a/part": data}


@pytest.mark.parametrize("size", [0, 10, 20 * 1024 * 1024])
def test_a_discarded_file_leaves_the_old_one_and_no_trace(lake: Lake, size: int) -> None:
    storage = lake.storage()
    storage.put("part", b"old")
    pending = storage.begin("part")
    pending.write(b"x" * size)
    pending.discard()
    pending.discard()
    assert lake.files() == {"part": b"old"}


def test_reading(lake: Lake) -> None:
    storage = lake.storage()
    storage.put("a/b", b"0123456789")
    reader = storage.reader("a/b")
    assert (reader.read(3, 4), reader.read(8, 10)) == (b"3456", b"89")
    reader.close()
    assert storage.read_range("a/b", 3, 4) == b"3456"
    assert (storage.read("a/b"), storage.size("a/b")) == (b"0123456789", 10)
    assert (storage.read("a/c"), storage.size("a/c")) == (None, None)


def test_listing(lake: Lake) -> None:
    storage = lake.storage()
    assert (storage.entries(), storage.entries("none"), dict(storage.files())) == ([], [], {})
    for name in ("b", "a/y", "a/x", "a/z/deep"):
        storage.put(name, name.encode())
    assert storage.entries() == ["a/", "b"]
    assert storage.entries("a") == ["x", "y", "z/"]
    assert list(storage.files()) == ["a/x", "a/y", "a/z/deep", "b"]
    assert list(storage.files("a")) == ["a/x", "a/y", "a/z/deep"]
    assert list(storage.sub("a").files()) == ["x", "y", "z/deep"]
    assert storage.files()["a/z/deep"].size == 8
    assert abs((storage.files()["b"].modified or 0) - time.time()) < 60


def test_listings_are_never_stale(lake: Lake) -> None:
    storage, other = lake.storage(), lake.storage()
    for number in range(3):
        storage.put(f"a/{number}", b"x")
        assert len(other.entries("a")) == len(other.files("a")) == number + 1
    storage.delete(["a/0"])
    assert (other.entries("a"), other.size("a/0")) == (["1", "2"], None)


def test_deleting(lake: Lake) -> None:
    storage = lake.storage()
    for name in ("a/x", "a/y", "b"):
        storage.put(name, b"x")
    storage.delete(["a/x", "a/none"])
    storage.delete([])
    assert set(lake.files()) == {"a/y", "b"}
    storage.sub("a").drop()
    storage.sub("a").drop()
    assert (storage.entries(), set(lake.files())) == (["b"], {"b"})


def test_prune_deletes_only_an_empty_folder(local: Lake) -> None:
    storage = local.storage()
    storage.put("a/x", b"x")
    storage.sub("a").prune()
    assert storage.entries() == ["a/"]
    storage.delete(["a/x"])
    storage.sub("a").prune()
    assert storage.entries() == []


class NoExclusive(MemoryFileSystem):
    """A filesystem that cannot create a file only if it is absent."""

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode == "xb":
            raise NotImplementedError("File mode not supported")
        return super()._open(path, mode, **options)


def test_create_where_there_is_no_such_mode() -> None:
    storage = ObjectStorage(NoExclusive(global_store=False, skip_instance_cache=True), "/lake", TOKEN)
    assert [storage.create("claim-1", b"first"), storage.create("claim-1", b"second")] == [True, False]
    assert storage.read("claim-1") == b"first"


def test_defects_are_not_taken_for_errors_of_the_store() -> None:
    with pytest.raises(KeyError), translated("read x"):
        raise KeyError("a defect")


def test_a_log_is_stored_when_it_is_closed(lake: Lake) -> None:
    log = lake.storage().log("log")
    log.append(b"head", b"body")
    log.append(b"more", b"")
    assert lake.files() == ({"log": b"headbodymore"} if lake.kind == "local" else {})
    log.close()
    log.close()
    assert lake.files() == {"log": b"headbodymore"}


def test_an_abandoned_log_stores_no_more(store: Lake) -> None:
    log = store.storage().log("log")
    log.append(b"head", b"body")
    log.abandon()
    log.close()
    assert store.files() == {}


def test_a_wildcard_in_a_store_path_is_refused(memory: Lake) -> None:
    with pytest.raises(ConfigurationError, match="must not contain"):
        ObjectStorage(memory.fs, "/lake/[ab]/", TOKEN)


def test_a_file_where_a_folder_should_be(local: Lake) -> None:
    local.write("out", b"a file")
    for action in (lambda: local.storage().entries(), lambda: local.storage().put("x", b"")):
        with pytest.raises((TargetError, StoreError)):
            action()


def test_the_owner_of_a_temporary_name() -> None:
    assert temp_owner(temp_name("_pages/x.ndjson.gz", TOKEN)) == "0123456789abcdef"
    assert temp_name("_pages/x.ndjson.gz", TOKEN).startswith("_pages/_x")
    assert temp_owner("_pages/x.tmp") is None


def test_an_unwritable_folder_is_a_store_error(local: Lake) -> None:
    storage = LocalStorage("/proc/none", TOKEN)
    with pytest.raises(StoreError, match="cannot write /proc/none/a: FileNotFoundError"):
        storage.put("a", b"")


def test_error_texts_hold_no_foreign_text() -> None:
    class ClientError(Exception):
        response = {"Error": {"Code": "AccessDenied", "Message": "secret"}}  # noqa: RUF012

    assert str(store_error("read x", ClientError("secret"))) == "cannot read x: ClientError (AccessDenied)"


def test_a_missing_bucket_is_a_store_error(s3: S3Server) -> None:
    storage = ObjectStorage(s3.filesystem(), "no-such-bucket/x", TOKEN)
    assert storage.entries() == []
    for action in (lambda: storage.put("a", b"x"), lambda: storage.create("a", b"x")):
        with pytest.raises(StoreError, match="no-such-bucket/x/a"):
            action()


def uploads(server: S3Server) -> int:
    return len(server.filesystem().list_multipart_uploads("lake"))


@pytest.mark.parametrize(
    ("method", "query"),
    [("PUT", "partNumber"), ("POST", "uploads"), ("POST", "uploadId")],
    ids=["a part", "begin", "complete"],
)
def test_errors_of_a_store_are_retried(s3: S3Server, store: Lake, method: str, query: str) -> None:
    s3.faults.append(Fault(method, query, 1))
    pending = store.storage().begin("part")
    pending.write(b"x" * 20_000_000)
    pending.commit()
    assert store.files() == {"part": b"x" * 20_000_000}


@pytest.mark.parametrize(("method", "query"), [("PUT", "partNumber"), ("POST", "uploadId")], ids=["a part", "complete"])
def test_an_upload_that_fails_for_good_is_aborted(s3: S3Server, store: Lake, method: str, query: str) -> None:
    s3.faults.append(Fault(method, query, 1_000))
    pending = store.storage().begin("part")

    def write() -> None:
        pending.write(b"x" * 9_000_000)
        pending.commit()

    with pytest.raises(StoreError, match="cannot write s3"):
        write()
    s3.faults.clear()
    pending.discard()
    assert (uploads(s3), store.files()) == (0, {})


def test_a_put_that_fails_for_good(s3: S3Server, store: Lake) -> None:
    s3.faults.append(Fault("PUT", "", 1_000))
    with pytest.raises(StoreError, match="cannot write s3"):
        store.storage().put("a", b"x")
    assert 1 < s3.answered_500 < 100


DISK_FULL = """
import os
from airflow_paginated.core.errors import StoreError
from airflow_paginated.sinks.files.local_storage import LocalStorage
storage = LocalStorage(os.environ["DISK"], "0123456789abcdef-01234567")
def full(action):
    try:
        action()
    except StoreError as error:
        assert "No space left on device" in str(error), error
        return True
    return False
pending = storage.begin("part")
assert full(lambda: [pending.write(os.urandom(64 * 1024)) for _ in range(8)] and pending.commit())
assert storage.entries() == [], storage.entries()
log, page = storage.log("log"), b"x" * 10_000
landed = 0
while not full(lambda: log.append(b"head\\n", page)):
    landed += 1
log.close()
assert 10 < landed < 30 and storage.size("log") == landed * (5 + len(page)), (landed, storage.size("log"))
assert full(lambda: storage.put("small", b"x" * 64 * 1024))
assert storage.entries() == ["log"], storage.entries()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=256k tmpfs "$DISK" && exec "$PYTHON" -c "$SCRIPT"'
    env = os.environ | {"DISK": str(tmp_path), "PYTHON": sys.executable, "SCRIPT": DISK_FULL}
    done = subprocess.run(["unshare", "-m", "sh", "-c", mount], env=env, cwd=ROOT, capture_output=True, text=True)
    if "unshare failed" in done.stderr or "permission denied" in done.stderr:
        pytest.skip(f"this host allows no mounts: {done.stderr.strip()}")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_disk_without_links_creates_as_well(local: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    test_create_writes_only_what_is_not_there(local)
    assert local.files() == {"a/claim-1": b"first"}


def test_what_is_created_is_whole_or_not_there(local: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise OSError(errno.EIO, "died")

    monkeypatch.setattr(os, "link", die)
    with pytest.raises(StoreError, match="claim-1"):
        local.storage().create("claim-1", b"data")
    assert local.files() == {}
