"""What an answer means for its page: rows, a refusal in the API's own words, or another attempt."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import msgspec

from airflow_paginated.paging.errors import PermanentError, RequestRefused, ResponseError
from airflow_paginated.paging.selectors import select
from airflow_paginated.paging.values import Json
from airflow_paginated.transport.answer import Response
from airflow_paginated.transport.classify import THE_CONNECTION, TOO_MANY, asked_wait, judge_status, phrase
from airflow_paginated.transport.decode import Parts, Tolerance, is_blank, split
from airflow_paginated.transport.density import most_values
from airflow_paginated.transport.faults import SERVER, Expired, RetryableError, Throttled
from airflow_paginated.transport.lines import split_csv, split_jsonl
from airflow_paginated.transport.policies import RequestRetry
from airflow_paginated.transport.reading import DecodedBody
from airflow_paginated.transport.rules import ResponseAction, ResponseRules, is_something, quoting
from airflow_paginated.transport.scrub import Scrubber

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

        Raises ``Throttled``, ``Expired`` or ``RetryableError`` for what may be tried again, a ``PermanentError`` for what may
        not.
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
            raise exc.told(self._with_words(str(exc), reading)) from None

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
