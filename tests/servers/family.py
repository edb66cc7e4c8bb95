"""Orders and the items of each: a collection whose rows name other collections."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from tests.servers.wire import Reply, Request

_ITEMS: Final = re.compile(r"/orders/([^/]+)/items")


@dataclass(frozen=True, slots=True)
class Family:
    """``/orders`` and ``/orders/ID/items``, in envelopes ``{"data", "meta": {"total", "next"}}``, by page number.

    Order n has ``n * 7 % (most + 1)`` items. ``next`` is the number of the next page, or null. Where ``childless`` is
    ``not_found``, asking for the items of an order without any is a 404.
    """

    orders: int = 20
    most: int = 3
    page_size: int = 100
    items_page_size: int = 2
    childless: str = "empty"

    def __call__(self, request: Request) -> Reply:
        """Answer one request."""
        found = _ITEMS.fullmatch(request.path)
        page = int(request.query.get("page", "1"))
        if request.path == "/orders":
            numbers = range(self.orders)[(page - 1) * self.page_size : page * self.page_size]
            return _page([self.order(number) for number in numbers], page, self.page_size, self.orders)
        if found is None or (number := self._number(found[1])) is None:
            return Reply(b'{"error": "no such order"}', 404)
        texts, size = self.items(number), self.items_page_size
        if not texts and self.childless == "not_found":
            return Reply(b'{"error": "no items"}', 404)
        return _page(texts[(page - 1) * size : page * size], page, size, len(texts))

    def page_of(self, request: Request) -> tuple[str, int] | None:
        """Return (id of the order, index from 0) of the page of items that is asked for, or None for another."""
        found = _ITEMS.fullmatch(request.path)
        return (found[1], int(request.query.get("page", "1")) - 1) if found else None

    def order(self, number: int) -> bytes:
        """Return the JSON text of an order."""
        return b'{"id":%d,"total":%d.10,"customer":{"id":%d}}' % (number, number, number % 5)

    def items(self, number: int) -> list[bytes]:
        """Return the JSON texts of the items of an order."""
        count = number * 7 % (self.most + 1)
        return [b'{"item":%d,"price":%d.50}' % (1000 * number + each, each) for each in range(count)]

    def reference(self, orders: Iterable[int] | None = None) -> bytes:
        """Return what a right collection of the items of these orders, of all by default, has."""
        return b"".join(line for number in orders or range(self.orders) for line in self._lines(number))

    def _lines(self, number: int) -> Iterator[bytes]:
        return (text + b"\n" for text in self.items(number))

    def _number(self, name: str) -> int | None:
        number = int(name) if name.isdecimal() else -1
        return number if 0 <= number < self.orders else None


def _page(texts: list[bytes], page: int, size: int, total: int) -> Reply:
    meta = {"total": total, "next": page + 1 if page * size < total else None}
    return Reply(b'{"data": [' + b", ".join(texts) + b'], "meta": ' + json.dumps(meta).encode() + b"}")
