"""The body of a response: content coding, charset and framing undone."""

from __future__ import annotations

import codecs
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from io import BytesIO
from typing import Final

from airflow_paginated.core.errors import (
    LimitExceeded,
    PermanentError,
    ResponseError,
)
from airflow_paginated.core.values import Json
from airflow_paginated.transport.decode import (
    UTF8,
    json_value,
    most_values,
)
from airflow_paginated.transport.retry import RetryableError


@dataclass(frozen=True, slots=True)
class Response:
    """Status, headers (names in lower case) and the body, whole and as it was sent.

    ``url`` is where it came from, without query; ``generation`` that of the credentials it was asked with; ``owned``
    the names of the query parameters that these put on the request.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str = ""
    generation: int = 0
    owned: frozenset[str] = frozenset()


BOM: Final = b"\xef\xbb\xbf"

LATIN: Final = frozenset({"iso8859-1", "iso8859-15", "cp1252"})

CODINGS: Final = ("br", "compress", "dcb", "dcz", "deflate", "gzip, gzip", "zstd")

NO_CHARSETS: Final = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"})
"""Text codecs of Python that no JSON is written in; some take quadratic time."""

PIECE: Final = 1024 * 1024

MEMBERS: Final = 64
"""The most gzip members of one body: each copies what is left of it."""


def inflate(body: bytes, encoding: str, most: int, growing: Callable[[], None] = lambda: None) -> bytes:
    """Undo the content coding, up to ``most`` bytes; ``growing`` is called where it makes more than a few of them.

    Raises ``RetryableError`` for a coding that is broken or does not reach its end, ``LimitExceeded``
    for too many bytes.
    """
    coding = encoding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip"):
        named = coding if coding in CODINGS else "unknown"  # what is not a known name may be anything
        raise ResponseError(f"the content coding of the answer is {named}; only gzip was accepted")
    inflated = BytesIO()  # to join pieces would take twice the memory
    try:
        for piece in _gunzip(body):
            inflated.write(piece)
            if inflated.tell() >= PIECE:
                growing()
            if inflated.tell() > most:
                raise LimitExceeded(
                    f"the decoded body is larger than limits.page_bytes={most}; lower page_size or raise the limit"
                )
    except zlib.error:
        raise RetryableError("the gzip body is corrupt") from None
    return inflated.getvalue()


def _gunzip(body: bytes) -> Iterator[bytes]:
    """Yield what is in all members of a gzip file; in pieces, since zlib takes twice the memory of what it returns."""
    for _ in range(MEMBERS):
        machine = zlib.decompressobj(31)
        while not machine.eof:
            piece = machine.decompress(body, PIECE)
            if not piece and not machine.eof:
                raise RetryableError("the gzip body does not reach its end")
            yield piece
            body = machine.unconsumed_tail
        body = machine.unused_data
        if not body:
            return
    raise RetryableError(f"the gzip body has more than {MEMBERS} members")


def to_utf8(body: bytes, content_type: str) -> bytes:
    """Return the body as UTF-8 without a byte order mark.

    A body that declares Latin-1, or its like, and is UTF-8 is taken for UTF-8: real Latin-1 never looks like it.
    Raises ``RetryableError`` for bytes that are not text in the charset that they declare (UTF-8 where none is).
    """
    charset = _charset(content_type)
    if charset == "utf-8" or (charset in LATIN and _is_utf8(body)):
        if not _is_utf8(body):
            raise RetryableError("the body is not utf-8")
        return body.removeprefix(BOM)
    try:
        return body.decode(charset).encode().removeprefix(BOM)
    except UnicodeError:
        raise RetryableError(f"the body is not {charset}") from None


def _is_utf8(body: bytes) -> bool:
    try:
        if len(body) <= PIECE:
            body.decode()
            return True
        # As a whole, a large text with one rare character takes four times its size.
        decoder = codecs.getincrementaldecoder("utf-8")()
        for at in range(0, len(body), PIECE):
            decoder.decode(body[at : at + PIECE], final=at + PIECE >= len(body))
    except UnicodeDecodeError:
        return False
    return True


@lru_cache(maxsize=16)
def _charset(content_type: str) -> str:
    """Return Python's name of the charset that a media type declares, of UTF-8 for none.

    Raises ``ResponseError`` for one that Python does not know.
    """
    for part in content_type.split(";")[1:]:
        name, _, value = part.partition("=")
        charset = value.strip().strip("\"'").lower()
        if name.strip().lower() == "charset" and charset not in UTF8:
            return _codec(charset)
    return "utf-8"


def _codec(charset: str) -> str:
    with suppress(LookupError, ValueError):
        codec = codecs.lookup(charset).name
        if codec not in NO_CHARSETS:
            "".encode(codec)  # refuses codecs that are not for text
            return "utf-8" if codec == "ascii" else codec
    raise ResponseError("the answer declares a charset that is none: see its Content-Type")


EITHER: Final = "text/plain; charset=latin-1"
"""A type that is read as UTF-8 where it is UTF-8, and as Latin-1 where it is not; no bytes are refused."""

BODILESS: Final = frozenset({204, 205, 304})

_ONE: Final = threading.Lock()


class DecodedBody:
    """What stands in an answer; used by one thread, as a context manager.

    Only one at a time has a body that inflates to much; ``proceed`` is asked when its turn comes, and may raise.
    """

    def __init__(self, response: Response, most: int, check_cancelled: Callable[[], None] = lambda: None) -> None:
        self._response = response
        self._most = most
        self._check_cancelled = check_cancelled
        self._alone = False
        if not response.headers.get("content-encoding"):
            self._inflated = response.body

    def __enter__(self) -> DecodedBody:
        return self

    def __exit__(self, *_: object) -> None:
        if self._alone:
            _ONE.release()

    @property
    def framed(self) -> bool:
        """Whether the end of the body can be told from a connection that broke (RFC 9112, 6.3)."""
        headers, status = self._response.headers, self._response.status
        length, coding = headers.get("content-length", ""), headers.get("transfer-encoding", "")
        packed = bool(self._response.body) and headers.get("content-encoding", "").strip().lower() in ("gzip", "x-gzip")
        return status in BODILESS or length.strip().isdecimal() or coding.strip().lower() == "chunked" or packed

    @cached_property
    def body(self) -> bytes:
        """The body in UTF-8, without content coding.

        Raises ``RetryableError`` or a ``PermanentError`` for what is not that.
        """
        return to_utf8(self._inflated, self._response.headers.get("content-type", ""))

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
        return inflate(self._response.body, self._response.headers["content-encoding"], self._most, self._be_alone)

    def _be_alone(self) -> None:
        if not self._alone:
            _ONE.acquire()
            self._alone = True
            self._check_cancelled()
