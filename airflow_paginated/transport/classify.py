"""The table of outcomes: what an answer or a broken exchange means for the page."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import IncompleteRead
from typing import Final

from urllib3 import exceptions as urllib3_errors

from airflow_paginated.paging.errors import PermanentError, RequestRefused
from airflow_paginated.transport.faults import CONNECTION, SERVER, Fault, Throttled
from airflow_paginated.transport.policies import RequestRetry
from airflow_paginated.transport.quota import LONGEST_WAIT, quota_wait

GOOD: Final = frozenset({200, 201, 203})
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
THE_CONNECTION: Final = "the connection"
TOO_MANY: Final = "page_size may be more than the API allows"
ADVICE: Final[Mapping[int, str]] = {
    400: f"check query and body; {TOO_MANY}",
    401: "check the credentials on {connection}",
    403: "the credentials on {connection} may not read this",
    404: "check the connection's host and the endpoint",
    405: "check the method",
    406: "check the Accept header",
    413: TOO_MANY,
    414: "shorten the query, or send it in the body",
    422: f"check query and body; {TOO_MANY}",
}


def judge_status(
    status: int,
    headers: Mapping[str, str],
    retry: RequestRetry,
    now: datetime | None = None,
    connection: str = THE_CONNECTION,
) -> None:
    """Raise what a status means; return for one that carries a page. ``connection`` is how messages call it.

    Raises ``Throttled``, ``Fault`` or ``RequestRefused``.
    """
    if status in GOOD:
        return
    judge_trouble(status, headers, retry, now)
    advice = ADVICE.get(status, "only 200, 201 and 203 carry a page").format(connection=connection)
    raise RequestRefused(f"{phrase(status)}: {advice}", status)


def judge_trouble(status: int, headers: Mapping[str, str], retry: RequestRetry, now: datetime | None = None) -> None:
    """Raise ``Throttled`` or ``Fault`` for a status that another attempt may mend."""
    cause = phrase(status)
    asked = asked_wait(headers, retry, now)
    if status == HTTPStatus.TOO_MANY_REQUESTS or (status == HTTPStatus.SERVICE_UNAVAILABLE and asked is not None):
        raise Throttled(cause, asked)
    if status in retry.status_forcelist:
        raise Fault(cause, SERVER)


def asked_wait(headers: Mapping[str, str], retry: RequestRetry, now: datetime | None = None) -> float | None:
    """Return the seconds that an answer asks to wait, where it does and the policy respects it."""
    if not retry.respect_retry_after_header:
        return None
    now = now or datetime.now(UTC)
    asked = retry_after(headers.get("retry-after"), now)
    return quota_wait(headers, now.timestamp()) if asked is None else asked


def retry_after(text: str | None, now: datetime) -> float | None:
    """Return the seconds that a ``Retry-After`` asks for (RFC 9110, 10.2.3), or ``None`` for what is not one."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(text)
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    except (ValueError, TypeError, LookupError, OverflowError):
        return None
    return max(0.0, seconds)


def judge_exception(error: Exception, reused: bool) -> Exception:
    """Return what a broken exchange means: a ``Fault``, or a ``PermanentError`` for a certificate that is wrong.

    ``reused`` says whether the connection had served an earlier request.
    """
    if isinstance(error, urllib3_errors.SSLError) and _has_cause(error, ssl.SSLCertVerificationError):
        return PermanentError("the server's certificate is not trusted: check the host, or 'verify' on the connection")
    if isinstance(error, urllib3_errors.NameResolutionError):
        return Fault("the host name does not resolve", SERVER, unsent=True)
    if isinstance(error, urllib3_errors.ConnectTimeoutError | urllib3_errors.NewConnectionError):
        return Fault(_connect_cause(error), SERVER, unsent=True)
    if isinstance(error, urllib3_errors.ProxyError):
        return Fault("the proxy failed", SERVER, unsent=True)
    if isinstance(error, urllib3_errors.ReadTimeoutError):
        limit = "timeouts.read (timeouts.connect in a TLS handshake)"
        return Fault(f"the server was silent for longer than {limit}", SERVER)
    incomplete = _has_cause(error, IncompleteRead) or isinstance(error, IncompleteRead)
    if incomplete:
        return Fault("the body was cut short", CONNECTION)
    stale = reused and isinstance(error, urllib3_errors.ProtocolError) and _has_cause(error, ConnectionError)
    return Fault(f"the connection broke ({_innermost(error)})", CONNECTION, stale=stale)


def phrase(status: int) -> str:
    """Return a status with its usual name, ``404 Not Found``."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"status {status}"


def _connect_cause(error: Exception) -> str:
    if isinstance(error, urllib3_errors.ConnectTimeoutError) and not isinstance(
        error, urllib3_errors.NewConnectionError
    ):
        return "connecting took longer than timeouts.connect"
    return f"no connection ({_innermost(error)}): is the API up, and are the connection's host and port right?"


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    todo: list[object] = [error]
    while todo:
        each = todo.pop()
        if isinstance(each, BaseException) and each not in found:
            found.append(each)
            todo += [*each.args, each.__cause__, each.__context__]
    return found


def _has_cause(error: BaseException, kind: type[BaseException]) -> bool:
    return any(isinstance(each, kind) for each in _chain(error))


def _innermost(error: BaseException) -> str:
    """Name the kind of the cause. Its text is left out: it may repeat what the server or a header said."""
    cause = next((each for each in _chain(error) if isinstance(each, OSError)), None)
    # Most causes have a class of their own; what is none of them is told apart by its number.
    if type(cause) is OSError and cause.errno is not None:
        return f"OSError: {os.strerror(cause.errno)}"
    return type(cause or error).__name__
