"""A constant key in a header or in the query."""

from __future__ import annotations

import requests
from requests.auth import AuthBase

from airflow_paginated.transport.auth import fields as placement
from airflow_paginated.transport.auth.fields import Authentication, AuthFields, Placement

API_KEY_OPTIONS = placement.PLACEMENT_OPTIONS


class KeyAuth(AuthBase):
    """Sends the same key with every request."""

    def __init__(self, place: Placement, key: str) -> None:
        self._place = place
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the key to a request."""
        self._place.put_on(request, self._key)
        return request


def build(fields: AuthFields) -> Authentication:
    """Send the password, by default in ``X-API-Key``."""
    fields.need("api_key", password="the key")  # noqa: S106 - what the field is for, not what is in it
    place = placement.placement(fields, "X-API-Key")
    return Authentication(KeyAuth(place, fields.password), (fields.password,), place.own_header)
