"""The table of outcomes: what a response or a broken exchange means for the page."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import IncompleteRead
from typing import Final

import msgspec
from urllib3 import exceptions as urllib3_errors

from airflow_paginated.core.errors import (
    PermanentError,
    RequestRefused,
    ResponseError,
)
from airflow_paginated.core.paths import select
from airflow_paginated.core.secrets import Scrubber
from airflow_paginated.core.values import Json
from airflow_paginated.transport.body import DecodedBody, Response
from airflow_paginated.transport.decode import Parts, Tolerance, is_blank, most_values, split, split_csv, split_jsonl
from airflow_paginated.transport.gate import MAX_WAIT_SECONDS, quota_wait
from airflow_paginated.transport.retry import (
    CONNECTION_WEIGHT,
    SERVER_WEIGHT,
    Expired,
    RequestRetry,
    RetryableError,
    Throttled,
)
from airflow_paginated.transport.rules import ResponseAction, ResponseRules, is_something, quoting

SUCCESS_STATUSES: Final = frozenset({200, 201, 203})

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

THE_CONNECTION: Final = "the connection"

PAGE_SIZE_ADVICE: Final = "page_size may be more than the API allows"

STATUS_ADVICE: Final[Mapping[int, str]] = {
    400: f"check query and body; {PAGE_SIZE_ADVICE}",
    401: "check the credentials on {connection}",
    403: "the credentials on {connection} may not read this",
    404: "check the connection's host and the endpoint",
    405: "check the method",
    406: "check the Accept header",
    413: PAGE_SIZE_ADVICE,
    414: "shorten the query, or send it in the body",
    422: f"check query and body; {PAGE_SIZE_ADVICE}",
}


def check_status(
    status: int,
    headers: Mapping[str, str],
    retry: RequestRetry,
    now: datetime | None = None,
    connection: str = THE_CONNECTION,
) -> None:
    """Return for a status with a page, else raise ``Throttled``, ``RetryableError`` or ``RequestRefused``.

    ``connection`` is the connection's name in messages.
    """
    if status in SUCCESS_STATUSES:
        return
    check_retryable(status, headers, retry, now)
    advice = STATUS_ADVICE.get(status, "only 200, 201 and 203 carry a page").format(connection=connection)
    raise RequestRefused(f"{phrase(status)}: {advice}", status)


def check_retryable(status: int, headers: Mapping[str, str], retry: RequestRetry, now: datetime | None = None) -> None:
    """Raise ``Throttled`` or ``RetryableError`` for a status worth a retry."""
    cause = phrase(status)
    requested = requested_wait(headers, retry, now)
    if status == HTTPStatus.TOO_MANY_REQUESTS or (status == HTTPStatus.SERVICE_UNAVAILABLE and requested is not None):
        raise Throttled(cause, requested)
    if status in retry.status_forcelist:
        raise RetryableError(cause, SERVER_WEIGHT)


def requested_wait(headers: Mapping[str, str], retry: RequestRetry, now: datetime | None = None) -> float | None:
    """Return the wait that a response requests, in seconds, if the policy respects it."""
    if not retry.respect_retry_after_header:
        return None
    now = now or datetime.now(UTC)
    requested = retry_after(headers.get("retry-after"), now)
    return quota_wait(headers, now.timestamp()) if requested is None else requested


def retry_after(text: str | None, now: datetime) -> float | None:
    """Return the seconds of a ``Retry-After`` (RFC 9110, 10.2.3), or ``None`` if it is malformed."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), MAX_WAIT_SECONDS)
    try:
        moment = parsedate_to_datetime(text)
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    except (ValueError, TypeError, LookupError, OverflowError):
        return None
    return max(0.0, seconds)


