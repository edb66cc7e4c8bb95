"""The table of outcomes: what an answer or a broken exchange means for the page."""

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
from airflow_paginated.transport.retry import CONNECTION, SERVER, Expired, RequestRetry, RetryableError, Throttled
from airflow_paginated.transport.rules import ResponseAction, ResponseRules, is_something, quoting

GOOD: Final = frozenset({200, 201, 203})

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

THE_CONNECTION: Final = "the connection"

TOO_MANY: Final = "page_size may be more than the API allows"

STATUS_ADVICE: Final[Mapping[int, str]] = {
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

    Raises ``Throttled``, ``RetryableError`` or ``RequestRefused``.
    """
    if status in GOOD:
        return
    judge_trouble(status, headers, retry, now)
    advice = STATUS_ADVICE.get(status, "only 200, 201 and 203 carry a page").format(connection=connection)
    raise RequestRefused(f"{phrase(status)}: {advice}", status)


def judge_trouble(status: int, headers: Mapping[str, str], retry: RequestRetry, now: datetime | None = None) -> None:
    """Raise ``Throttled`` or ``RetryableError`` for a status that another attempt may mend."""
    cause = phrase(status)
    asked = asked_wait(headers, retry, now)
    if status == HTTPStatus.TOO_MANY_REQUESTS or (status == HTTPStatus.SERVICE_UNAVAILABLE and asked is not None):
        raise Throttled(cause, asked)
    if status in retry.status_forcelist:
        raise RetryableError(cause, SERVER)


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
        return min(float(text), MAX_WAIT_SECONDS)
    try:
        moment = parsedate_to_datetime(text)
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    except (ValueError, TypeError, LookupError, OverflowError):
        return None
    return max(0.0, seconds)


def judge_exception(error: Exception, reused: bool) -> Exception:
    """Return what a broken exchange means: a ``RetryableError``, or a ``PermanentError`` for a bad certificate.

    ``reused`` says whether the connection had served an earlier request.
    """
    if isinstance(error, urllib3_errors.SSLError) and _has_cause(error, ssl.SSLCertVerificationError):
        return PermanentError("the server's certificate is not trusted: check the host, or 'verify' on the connection")
    if isinstance(error, urllib3_errors.LocationParseError):
        return PermanentError("the host name is not valid: check the connection's host")
    if isinstance(error, urllib3_errors.NameResolutionError):
        return RetryableError("the host name does not resolve", SERVER, unsent=True)
    if isinstance(error, urllib3_errors.ConnectTimeoutError | urllib3_errors.NewConnectionError):
        return RetryableError(_connect_cause(error), SERVER, unsent=True)
    if isinstance(error, urllib3_errors.ProxyError):
        return RetryableError("the proxy failed", SERVER, unsent=True)
    if isinstance(error, urllib3_errors.ReadTimeoutError):
        limit = "timeouts.read (timeouts.connect in a TLS handshake)"
        return RetryableError(f"the server was silent for longer than {limit}", SERVER)
    incomplete = _has_cause(error, IncompleteRead) or isinstance(error, IncompleteRead)
    if incomplete:
        return RetryableError("the body was cut short", CONNECTION)
    stale = reused and isinstance(error, urllib3_errors.ProtocolError) and _has_cause(error, ConnectionError)
    return RetryableError(f"the connection broke ({_innermost(error)})", CONNECTION, stale=stale)


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


NO_ROWS: Final = Parts()

STATIC: Final = "the authentication of the connection has nothing to refresh"

ABOUT_SIZE: Final = re.compile(r"size|limit|per.?page|max|first", re.IGNORECASE)

FAILS: Final = "an action of response_actions makes this a failure"


@dataclass(frozen=True, slots=True)
class Content:
    """What an answer is for its page; ``size`` counts the bytes of the decoded body, the rest is as in ``Page``."""

    parts: Parts = NO_ROWS
    size: int = 0
    end: str | None = None
    ignored: bool = False


class ResponseClassifier:
    """Decides what answers mean. All threads ask it; nobody changes it."""

    def __init__(
        self,
        rules: ResponseRules,
        data_selector: str | None,
        retry: RequestRetry,
        page_bytes: int,
        scrub: Scrubber,
        refreshable: bool = False,
        connection: str = THE_CONNECTION,
        proceed: Callable[[], None] = lambda: None,
    ) -> None:
        rules.check_selector(data_selector)
        self._rules = rules
        self._selector = data_selector
        self._retry = retry
        self._page_bytes = page_bytes
        self._scrub = scrub
        self._refreshable = refreshable
        self._connection = connection
        self._proceed = proceed
        self._tolerance = Tolerance(rules.missing_rows == "empty", rules.null_rows == "empty", most_values(page_bytes))

    def settles(self, answer: Response) -> bool:
        """Say whether an action decides over an answer, so that a redirect in it must not be followed."""
        with DecodedBody(answer, self._page_bytes, self._proceed) as reading:
            return self._action(answer, reading) is not None

    def content(self, answer: Response, behind: bool = False) -> Content:
        """Return what the answer holds; ``behind`` the last page, that may be nothing.

        Raises ``Throttled``, ``Expired`` or ``RetryableError`` for what may be tried again, a ``PermanentError``
        for what may not.
        """
        with DecodedBody(answer, self._page_bytes, self._proceed) as reading:
            return self._content(answer, reading, behind)

    def _content(self, answer: Response, reading: DecodedBody, behind: bool) -> Content:
        action = self._action(answer, reading)
        if action is None:
            self._check_status(answer, reading)
        elif action.action != "SUCCESS":
            return self._act(action, answer, reading)
        if (behind or action is not None) and _is_blank(answer, reading):
            return Content()
        # What an action takes for a page is one, whatever it says of errors.
        parts = self._parts(reading) if action is not None else self._checked_parts(answer, reading)
        return Content(parts, len(reading.body))

    def _action(self, answer: Response, reading: DecodedBody) -> ResponseAction | None:
        return self._rules.first_match(answer.status, answer.headers, reading)

    def _act(self, action: ResponseAction, answer: Response, reading: DecodedBody) -> Content:
        why = action.message or phrase(answer.status)
        cause = f"{why} ({action.action} by response_actions)"
        match action.action:
            case "END":
                return Content(size=len(answer.body), end=why)
            case "IGNORE":
                return Content(size=len(answer.body), ignored=True)
            case "RETRY":
                raise RetryableError(cause, SERVER)
            case "RATE_LIMITED":
                raise Throttled(cause, asked_wait(answer.headers, self._retry))
            case "REFRESH_TOKEN_THEN_RETRY" if self._refreshable:
                raise Expired(self._with_words(why, reading), answer.generation, answer.status)
            case "REFRESH_TOKEN_THEN_RETRY":
                raise RequestRefused(self._with_words(f"{cause}: {STATIC}", reading), answer.status)
            case _:
                raise ResponseError(self._with_words(f"{phrase(answer.status)}: {action.message or FAILS}", reading))

    def _check_status(self, answer: Response, reading: DecodedBody) -> None:
        if answer.status == HTTPStatus.UNAUTHORIZED and self._refreshable:
            raise Expired(self._with_words(phrase(answer.status), reading), answer.generation, answer.status)
        try:
            judge_status(answer.status, answer.headers, self._retry, connection=self._connection)
        except PermanentError as exc:
            raise exc.with_message(self._with_words(str(exc), reading)) from None

    def _checked_parts(self, answer: Response, reading: DecodedBody) -> Parts:
        if self._rules.response_format == "csv" and not is_blank(reading.body):
            self._check_type(answer, reading)
        if self._rules.error_path is None:
            return self._parts(reading)
        try:
            parts = self._parts(reading)
        except (RetryableError, ResponseError):
            self._check_error(answer, reading.value)
            raise
        # Only JSON has something beside its rows; any other answer may still be a JSON error as a whole.
        self._check_error(answer, parts.envelope if self._rules.response_format == "json" else reading.value)
        return parts

    def _check_type(self, answer: Response, reading: DecodedBody) -> None:
        """Refuse what says that it is no CSV: one line of anything is a header without rows."""
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type.endswith("html"):
            raise RetryableError("the answer is HTML where CSV is due")
        if media_type.endswith(("json", "xml")):
            raise ResponseError(self._with_words("the answer is JSON or XML where CSV is due", reading))

    def _parts(self, reading: DecodedBody) -> Parts:
        rules = self._rules
        if rules.response_format == "json":
            return split(reading.body, self._selector, self._tolerance)
        if not (is_blank(reading.body) or reading.framed):
            raise ResponseError(
                f"a {rules.response_format} answer without Content-Length, chunked or gzip coding may have been cut,"
                " and nothing would show it: it is refused"
            )
        if rules.response_format == "jsonl":
            return split_jsonl(reading.body, self._tolerance.most)
        dialect = {"delimiter": rules.csv_delimiter, "quotechar": rules.csv_quotechar}
        most, quotes = self._tolerance.most, quoting(rules.csv_quotechar)
        return split_csv(reading.body, rules.csv_columns, most, quoting=quotes, **dialect)

    def _check_error(self, answer: Response, body: Json) -> None:
        path = self._rules.error_path or ""
        found = select(body, path)
        if is_something(found):
            said = self._scrub.excerpt(_words(found))
            advice = f"; {TOO_MANY}" if ABOUT_SIZE.search(said) else ""
            raise ResponseError(f"{phrase(answer.status)}, but the body says at error_path {path!r}: {said!r}{advice}")

    def _with_words(self, text: str, reading: DecodedBody) -> str:
        said = self._scrub.excerpt(reading.text)
        return f"{text}; the API says: {said!r}" if said.strip() else text


def _is_blank(answer: Response, reading: DecodedBody) -> bool:
    """Say whether a body is empty because it was sent so, and not because the connection broke."""
    return reading.framed and (not answer.body or is_blank(reading.body))


def _words(found: Json) -> str:
    """Return what an error says, or all of its JSON where it has no words."""
    first = found[0] if isinstance(found, list) else found
    message = first.get("message") if isinstance(first, dict) else first
    return message if isinstance(message, str) else msgspec.json.encode(found).decode()
