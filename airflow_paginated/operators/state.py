"""Where Airflow keeps the watermark of a task: in the state of an asset, or in a folder."""

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
from airflow_paginated.operators.errors import elsewhere
from airflow_paginated.operators.paginated_api import STATE_REQUIRED
from airflow_paginated.sinks.files.file_sink import Location
from airflow_paginated.sinks.protocol import Owner

if TYPE_CHECKING:
    from airflow.sdk.types import Logger


def store_of(
    policy: Incremental, outlets: Sequence[Any], context: Mapping[str, Any], owner: Owner, asked: Json, log: Logger
) -> Store:
    """Return where the watermark is kept; of a mapped task, one for each request, which ``asked`` tells."""
    # The same index may be another request in the next run.
    part = "" if owner.map_index < 0 else sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    if policy.state_path is not None:
        return _folder(policy.state_path, part, log)
    accessors = context.get("asset_state_store")
    for outlet in outlets if accessors is not None else ():
        try:
            accessor = accessors[outlet]  # type: ignore[index]  # it is not None where there is an outlet to look at
        except (KeyError, TypeError):
            # An alias has no state of its own.
            continue
        return AssetStore(accessor, ".".join(filter(None, ("watermark", owner.dag, owner.task, part))))
    raise ConfigurationError(f"incremental: none of the outlets has a state: {STATE_REQUIRED}")


def _folder(path: str, part: str, log: Logger) -> FolderStore:
    executor = elsewhere(path)
    if executor is not None:
        log.warning(
            "state_path %s is local, but with %s the next run may be on another host, where it finds no watermark and"
            " begins anew; use an object store or a shared disk",
            path,
            executor,
        )
    fs, root = resolve(path)
    token = f"{os.urandom(8).hex()}-{os.urandom(4).hex()}"
    return FolderStore(Location(fs, f"{root.rstrip('/')}/{part}".rstrip("/")).storage(token))
