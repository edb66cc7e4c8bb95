"""One page request in, one page out: sessions, retries, pauses, deadlines, the origin lock and decoding."""

from airflow_paginated.transport.attempt import Endpoint
from airflow_paginated.transport.client import ClientOptions, PageClient
from airflow_paginated.transport.connections import SessionOptions
from airflow_paginated.transport.retry import RateLimit, RequestRetry
from airflow_paginated.transport.rules import ResponseAction, ResponseRules

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
