"""Where a request carries a key or a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import requests

from airflow_paginated.transport.auth.fields import AuthFields

PLACEMENT_OPTIONS: Final = ("header_name", "header_prefix", "query_param")


@dataclass(frozen=True, slots=True)
class Placement:
    """In a header, behind a prefix; or in the query, where ``parameter`` names one."""

    header: str
    prefix: str = ""
    parameter: str | None = None

    def put_on(self, request: requests.PreparedRequest, secret: str) -> None:
        """Let a request carry a secret."""
        if self.parameter is not None:
            request.prepare_url(str(request.url), {self.parameter: secret})
        else:
            request.headers[self.header] = f"{self.prefix} {secret}" if self.prefix else secret

    @property
    def own_header(self) -> str | None:
        """The name of the header, if it is one."""
        return self.header if self.parameter is None else None


def placement(fields: AuthFields, header: str, prefix: str = "") -> Placement:
    """Read the options for it; the arguments are the defaults.

    A header that is named has no prefix but the one that is given: ``X-Api-Key: Bearer abc`` is nobody's custom.
    """
    parameter = fields.text("query_param") or None
    if parameter and ("header_name" in fields.options or "header_prefix" in fields.options):
        raise fields.error("'query_param' says that the query carries it: give no header_name and no header_prefix")
    named = fields.text("header_name", header)
    usual = prefix if named.lower() == header.lower() else ""
    return Placement(named, fields.text("header_prefix", usual), parameter)
