"""Starts WireMock on loopback, prints its port, and ends it when the input ends: ``wiremock_server.py JAVA JAR``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading


def main(java: str, jar: str) -> None:
    """Run until the input ends."""
    # What it costs is its start; faults need neither a good compiler nor much memory.
    machine = [java, "-XX:TieredStopAtLevel=1", "-Xmx256m", "-jar", jar]
    options = ["--port", "0", "--bind-address", "127.0.0.1", "--disable-banner", "--container-threads", "100"]
    # It makes folders where it is started.
    with (
        tempfile.TemporaryDirectory(prefix="wiremock-") as folder,
        subprocess.Popen(
            [*machine, *options, "--root-dir", folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        assert process.stdout is not None
        port = next((line.split()[1] for line in process.stdout if line.startswith("port:")), "no port")
        print(port, flush=True)
        # Nobody wants the rest, but a pipe that is full would hold it up.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        sys.stdin.read()
        process.kill()


if __name__ == "__main__":
    main(*sys.argv[1:])
