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
    UTF8_NAMES,
    json_value,
    most_values,
)
from airflow_paginated.transport.retry import RetryableError


@dataclass(frozen=True, slots=True)
class Response:
    """Status, headers (names in lower case) and the complete body as sent.

    ``url`` is the source without its query, ``generation`` that of the credentials used, ``auth_params`` the names of
    the query parameters that they put on the request.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str = ""
    generation: int = 0
    auth_params: frozenset[str] = frozenset()


BOM: Final = b"\xef\xbb\xbf"

LATIN_CODECS: Final = frozenset({"iso8859-1", "iso8859-15", "cp1252"})

KNOWN_CODINGS: Final = ("br", "compress", "dcb", "dcz", "deflate", "gzip, gzip", "zstd")

REFUSED_CODECS: Final = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"})
"""Python codecs that no API uses; some take quadratic time."""

CHUNK_BYTES: Final = 1024 * 1024

MAX_GZIP_MEMBERS: Final = 64
"""Each member copies the rest of the body."""


def inflate(body: bytes, encoding: str, most: int, on_large_body: Callable[[], None] = lambda: None) -> bytes:
    """Undo the content coding. ``on_large_body`` is called after each piece of a body over ``CHUNK_BYTES``.

    Raises ``RetryableError`` for a corrupt or truncated body, ``ResponseError`` for an unsupported coding and
    ``LimitExceeded`` for more than ``most`` bytes.
    """
    coding = encoding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip"):
        named = coding if coding in KNOWN_CODINGS else "unknown"  # never quoted: it may contain anything
        raise ResponseError(f"the response's content coding is {named}; only gzip is supported")
    inflated = BytesIO()  # joining pieces takes twice the memory
    try:
        for piece in _gunzip(body):
            inflated.write(piece)
            if inflated.tell() >= CHUNK_BYTES:
                on_large_body()
            if inflated.tell() > most:
                raise LimitExceeded(
                    f"the decoded body is larger than limits.page_bytes={most}; lower page_size or raise the limit"
                )
    except zlib.error:
        raise RetryableError("the gzip body is corrupt") from None
    return inflated.getvalue()


def _gunzip(body: bytes) -> Iterator[bytes]:
    """Yield the content of all gzip members in pieces: zlib takes twice the memory of what it returns."""
    for _ in range(MAX_GZIP_MEMBERS):
        decompressor = zlib.decompressobj(31)
        while not decompressor.eof:
            piece = decompressor.decompress(body, CHUNK_BYTES)
            if not piece and not decompressor.eof:
                raise RetryableError("the gzip body is truncated")
            yield piece
            body = decompressor.unconsumed_tail
        body = decompressor.unused_data
        if not body:
            return
    raise RetryableError(f"the gzip body has more than {MAX_GZIP_MEMBERS} members")


def to_utf8(body: bytes, content_type: str) -> bytes:
    """Return the body as UTF-8 without a byte order mark.

    Valid UTF-8 declared as Latin-1 or similar is read as UTF-8: real Latin-1 text is practically never valid UTF-8.
    Raises ``RetryableError`` for bytes that are invalid in the declared charset (UTF-8 by default).
    """
    charset = _charset(content_type)
    if charset == "utf-8" or (charset in LATIN_CODECS and _is_utf8(body)):
        if not _is_utf8(body):
            raise RetryableError("the body is not utf-8")
        return body.removeprefix(BOM)
    try:
        return body.decode(charset).encode().removeprefix(BOM)
    except UnicodeError:
        raise RetryableError(f"the body is not {charset}") from None


def _is_utf8(body: bytes) -> bool:
    try:
        if len(body) <= CHUNK_BYTES:
            body.decode()
            return True
        # A single rare character makes a decoded string four times as large.
        decoder = codecs.getincrementaldecoder("utf-8")()
        for at in range(0, len(body), CHUNK_BYTES):
            decoder.decode(body[at : at + CHUNK_BYTES], final=at + CHUNK_BYTES >= len(body))
    except UnicodeDecodeError:
        return False
    return True


@lru_cache(maxsize=16)
def _charset(content_type: str) -> str:
    """Return Python's name of the declared charset, UTF-8 by default. Raises ``ResponseError`` for an unknown one."""
    for part in content_type.split(";")[1:]:
        name, _, value = part.partition("=")
        charset = value.strip().strip("\"'").lower()
        if name.strip().lower() == "charset" and charset not in UTF8_NAMES:
            return _codec(charset)
    return "utf-8"


def _codec(charset: str) -> str:
    with suppress(LookupError, ValueError):
        codec = codecs.lookup(charset).name
        if codec not in REFUSED_CODECS:
            "".encode(codec)  # refuses codecs that do not encode strings
            return "utf-8" if codec == "ascii" else codec
    raise ResponseError("unknown charset in the response's Content-Type")


UTF8_OR_LATIN1: Final = "text/plain; charset=latin-1"
"""A content type that accepts any bytes: UTF-8 if they are valid, Latin-1 otherwise."""

BODILESS_STATUSES: Final = frozenset({204, 205, 304})

_inflating: Final = threading.Lock()


class DecodedBody:
    """A response's body, decoded on demand. A context manager for one thread.

    Only one thread at a time inflates a large body; ``check_cancelled`` is called when its turn comes and may raise.
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
            _inflating.release()

    @property
    def framed(self) -> bool:
        """Whether a broken connection would show in the body's framing (RFC 9112, 6.3)."""
        headers, status = self._response.headers, self._response.status
        length, coding = headers.get("content-length", ""), headers.get("transfer-encoding", "")
        packed = bool(self._response.body) and headers.get("content-encoding", "").strip().lower() in ("gzip", "x-gzip")
        return (
            status in BODILESS_STATUSES or length.strip().isdecimal() or coding.strip().lower() == "chunked" or packed
        )

    @cached_property
    def body(self) -> bytes:
        """The body in UTF-8, without content coding. Raises ``RetryableError`` or ``PermanentError``."""
        return to_utf8(self._inflated, self._response.headers.get("content-type", ""))

    @cached_property
    def text(self) -> str:
        """The body as a string, empty if its coding is broken. Never raises."""
        try:
            return to_utf8(self._inflated, UTF8_OR_LATIN1).decode()
        except (RetryableError, PermanentError):
            return ""

    @cached_property
    def value(self) -> Json:
        """The parsed JSON body, or ``ABSENT``. Never raises."""
        return json_value(self.text, most_values(self._most))

    @cached_property
    def _inflated(self) -> bytes:
        return inflate(self._response.body, self._response.headers["content-encoding"], self._most, self._inflate_alone)

    def _inflate_alone(self) -> None:
        if not self._alone:
            _inflating.acquire()
            self._alone = True
            self._check_cancelled()
