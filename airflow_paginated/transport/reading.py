"""The body of an answer, decoded no sooner than somebody asks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property
from typing import Final

from airflow_paginated.paging.errors import PermanentError
from airflow_paginated.paging.values import Json
from airflow_paginated.transport.answer import Response
from airflow_paginated.transport.decode import inflate, json_value, to_utf8
from airflow_paginated.transport.density import most_values
from airflow_paginated.transport.faults import RetryableError

EITHER: Final = "text/plain; charset=latin-1"
"""A type that is read as UTF-8 where it is UTF-8, and as Latin-1 where it is not; no bytes are refused."""
BODILESS: Final = frozenset({204, 205, 304})
_ONE: Final = threading.Lock()


class DecodedBody:
    """What stands in an answer; used by one thread, as a context manager.

    Only one at a time has a body that inflates to much; ``proceed`` is asked when its turn comes, and may raise.
    """

    def __init__(self, answer: Response, most: int, proceed: Callable[[], None] = lambda: None) -> None:
        self._answer = answer
        self._most = most
        self._proceed = proceed
        self._alone = False

    def __enter__(self) -> DecodedBody:
        return self

    def __exit__(self, *_: object) -> None:
        if self._alone:
            _ONE.release()

    @property
    def framed(self) -> bool:
        """Whether the end of the body can be told from a connection that broke (RFC 9112, 6.3)."""
        headers, status = self._answer.headers, self._answer.status
        length, coding = headers.get("content-length", ""), headers.get("transfer-encoding", "")
        packed = bool(self._answer.body) and headers.get("content-encoding", "").strip().lower() in ("gzip", "x-gzip")
        return status in BODILESS or length.strip().isdecimal() or coding.strip().lower() == "chunked" or packed

    @cached_property
    def body(self) -> bytes:
        """The body in UTF-8, without content coding. Raises ``RetryableError`` or a ``PermanentError`` for what is not that."""
        return to_utf8(self._inflated, self._answer.headers.get("content-type", ""))

    @cached_property
    def text(self) -> str:
        """The body as well as it can be read: empty where its coding is broken. Never raises."""
        try:
            return to_utf8(self._inflated, EITHER).decode()
        except (RetryableError, PermanentError):
            return ""

    @cached_property
    def value(self) -> Json:
        """The body as JSON, or ``ABSENT`` where it is none. Never raises."""
        return json_value(self.text, most_values(self._most))

    @cached_property
    def _inflated(self) -> bytes:
        body, coding = self._answer.body, self._answer.headers.get("content-encoding", "")
        return inflate(body, coding, self._most, self._be_alone)

    def _be_alone(self) -> None:
        if not self._alone:
            _ONE.acquire()
            self._alone = True
            self._proceed()