def classify_exception(error: Exception, reused: bool) -> Exception:
    """Translate the error of an exchange: a ``RetryableError``, or a ``PermanentError`` for a bad certificate or host.

    ``reused`` says whether the connection had served an earlier request.
    """
    if isinstance(error, urllib3_errors.SSLError) and _has_cause(error, ssl.SSLCertVerificationError):
        return PermanentError("the server's certificate is not trusted: check the host, or 'verify' on the connection")
    if isinstance(error, urllib3_errors.LocationParseError):
        return PermanentError("the host name is not valid: check the connection's host")
    if isinstance(error, urllib3_errors.NameResolutionError):
        return RetryableError("the host name does not resolve", SERVER_WEIGHT, unsent=True)
    if isinstance(error, urllib3_errors.ConnectTimeoutError | urllib3_errors.NewConnectionError):
        return RetryableError(_connect_cause(error), SERVER_WEIGHT, unsent=True)
    if isinstance(error, urllib3_errors.ProxyError):
        return RetryableError("the proxy failed", SERVER_WEIGHT, unsent=True)
    if isinstance(error, urllib3_errors.ReadTimeoutError):
        limits = "timeouts.read (timeouts.connect in a TLS handshake)"
        return RetryableError(f"the server was silent for longer than {limits}", SERVER_WEIGHT)
    incomplete = _has_cause(error, IncompleteRead) or isinstance(error, IncompleteRead)
    if incomplete:
        return RetryableError("the body was cut short", CONNECTION_WEIGHT)
    stale = reused and isinstance(error, urllib3_errors.ProtocolError) and _has_cause(error, ConnectionError)
    return RetryableError(f"the connection broke ({_innermost(error)})", CONNECTION_WEIGHT, stale=stale)


def phrase(status: int) -> str:
    """Return a status with its phrase, ``404 Not Found``."""
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
    """Name the class of the cause. Its text is omitted: it may quote the server or a header."""
    cause = next((each for each in _chain(error) if isinstance(each, OSError)), None)
    # A plain OSError is identified by its errno.
    if type(cause) is OSError and cause.errno is not None:
        return f"OSError: {os.strerror(cause.errno)}"
    return type(cause or error).__name__


NO_ROWS: Final = Parts()

NOT_REFRESHABLE: Final = "the connection's authentication cannot be refreshed"

SIZE_WORDS: Final = re.compile(r"size|limit|per.?page|max|first", re.IGNORECASE)

DECLARED_FAILURE: Final = "response_actions declares this a failure"


@dataclass(frozen=True, slots=True)
class Content:
    """A page's content; ``size`` is that of the decoded body in bytes, the rest is as in ``Page``."""

    parts: Parts = NO_ROWS
    size: int = 0
    end: str | None = None
    ignored: bool = False


