"""How tests reach an S3 server on loopback, and a server in a process of its own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.servers import ChildServer

if TYPE_CHECKING:
    from s3fs import S3FileSystem


def filesystem_at(url: str) -> S3FileSystem:
    # Only who needs it pays for the import: tries are processes whose memory is measured.
    from s3fs import S3FileSystem

    return S3FileSystem(
        key="key",
        secret="secret",
        endpoint_url=url,
        client_kwargs={"region_name": "eu-central-1"},
        config_kwargs={"retries": {"mode": "standard", "max_attempts": 2}},
    )


class S3Process(ChildServer):
    """moto's S3 server with the bucket ``lake``; it outlives whoever is killed while using it."""

    def __init__(self, latency: float = 0.0) -> None:
        super().__init__(sys.executable, "-m", "tests.sinks.s3_server", str(latency))
