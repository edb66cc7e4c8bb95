"""Static pages of 100 rows and 22 kB: nginx where the machine has it, else our own server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.servers import PagedApi, Request, ServerProcess

_CONFIG = """
daemon off;
worker_processes 1;
pid {root}/nginx.pid;
error_log {root}/error.log;
{user}
events {{ worker_connections 512; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
    open_file_cache max=20000 inactive=600s;
    types {{ }}
    default_type application/json;
    server {{
        listen 127.0.0.1:{port};
        location = /employees {{ root {root}/pages; rewrite ^ /$arg_page.json break; }}
    }}
}}
"""


def nginx() -> str | None:
    """Return where nginx is, also when it lies in a folder for administrators only."""
    return shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise RuntimeError(f"nginx does not listen (exit code {process.poll()})")


@contextmanager
def _nginx_serving(api: PagedApi, binary: str) -> Iterator[str]:
    with TemporaryDirectory(prefix="bench-nginx-") as directory:
        root, port = Path(directory), _free_port()
        (root / "pages").mkdir()
        for page in range(1, api.pages() + 1):
            body = api(Request("GET", "/employees", {"page": str(page)})).body
            (root / "pages" / f"{page}.json").write_bytes(body)
        user = "user root;" if os.geteuid() == 0 else ""
        (root / "nginx.conf").write_text(_CONFIG.format(root=root, port=port, user=user))
        command = [binary, "-e", str(root / "error.log"), "-p", directory, "-c", str(root / "nginx.conf")]
        process = subprocess.Popen(command)
        try:
            _wait_until_it_listens(process, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)


@contextmanager
def static_server(pages: int) -> Iterator[tuple[str, str]]:
    """Serve that many static pages; yield (base URL, name of the server)."""
    binary = nginx()
    if binary is not None:
        with _nginx_serving(PagedApi(rows=pages * 100), binary) as url:
            yield url, "nginx"
        return
    with ServerProcess({"api": {"rows": pages * 100}}) as server:
        yield server.url, "our own server (nginx is not installed)"