class ResponseClassifier:
    """Decides what responses mean. Shared by all threads, immutable."""

    def __init__(
        self,
        rules: ResponseRules,
        data_selector: str | None,
        retry: RequestRetry,
        page_bytes: int,
        scrub: Scrubber,
        refreshable: bool = False,
        connection: str = THE_CONNECTION,
        check_cancelled: Callable[[], None] = lambda: None,
    ) -> None:
        rules.check_selector(data_selector)
        self._rules = rules
        self._has_actions = bool(rules.actions)
        self._selector = data_selector
        self._retry = retry
        self._page_bytes = page_bytes
        self._scrub = scrub
        self._refreshable = refreshable
        self._connection = connection
        self._check_cancelled = check_cancelled
        self._tolerance = Tolerance(rules.missing_rows == "empty", rules.null_rows == "empty", most_values(page_bytes))

    def is_final(self, response: Response) -> bool:
        """Return whether a response action matches, so that a redirect must not be followed."""
        if not self._has_actions:
            return False
        with DecodedBody(response, self._page_bytes, self._check_cancelled) as body:
            return self._rules.first_match(response.status, response.headers, body) is not None

    def content(self, response: Response, behind: bool = False) -> Content:
        """Return the page's content. A request ``behind`` the last page may get an empty body.

        Raises ``Throttled``, ``Expired`` or ``RetryableError`` for what a retry may mend, a ``PermanentError`` for
        what it cannot.
        """
        with DecodedBody(response, self._page_bytes, self._check_cancelled) as body:
            action = None
            if self._has_actions:
                action = self._rules.first_match(response.status, response.headers, body)
            if action is None:
                if response.status not in SUCCESS_STATUSES:
                    self._refuse_status(response, body)
            elif action.action != "SUCCESS":
                return self._act(action, response, body)
            if (behind or action is not None) and _is_blank(response, body):
                return Content()
            # An action that declares success overrides error_path.
            parts = self._parts(body) if action is not None else self._checked_parts(response, body)
            return Content(parts, len(body.body))

    def _act(self, action: ResponseAction, response: Response, body: DecodedBody) -> Content:
        why = action.message or phrase(response.status)
        cause = f"{why} ({action.action} by response_actions)"
        match action.action:
            case "END":
                return Content(size=len(response.body), end=why)
            case "IGNORE":
                return Content(size=len(response.body), ignored=True)
            case "RETRY":
                raise RetryableError(cause, SERVER_WEIGHT)
            case "RATE_LIMITED":
                raise Throttled(cause, requested_wait(response.headers, self._retry))
            case "REFRESH_TOKEN_THEN_RETRY" if self._refreshable:
                raise Expired(self._with_words(why, body), response.generation, response.status)
            case "REFRESH_TOKEN_THEN_RETRY":
                raise RequestRefused(self._with_words(f"{cause}: {NOT_REFRESHABLE}", body), response.status)
            case _:
                raise ResponseError(
                    self._with_words(f"{phrase(response.status)}: {action.message or DECLARED_FAILURE}", body)
                )

    def _refuse_status(self, response: Response, body: DecodedBody) -> None:
        if response.status == HTTPStatus.UNAUTHORIZED and self._refreshable:
            raise Expired(self._with_words(phrase(response.status), body), response.generation, response.status)
        try:
            check_status(response.status, response.headers, self._retry, connection=self._connection)
        except PermanentError as exc:
            raise exc.with_message(self._with_words(str(exc), body)) from None

    def _checked_parts(self, response: Response, body: DecodedBody) -> Parts:
        if self._rules.response_format == "csv" and not is_blank(body.body):
            self._check_type(response, body)
        if self._rules.error_path is None:
            return self._parts(body)
        try:
            parts = self._parts(body)
        except (RetryableError, ResponseError):
            self._check_error(response, body.value)
            raise
        # Only JSON has an envelope; a body in another format may be a JSON error as a whole.
        self._check_error(response, parts.envelope if self._rules.response_format == "json" else body.value)
        return parts

    def _check_type(self, response: Response, body: DecodedBody) -> None:
        """Refuse a declared type other than CSV: a single line of anything is a CSV header without rows."""
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type.endswith("html"):
            raise RetryableError("the response is HTML, not CSV")
        if media_type.endswith(("json", "xml")):
            raise ResponseError(self._with_words("the response is JSON or XML, not CSV", body))

    def _parts(self, body: DecodedBody) -> Parts:
        rules = self._rules
        if rules.response_format == "json":
            return split(body.body, self._selector, self._tolerance)
        if not (is_blank(body.body) or body.framed):
            raise ResponseError(
                f"a {rules.response_format} response without Content-Length, chunked or gzip coding may have been cut"
                " unnoticed: refused"
            )
        if rules.response_format == "jsonl":
            return split_jsonl(body.body, self._tolerance.most)
        dialect = {"delimiter": rules.csv_delimiter, "quotechar": rules.csv_quotechar}
        most, quotes = self._tolerance.most, quoting(rules.csv_quotechar)
        return split_csv(body.body, rules.csv_columns, most, quoting=quotes, **dialect)

    def _check_error(self, response: Response, value: Json) -> None:
        path = self._rules.error_path or ""
        found = select(value, path)
        if is_something(found):
            excerpt = self._scrub.excerpt(_error_message(found))
            advice = f"; {PAGE_SIZE_ADVICE}" if SIZE_WORDS.search(excerpt) else ""
            raise ResponseError(
                f"{phrase(response.status)}, but the body says at error_path {path!r}: {excerpt!r}{advice}"
            )

    def _with_words(self, text: str, body: DecodedBody) -> str:
        excerpt = self._scrub.excerpt(body.text)
        return f"{text}; the API says: {excerpt!r}" if excerpt.strip() else text


def _is_blank(response: Response, body: DecodedBody) -> bool:
    """Return whether a body was sent empty, rather than lost with the connection."""
    return body.framed and (not response.body or is_blank(body.body))


def _error_message(found: Json) -> str:
    """Return the message of an error value, or its JSON."""
    first = found[0] if isinstance(found, list) else found
    message = first.get("message") if isinstance(first, dict) else first
    return message if isinstance(message, str) else msgspec.json.encode(found).decode()
