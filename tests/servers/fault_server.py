"""Run a fault server as a process: ``python -m tests.servers.fault_server --config '{"api": {"rows": 1000}}'``.

Prints its port as the first line. Ends on SIGTERM, on SIGINT, or, with ``--until-eof``, when its input is closed.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading

from tests.servers.server import server_from


def _wait_for_eof(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="{}", help="JSON of the API, the faults, framing, latency and port")
    parser.add_argument("--until-eof", action="store_true", help="stop when the standard input is closed")
    options = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    if options.until_eof:
        threading.Thread(target=_wait_for_eof, args=(ended,), daemon=True).start()
    with server_from(json.loads(options.config)) as server:
        print(server.port, flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
