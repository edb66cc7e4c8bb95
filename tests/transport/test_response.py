"""The table of outcomes, row by row, as pure functions."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime
from http.client import BadStatusLine, IncompleteRead, RemoteDisconnected

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3 import exceptions as urllib3_errors
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from airflow_paginated.core.errors import PermanentError, RequestRefused
from airflow_paginated.transport.response import check_status, classify_exception, retry_after
from airflow_paginated.transport.retry import CONNECTION_WEIGHT, SERVER_WEIGHT, RequestRetry, RetryableError, Throttled

NOW = datetime(2024, 5, 17, 12, 0, 0, tzinfo=UTC)

RETRY = RequestRetry()

CONN = HTTPConnection("api.test")

POOL = HTTPConnectionPool("api.test")

GONE = ConnectionResetError(104, "Connection reset by peer")


def judged(status: int, after: str | None = None, retry: RequestRetry = RETRY) -> object:
    """Return what a status raises, or None."""
    headers = {} if after is None else {"retry-after": after}
    try:
        check_status(status, headers, retry, NOW)
    except (Throttled, RetryableError, RequestRefused) as exc:
        return exc
    return None


@pytest.mark.parametrize("status", [200, 201, 203])
def test_good(status: int) -> None:
    assert judged(status) is None
    assert judged(status, "5") is None


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504])
def test_retried(status: int) -> None:
    fault = judged(status)
    assert isinstance(fault, RetryableError)
    assert (fault.weight, fault.unsent, fault.stale) == (SERVER_WEIGHT, False, False)
    assert fault.cause.startswith(f"{status} ")


@pytest.mark.parametrize(
    ("status", "after", "seconds"),
    [(429, None, None), (429, "7", 7.0), (503, "7", 7.0), (429, "soon", None), (429, "0", 0.0), (503, "0", 0.0)],
)
def test_throttled(status: int, after: str | None, seconds: float | None) -> None:
    throttled = judged(status, after)
    assert isinstance(throttled, Throttled)
    assert throttled.seconds == seconds


@pytest.mark.parametrize(("status", "after"), [(503, None), (503, "soon"), (502, "7"), (500, "7")])
def test_not_throttled(status: int, after: str | None) -> None:
    assert isinstance(judged(status, after), RetryableError)


@pytest.mark.parametrize(
    "status", [202, 204, 206, 300, 304, 400, 401, 402, 403, 404, 405, 406, 409, 410, 413, 414, 422, 451, 501, 505, 599]
)
def test_refused(status: int) -> None:
    refusal = judged(status, "7")
    assert isinstance(refusal, RequestRefused)
    assert str(refusal).startswith((f"{status} ", f"status {status}"))
    assert ": " in str(refusal)


def test_a_policy_chooses_what_is_retried() -> None:
    retry = RequestRetry(status_forcelist=[404, 429], respect_retry_after_header=False)
    assert isinstance(judged(404, retry=retry), RetryableError)
    assert isinstance(judged(500, retry=retry), RequestRefused)
    throttled = judged(429, "7", retry)
    assert isinstance(throttled, Throttled)
    assert throttled.seconds is None
    assert isinstance(judged(503, "7", RequestRetry(respect_retry_after_header=False)), RetryableError)


def wrapped(kind: type[Exception], cause: Exception) -> Exception:
    """Return an error of urllib3 that was raised because of another."""
    error = kind("Connection aborted.", cause)
    error.__cause__ = cause
    return error


CONNECTING = [
    (urllib3_errors.NameResolutionError("api.test", CONN, socket.gaierror(-2, "no")), "the host name does not resolve"),
    (
        urllib3_errors.NewConnectionError(CONN, "refused"),
        "no connection (NewConnectionError): is the API up, and are the connection's host and port right?",
    ),
    (urllib3_errors.ConnectTimeoutError(CONN, "slow"), "connecting took longer than timeouts.connect"),
    (urllib3_errors.ProxyError("Unable to connect", GONE), "the proxy failed"),
]

BROKEN = [
    (wrapped(urllib3_errors.ProtocolError, GONE), "the connection broke (ConnectionResetError)"),
    (wrapped(urllib3_errors.ProtocolError, RemoteDisconnected("x")), "the connection broke (RemoteDisconnected)"),
    (wrapped(urllib3_errors.ProtocolError, BadStatusLine("x")), "the connection broke (ProtocolError)"),
    (wrapped(urllib3_errors.ProtocolError, IncompleteRead(b"x", 5)), "the body was cut short"),
    (urllib3_errors.IncompleteRead(5, 10), "the body was cut short"),
    (urllib3_errors.InvalidHeader("Content-Length"), "the connection broke (InvalidHeader)"),
    (urllib3_errors.SSLError(ssl.SSLError(1, "wrong version")), "the connection broke (SSLError)"),
    (BrokenPipeError(32, "pipe"), "the connection broke (BrokenPipeError)"),
]


@pytest.mark.parametrize(("error", "cause"), CONNECTING)
def test_surely_unsent(error: Exception, cause: str) -> None:
    fault = classify_exception(error, reused=True)
    assert isinstance(fault, RetryableError)
    assert (fault.cause, fault.weight, fault.unsent, fault.stale) == (cause, SERVER_WEIGHT, True, False)


@pytest.mark.parametrize(("error", "cause"), BROKEN)
def test_broken(error: Exception, cause: str) -> None:
    fault = classify_exception(error, reused=False)
    assert isinstance(fault, RetryableError)
    assert (fault.cause, fault.weight, fault.unsent, fault.stale) == (cause, CONNECTION_WEIGHT, False, False)


@pytest.mark.parametrize(("error", "cause"), BROKEN)
def test_stale(error: Exception, cause: str) -> None:
    fault = classify_exception(error, reused=True)
    assert isinstance(fault, RetryableError)
    assert fault.stale == (
        cause in ("the connection broke (ConnectionResetError)", "the connection broke (RemoteDisconnected)")
    )


def test_silence() -> None:
    fault = classify_exception(urllib3_errors.ReadTimeoutError(POOL, "/", "silent"), reused=True)
    assert isinstance(fault, RetryableError)
    assert (fault.weight, fault.unsent, fault.stale) == (SERVER_WEIGHT, False, False)


def test_a_certificate() -> None:
    error = urllib3_errors.SSLError(ssl.SSLCertVerificationError(1, "self-signed certificate"))
    assert isinstance(classify_exception(error, reused=False), PermanentError)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("007", 7.0),
        ("1000000000", 1e9),
        ("9" * 400, 1e10),
        ("Fri, 17 May 2024 12:00:30 GMT", 30.0),
        ("Fri, 17 May 2024 14:00:30 +0200", 30.0),
        ("Friday, 17-May-24 12:00:30 GMT", 30.0),
        ("Fri May 17 12:00:30 2024", 30.0),
        ("Fri, 17 May 2024 11:00:00 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        (None, None),
        ("", None),
        ("-5", None),
        ("+5", None),
        ("1.5", None),
        ("1e9", None),
        ("1_0", None),
        ("0x10", None),
        ("\u0663", None),
        ("\uff15", None),
        ("abc", None),
        ("inf", None),
        ("5, 7", None),
        ("Sat, 31 Feb 2049 00:00:00 GMT", None),
        ("Mon, 99999999999 Jan 2049 00:00:00 GMT", None),
        ("Mon, 01 Jan 99999999999 00:00:00 GMT", None),
        ("Fri, 17 May 2024 99:00:00 GMT", None),
    ],
)
def test_retry_after(text: str | None, seconds: float | None) -> None:
    assert retry_after(text, NOW) == seconds


DATE_LIKE = st.lists(
    st.sampled_from(
        ["Fri,", "17", "May", "2024", "12:00:30", "GMT", "+9999", "-99999999", ":", "99999999999", "-", " "]
    )
).map(" ".join)


@given(st.text() | DATE_LIKE)
def test_retry_after_takes_any_text(text: str) -> None:
    seconds = retry_after(text, NOW)
    assert seconds is None or 0 <= seconds <= 1e12
