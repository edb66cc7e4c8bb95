"""moto's S3 server on loopback, with errors on demand in front of it.

As a process of its own, ``python -m tests.sinks.s3_server`` has the bucket ``lake``, prints its port, and ends when its
input is closed.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, Self

from moto.server import DomainDispatcherApplication, create_backend_app
from s3fs import S3FileSystem
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.sinks.s3_client import filesystem_at

_ERROR = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>on demand</Message></Error>"


class _Handler(WSGIRequestHandler):
    # It writes head and body apart; without this each answer waits for the client's delayed acknowledgement.
    disable_nagle_algorithm = True


@dataclass
class Fault:
    """The next ``times`` requests of this method whose query and path have these in them are answered with an error.

    S3 can answer the completion of an upload with an error under ``status`` 200.
    """

    method: str
    query: str
    times: int
    path: str = ""
    status: str = "500 Internal Server Error"


@dataclass
class S3Server:
    """Runs in a thread for the length of a with-block."""

    faults: list[Fault] = field(default_factory=list)
    answered_500: int = 0
    """How many were answered with an error."""
    latency: float = 0.0
    """How long each PUT takes at least, in seconds."""

    def __enter__(self) -> Self:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Handler)
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    def filesystem(self) -> S3FileSystem:
        return filesystem_at(self.url)

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        for fault in self.faults:
            matches = environ["REQUEST_METHOD"] == fault.method and fault.query in environ["QUERY_STRING"]
            if fault.times > 0 and matches and fault.path in environ["PATH_INFO"]:
                fault.times -= 1
                self.answered_500 += 1
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start(fault.status, [("Content-Length", str(len(_ERROR)))])
                return [_ERROR]
        if environ["REQUEST_METHOD"] == "PUT":
            time.sleep(self.latency)
        answer: Iterable[bytes] = self._moto(environ, start)
        return answer


@contextmanager
def serving(bucket: str) -> Iterator[S3Server]:
    """Run a server with a bucket; all servers in one process have the same buckets."""
    # Both log what makes a failed test unreadable.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with S3Server() as server:
        server.filesystem().makedirs(bucket, exist_ok=True)
        yield server


def main() -> None:
    with serving("lake") as server:
        print(server.url.rpartition(":")[2], flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
