"""Answers that cannot go on for ever beside their body."""

from __future__ import annotations

from http import HTTPStatus
from http.client import HTTPResponse
from io import BufferedReader, RawIOBase
from typing import Any, Final

from airflow_paginated.paging.errors import LimitExceeded

TALK: Final = 256 * 1024
"""How many bytes may come in a row that are none of the body's. More than a read of the body and a line take."""
PER_BYTE: Final = 8
"""A body may come in chunks of one byte, of which each has six on the wire."""


class Talk:
    """How many bytes may still come; the body's own are made up for when they are read.

    Used by the thread that reads only.
    """

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = TALK

    def heard(self, size: int) -> None:
        """Take note of that many bytes of a body."""
        self.left = min(TALK, self.left + PER_BYTE * size)


class TalkedAnswer(HTTPResponse):
    """An answer with a cap on all that is no body: status lines, headers, interim answers, chunk lines, trailers.

    Python caps single lines, and the headers of one answer; not how many interim answers there are, nor trailers, nor
    what chunks add to a byte.
    """

    def __init__(self, sock: Any, *args: Any, talk: Talk, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp: BufferedReader = BufferedReader(_Counted(self.fp.detach(), talk))

    def begin(self) -> None:
        """Read on to the final answer: Python takes any interim one but 100 for that (RFC 9110, 15.2)."""
        super().begin()
        while self.status < HTTPStatus.OK and self.status != HTTPStatus.SWITCHING_PROTOCOLS:
            self.headers = None  # type: ignore[assignment]  # as before the first
            super().begin()


class _Counted(RawIOBase):
    """What comes from a socket, up to what may come."""

    def __init__(self, raw: RawIOBase, talk: Talk) -> None:
        self._raw = raw
        self._talk = talk

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def readinto(self, buffer: Any) -> int | None:
        count: int | None = self._raw.readinto(buffer)
        self._talk.left -= count or 0
        if self._talk.left < 0:
            raise LimitExceeded(
                f"the answer has more than {TALK} bytes beside its body (headers, interim answers, chunk lines,"
                " trailers), which no API needs: check what answers there"
            )
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
