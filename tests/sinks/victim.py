"""A process that forks a child for each line it reads; the child collects and publishes, and may be killed.

A line is ``ROOT PATH VERSION``. It answers with the child's process id, then, when the child has ended, its status.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings

from airflow_paginated.sinks import FileSink, local_or_fsspec
from airflow_paginated.sinks.files import segments
from tests.sinks.pages import Api, collect, run_of

PART_BYTES = 7_000


def api_of(version: int) -> Api:
    return Api(pages=10 + version % 5, partitions=3, version=version)


def run_once(root: str, path: str, version: int) -> None:
    segments.MAX_PAGES = 7  # type: ignore[misc]  # to close many segments in a short time
    sink = FileSink(f"{root}/{path}", part_bytes=PART_BYTES)
    collect(sink.resolved(local_or_fsspec).open(run_of(f"run-{version}")), api_of(version))


def main() -> None:
    for line in sys.stdin:
        root, path, version = line.split()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                run_once(root, path, int(version))
                status = 0
            except Exception:  # noqa: BLE001  # told to whoever reads the test's output
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)


if __name__ == "__main__":
    warnings.simplefilter("error")
    main()
