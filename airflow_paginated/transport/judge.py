"""What an answer means for its page: rows, a refusal in the API's own words, or another attempt."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from airflow_paginated.paging.errors import PermanentError
from airflow_paginated.transport.classify import judge_status
from airflow_paginated.transport.decode import Split, inflate, split, to_utf8
from airflow_paginated.transport.exchange import Answer
from airflow_paginated.transport.faults import Fault
from airflow_paginated.transport.policies import RequestRetry
from airflow_paginated.transport.scrub import Scrubber

SNIPPET: Final = 200
"""How many characters of the API's own words stand in a message."""
EITHER: Final = "text/plain; charset=latin-1"
"""A type that is read as UTF-8 where it is UTF-8, and as Latin-1 where it is not; no bytes are refused."""
HEARD: Final = 65536
"""How many bytes of them are read: secrets must be found before they are cut."""


class Reading:
    """The body of an answer, decoded when it is first asked for; used by one thread."""

    def __init__(self, answer: Answer, most: int) -> None:
        self._answer = answer
        self._most = most

    @cached_property
    def inflated(self) -> bytes:
        """The body without its content coding. Raises ``Fault`` or a ``PermanentError`` where it cannot be undone."""
        return inflate(self._answer.body, self._answer.headers.get("content-encoding", ""), self._most)

    @cached_property
    def body(self) -> bytes:
        """The body in UTF-8. Raises ``Fault`` or ``ResponseError`` for what is not text in the declared charset."""
        return to_utf8(self.inflated, self._answer.headers.get("content-type", ""))

    @cached_property
    def words(self) -> str:
        """The beginning of the body, as well as it can be read; never raises."""
        try:
            return to_utf8(self.inflated[:HEARD], EITHER).decode()
        except (Fault, PermanentError):
            return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Decides what answers mean. All threads ask it; it has no state."""

    retry: RequestRetry
    scrub: Scrubber
    page_bytes: int
    data_selector: str | None = None

    def content(self, answer: Answer) -> tuple[Split, int]:
        """Return what an answer holds, and the size of its decoded body.

        Raises ``Throttled`` or ``Fault`` for what may be tried again, a ``PermanentError`` for what may not.
        """
        reading = Reading(answer, self.page_bytes)
        self._check_status(answer, reading)
        return split(reading.body, self.data_selector), len(reading.body)

    def _check_status(self, answer: Answer, reading: Reading) -> None:
        try:
            judge_status(answer.status, answer.headers, self.retry)
        except PermanentError as exc:
            raise type(exc)(self._with_words(str(exc), reading)) from None

    def _with_words(self, text: str, reading: Reading) -> str:
        said = self.scrub(reading.words)[:SNIPPET]
        return f"{text}; the API says: {said!r}" if said.strip() else text
