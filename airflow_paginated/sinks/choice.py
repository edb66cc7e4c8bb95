"""Turn the ``sink`` argument into a sink."""

from __future__ import annotations

import os
from typing import Any

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.sinks.files.file_sink import FileSink
from airflow_paginated.sinks.xcom import XComSink


def sink_from(given: Any) -> Any:
    """Return the sink for ``"xcom"``, a path, or a sink object."""
    if isinstance(given, str) and given == "xcom":
        return XComSink()
    if isinstance(given, str | os.PathLike):
        return FileSink(given)
    if not isinstance(given, type) and (hasattr(given, "open") or hasattr(given, "resolved")):
        return given
    raise ConfigurationError(
        f'sink: expected "xcom", a path or a sink such as FileSink(...), got {type(given).__name__}'
    )
