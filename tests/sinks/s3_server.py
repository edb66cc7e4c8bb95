"""moto's S3 server on loopback, with errors on demand in front of it.

As a process of its own, ``python -m tests.sinks.s3_server [LATENCY]`` has the bucket ``lake``, prints its port, and
ends when its input is closed.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable
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
    """The next ``times`` requests of this method whose query and path have these in them are answered with 500."""

    method: str
    query: str
    times: int
    path: str = ""


@dataclass
class S3Server:
    """Runs in a thread for the length of a with-block."""

    faults: list[Fault] = field(default_factory=list)
    answered_500: int = 0
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
                start("500 Internal Server Error", [("Content-Length", str(len(_ERROR)))])
                return [_ERROR]
        if environ["REQUEST_METHOD"] == "PUT":
            time.sleep(self.latency)
        answer: Iterable[bytes] = self._moto(environ, start)
        return answer


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with S3Server(latency=float(sys.argv[1]) if len(sys.argv) > 1 else 0.0) as server:
        server.filesystem().mkdir("lake")
        print(server.url.rpartition(":")[2], flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
