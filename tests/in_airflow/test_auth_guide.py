"""The connections of docs/authentication.md, each against an API that wants just that."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs

import pytest

from airflow_paginated import PageNumber
from airflow_paginated.hooks.paginated_api import PaginatedApiHook
from airflow_paginated.transport.auth import AUTH_OPTIONS, AUTH_TYPES
from tests.servers import FaultServer, PagedApi, Reply, Request
from tests.transport.test_auth_custom import DigestApi

GUIDE: Final = (Path(__file__).resolve().parents[2] / "docs/authentication.md").read_text()
SECTION: Final = re.compile(r"^## (.+)$", re.MULTILINE)
API: Final = PagedApi(rows=200, page_size=20)
HEADERS: Final = {
    "User name and password": ("authorization", "Basic YW5uOnNlY3JldCBvZiBhbm4="),
    "A token": ("authorization", "Bearer secret-token"),
    "A key in a header": ("authorization", "Token secret-key"),
    "OAuth2 client credentials": ("authorization", "Bearer a-token"),
    "A login": ("x-session", "a-token"),
}


def examples() -> dict[str, dict[str, Any]]:
    """Return the connection of each example by its heading."""
    _, *rest = SECTION.split(GUIDE)
    found = (
        (heading, re.search(r"```json\n(.*?)```", text, re.DOTALL))
        for heading, text in zip(rest[::2], rest[1::2], strict=True)
    )
    return {heading: json.loads(text[1]) for heading, text in found if text}


class House:
    """An API that wants one header, or a key in the query; ``/v2/login`` is beside it."""

    def __init__(self, heading: str) -> None:
        self._heading = heading

    def __call__(self, request: Request) -> Reply:
        if request.path == "/v2/login" and self._heading == "A login":
            right = json.loads(request.body) == {"user": "ann", "pass": "secret of ann"}
            return Reply(b'{"data": {"session": {"id": "a-token"}}}' if right else b"{}", 200 if right else 401)
        name, value = HEADERS.get(self._heading, ("", ""))
        good = request.headers.get(name) == value if name else request.query.get("api_key") == "secret-key"
        return API(request) if good else Reply(b"{}", 401)


def identity_server(request: Request) -> Reply:
    """Give a token to the client of the example."""
    form = {
        "grant_type": ["client_credentials"],
        "scope": ["employees.read"],
        "audience": ["https://hr.example.com"],
    }
    right = request.path == "/oauth2/token" and parse_qs(request.body.decode()) == form
    if request.headers.get("authorization") != "Basic Y2xpZW50LWlkOmNsaWVudC1zZWNyZXQ=" or not right:
        return Reply(b'{"error": "invalid_client"}', 401)
    return Reply(b'{"access_token": "a-token", "token_type": "Bearer", "expires_in": 3600}')


class Ann(DigestApi):
    """Knows the user of the example."""

    user: ClassVar = ("ann", "secret of ann")
    api: ClassVar = API


@pytest.mark.parametrize("heading", examples())
def test_a_connection_of_the_guide_gets_in(heading: str, monkeypatch: pytest.MonkeyPatch) -> None:
    example = examples()[heading]
    app = Ann() if heading == "A class of your own" else House(heading)
    with FaultServer(app) as server, FaultServer(identity_server) as idp:
        text = json.dumps({**example, "host": server.url + "/v2"}).replace("https://login.example.com", idp.url)
        monkeypatch.setenv("AIRFLOW_CONN_HR_API", text)
        hook = PaginatedApiHook("hr_api")
        rows = list(hook.rows("/employees", pagination=PageNumber(total_path="meta.total"), data_selector="data"))
        assert len(rows) == 200
        with hook.get_conn() as session:
            assert session.get(hook.url("/employees?page=1"), timeout=10).status_code == 200
    assert example["host"] == "https://hr.example.com/v2"


def test_the_guide_names_every_kind_and_every_field() -> None:
    table = GUIDE.partition("\n\n## ")[0]
    assert [name for name in (*AUTH_TYPES, *AUTH_OPTIONS) if f"`{name}`" not in table] == []
