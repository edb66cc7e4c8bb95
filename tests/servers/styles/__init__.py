"""APIs that page in every style there is, made of small parts; each checks the requests it gets to the letter.

.. code-block:: python

    asked = ByOffset(size_param="limit", asks=20)
    api = StyledApi(rows=employees(250), asked=asked, tells=(Total(),), shape=Envelope())
"""

from __future__ import annotations

from tests.servers.styles.carrier import Carrier
from tests.servers.styles.core import Asked, Shape, Span, StyledApi, Tells, Told, Wrong, employees, events, refusal
from tests.servers.styles.links import ByLink
from tests.servers.styles.places import ByNumber, ByOffset, Cap, InRange
from tests.servers.styles.shapes import Bare, Envelope, Lines, Table
from tests.servers.styles.telling import More, Total
from tests.servers.styles.tokens import ByKey, ByToken

__all__ = [
    "Asked",
    "Bare",
    "ByKey",
    "ByLink",
    "ByNumber",
    "ByOffset",
    "ByToken",
    "Cap",
    "Carrier",
    "Envelope",
    "InRange",
    "Lines",
    "More",
    "Shape",
    "Span",
    "StyledApi",
    "Table",
    "Tells",
    "Told",
    "Total",
    "Wrong",
    "employees",
    "events",
    "refusal",
]
