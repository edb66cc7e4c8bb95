"""The store of a task's watermark: the state of an asset in Airflow, or a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from airflow_paginated.collect.watermark import AssetStore, FolderStore, Store
from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.core.policies import Incremental
from airflow_paginated.core.values import Json
from airflow_paginated.hooks.files import resolve
from airflow_paginated.operators.errors import distributed_executor
from airflow_paginated.operators.paginated_api import STATE_REQUIRED
from airflow_paginated.sinks.files.file_sink import Location
from airflow_paginated.sinks.protocol import Owner

if TYPE_CHECKING:
    from airflow.sdk.types import Logger


def watermark_store(
    policy: Incremental, outlets: Sequence[Any], context: Mapping[str, Any], owner: Owner, request: Json, log: Logger
) -> Store:
    """Return the store of the watermark; a mapped task has one for each ``request``."""
    # A map index may belong to another request in the next run.
    part = "" if owner.map_index < 0 else sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:16]
    if policy.state_path is not None:
        return _folder_store(policy.state_path, part, log)
    accessors = context.get("asset_state_store")
    for outlet in outlets if accessors is not None else ():
        try:
            accessor = accessors[outlet]  # type: ignore[index]  # the loop is empty if it is None
        except (KeyError, TypeError):
            # An alias has no state.
            continue
        return AssetStore(accessor, ".".join(filter(None, ("watermark", owner.dag, owner.task, part))))
    raise ConfigurationError(f"incremental: no outlet of the task has a state: {STATE_REQUIRED}")


def _folder_store(path: str, part: str, log: Logger) -> FolderStore:
    executor = distributed_executor(path)
    if executor is not None:
        log.warning(
            "state_path %s is local, but with %s the next run may be on another host, which has no watermark: it would"
            " start from the beginning; use an object store or a shared disk",
            path,
            executor,
        )
    fs, root = resolve(path)
    token = f"{os.urandom(8).hex()}-{os.urandom(4).hex()}"
    return FolderStore(Location(fs, f"{root.rstrip('/')}/{part}".rstrip("/")).storage(token))
