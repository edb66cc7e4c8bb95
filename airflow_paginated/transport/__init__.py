"""One page request in, one page out: sessions, retries, pauses, deadlines, the origin lock and decoding."""

from airflow_paginated.transport.client import ClientOptions, PageClient
from airflow_paginated.transport.exchange import Endpoint
from airflow_paginated.transport.policies import RateLimit, RequestRetry
from airflow_paginated.transport.rules import ResponseAction, ResponseRules
from airflow_paginated.transport.sessions import SessionOptions

__all__ = [
    "ClientOptions",
    "Endpoint",
    "PageClient",
    "RateLimit",
    "RequestRetry",
    "ResponseAction",
    "ResponseRules",
    "SessionOptions",
]
