"""A paginated API on loopback that fails on demand, standard library only.

.. code-block:: python

    api = PagedApi(rows=1000, page_size=100)
    with FaultServer(api, seven_faults(0.1, seed=1), framing="gzip", latency=0.01) as server:
        collect(server.url + "/employees")
        assert collected == api.reference()
        assert server.log.counts[("", 3)] == 2 and server.log.summary().peak_connections <= 8
"""

from __future__ import annotations

from tests.servers.api import PagedApi
from tests.servers.family import Family
from tests.servers.faults import (
    BadChunkSize,
    CloseBeforeHeaders,
    CorruptGzip,
    CutChunk,
    CutHeaders,
    DribbleBody,
    DribbleHeaders,
    DropIdle,
    EmptyOK,
    Fault,
    Given,
    HtmlOK,
    Raw,
    Redirect,
    ResetBeforeHeaders,
    ResetInBody,
    ResetOnReuse,
    RetryLater,
    ServerError,
    ShortBody,
    StallBeforeHeaders,
    StallInBody,
    TruncatedGzip,
    TruncatedJson,
    UnframedCut,
)
from tests.servers.log import RequestLog, Seen, Summary
from tests.servers.process import ChildServer, ServerProcess
from tests.servers.schedules import Schedule, first_of, four_faults, mixed, no_faults, on_page, seven_faults
from tests.servers.server import FaultServer, server_from
from tests.servers.wire import Reply, Request

__all__ = [
    "BadChunkSize",
    "ChildServer",
    "CloseBeforeHeaders",
    "CorruptGzip",
    "CutChunk",
    "CutHeaders",
    "DribbleBody",
    "DribbleHeaders",
    "DropIdle",
    "EmptyOK",
    "Family",
    "Fault",
    "FaultServer",
    "Given",
    "HtmlOK",
    "PagedApi",
    "Raw",
    "Redirect",
    "Reply",
    "Request",
    "RequestLog",
    "ResetBeforeHeaders",
    "ResetInBody",
    "ResetOnReuse",
    "RetryLater",
    "Schedule",
    "Seen",
    "ServerError",
    "ServerProcess",
    "ShortBody",
    "StallBeforeHeaders",
    "StallInBody",
    "Summary",
    "TruncatedGzip",
    "TruncatedJson",
    "UnframedCut",
    "first_of",
    "four_faults",
    "mixed",
    "no_faults",
    "on_page",
    "server_from",
    "seven_faults",
]
