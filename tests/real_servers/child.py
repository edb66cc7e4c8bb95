"""How a server's process tells its port and learns that it may end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable


def serve_until_eof(port: int, serve: Callable[[], object]) -> None:
    """Serve in a thread, print the port, and return when the input is closed."""
    threading.Thread(target=serve, daemon=True).start()
    print(port, flush=True)
    sys.stdin.read()
