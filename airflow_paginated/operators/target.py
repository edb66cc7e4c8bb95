"""What to say of where a target lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_paginated.hooks.compat import conf

if TYPE_CHECKING:
    from airflow.sdk.types import Logger


def elsewhere(path: str) -> str | None:
    """Return the executor that may run the next task on another host, where a path is of this host's disk."""
    executor = str(conf.get("core", "executor", fallback=""))
    spread = any(name in executor for name in ("Celery", "Kubernetes"))
    return executor if spread and "://" not in path.removeprefix("file://") else None


def warn_of_local_target(path: str, log: Logger) -> None:
    """Say that a retry may not find a local target's staging where tasks run on several hosts."""
    executor = elsewhere(path)
    if executor is not None:
        log.warning(
            "the target %s is local, but with %s a retry may run on another host, where it neither finds the pages"
            " stored so far nor the published files; use an object store or a shared disk",
            path,
            executor,
        )
