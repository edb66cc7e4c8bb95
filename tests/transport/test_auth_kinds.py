"""What each kind of authentication puts on a request, and the connections that are refused at once."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from requests.auth import AuthBase, HTTPDigestAuth

from airflow_paginated.core.errors import ConfigurationError
from airflow_paginated.transport.auth import AUTH_OPTIONS, AUTH_TYPES, authentication
from airflow_paginated.transport.auth.credentials import Grant, TokenRequest
from airflow_paginated.transport.auth.fields import Authentication, AuthFields

HERE = "connection 'hr'"
S3CRET = "s3cr3t of the house"
OAUTH = {"auth_type": "oauth2_client_credentials", "token_url": "https://idp.test/token"}
LOGIN = {"auth_type": "session_token", "login_endpoint": "/login"}
Fields = dict[str, Any]


def made(login: str = "", password: str = "", auth_type: str | None = None, **options: Any) -> Authentication:
    return authentication(AuthFields(HERE, "https://api.test/v2", login, password, options), auth_type)


def sent(auth: Authentication, token: str = "t") -> requests.PreparedRequest:
    """Return a request with the credentials on it."""
    request = requests.Request("GET", "https://api.test/v2/x?page=1").prepare()
    if isinstance(auth.auth, Grant):
        auth.auth.put_on(request, token)
    else:
        request.prepare_auth(auth.auth)
    return request


def asked(**fields: Any) -> TokenRequest:
    """Return what a grant asks for."""
    grant = made(**fields).auth
    assert isinstance(grant, Grant)
    return grant.ask()


@pytest.mark.parametrize(
    ("fields", "header", "value"),
    [
        ({}, "Authorization", None),
        ({"login": "ann", "password": "pw"}, "Authorization", "Basic YW5uOnB3"),
        ({"login": "ann"}, "Authorization", "Basic YW5uOg=="),
        ({"login": "zoë", "password": "ü"}, "Authorization", "Basic em/DqzrDvA=="),
        ({"password": "tok"}, "Authorization", "Bearer tok"),
        ({"login": "x", "password": "tok", "auth_type": "bearer"}, "Authorization", "Bearer tok"),
        ({"login": "x", "password": "tok", "auth_type": "none"}, "Authorization", None),
        ({"password": "k", "auth_type": "api_key"}, "X-API-Key", "k"),
        ({"password": "k", "auth_type": "api_key", "header_name": "PRIVATE-TOKEN"}, "Private-Token", "k"),
        (
            {"password": "k", "auth_type": "api_key", "header_name": "Authorization", "header_prefix": "Token"},
            "Authorization",
            "Token k",
        ),
        ({**OAUTH, "login": "id", "password": "s"}, "Authorization", "Bearer t"),
        ({**OAUTH, "login": "id", "password": "s", "header_prefix": "OAuth"}, "Authorization", "OAuth t"),
        ({**LOGIN, "login": "ann", "password": "s"}, "Authorization", "Bearer t"),
        ({**LOGIN, "login": "ann", "password": "s", "header_prefix": "Token"}, "Authorization", "Token t"),
        ({**LOGIN, "login": "ann", "password": "s", "header_name": "X-Session"}, "X-Session", "t"),
    ],
)
def test_what_a_request_carries(fields: Fields, header: str, value: str | None) -> None:
    auth = made(**fields)
    assert sent(auth).headers.get(header) == value
    assert sent(auth).url == "https://api.test/v2/x?page=1"
    assert (auth.header or header).lower() == header.lower()


@pytest.mark.parametrize("fields", [{"auth_type": "api_key"}, {**OAUTH, "login": "a"}, {**LOGIN, "login": "a"}])
def test_the_query_may_carry_a_key_or_a_token(fields: Fields) -> None:
    auth = made(password="a key&", query_param="api_key", **fields)
    url = sent(auth, "a key&").url
    assert url == "https://api.test/v2/x?page=1&api_key=a+key%26"
    assert auth.header is None


def test_oauth2_shows_the_client_as_basic_authentication_or_in_the_form() -> None:
    client = {**OAUTH, "login": "my id", "password": "s/c+t%", "scope": "read write", "audience": "https://api.test"}
    basic = asked(**client, oauth2_params={"resource": "r"})
    assert basic.url == "https://idp.test/token"
    # base64 of my+id:s%2Fc%2Bt%25, as RFC 6749, 2.3.1 says
    assert basic.headers["Authorization"] == "Basic bXkraWQ6cyUyRmMlMkJ0JTI1"
    assert basic.headers["Content-Type"] == "application/x-www-form-urlencoded"
    form = b"grant_type=client_credentials&scope=read+write&audience=https%3A%2F%2Fapi.test&resource=r"
    assert basic.body == form
    post = asked(**client, client_auth_method="client_secret_post")
    assert "Authorization" not in post.headers
    assert post.body.startswith(b"client_id=my+id&client_secret=s%2Fc%2Bt%25&grant_type=client_credentials&")


def test_a_login_posts_what_the_api_wants() -> None:
    user = {**LOGIN, "login": "ann", "password": 'p"w'}
    assert asked(**user).url == "https://api.test/v2/login"
    assert json.loads(asked(**user).body) == {"username": "ann", "password": 'p"w'}
    body = '{"user": {"mail": "{login}", "keys": ["{password}", 1]}, "tenant": "x {login}"}'
    assert json.loads(asked(**user, login_body=body).body) == {
        "user": {"mail": "ann", "keys": ['p"w', 1]},
        "tenant": "x {login}",
    }
    form = asked(**user, login_format="form")
    assert (form.body, form.headers["Content-Type"]) == (
        b"username=ann&password=p%22w",
        "application/x-www-form-urlencoded",
    )


class Signature(AuthBase):
    """Stands for what a user installs."""

    def __init__(self, key: str = "", secret: str = "", *, region: str = "") -> None:
        if region == "nowhere":
            raise ValueError(secret)
        self.known = (key, secret, region)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


NOT_A_CLASS = Signature()


def test_any_class_of_requests_is_made_from_login_and_password() -> None:
    custom: Fields = {"auth_type": "custom", "auth_class": f"{__name__}.Signature"}
    auth = made("key", S3CRET, auth_kwargs='{"region": "eu-west-1"}', **custom)
    assert isinstance(auth.auth, Signature)
    assert auth.auth.known == ("key", S3CRET, "eu-west-1")
    assert (auth.signs, auth.secrets) == (True, (S3CRET, "eu-west-1"))
    alone = made("", S3CRET, **custom).auth
    assert isinstance(alone, Signature)
    assert alone.known[0] == S3CRET
    assert isinstance(made("a", "b", "custom", auth_class="requests.auth.HTTPDigestAuth").auth, HTTPDigestAuth)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"auth_type": "oauth9"}, "auth_type: 'oauth9' is not one of none, basic, bearer, api_key, oauth2_client_"),
        ({"auth_type": "basic"}, "auth_type 'basic' needs a user name as login"),
        ({"auth_type": "bearer"}, "auth_type 'bearer' needs the token as password"),
        ({"auth_type": "api_key", "login": "k"}, "auth_type 'api_key' needs the key as password"),
        ({**OAUTH, "password": "s"}, "auth_type 'oauth2_client_credentials' needs the client_id as login"),
        ({**OAUTH, "login": "s"}, "auth_type 'oauth2_client_credentials' needs the client_secret as password"),
        ({**LOGIN, "password": "s"}, "auth_type 'session_token' needs a user name as login"),
        ({**LOGIN, "login": "a"}, "auth_type 'session_token' needs the password as password"),
        ({"token_url": "x"}, "'token_url' goes with an auth_type: 'oauth2_client_credentials'"),
        ({"password": "k", "query_param": "k"}, "'query_param' goes with an auth_type: 'api_key' or 'oauth2_client_"),
        ({"auth_type": "basic", "login": "a", "scope": "r"}, "auth_type 'basic' does not take 'scope'; it takes no op"),
        ({"auth_type": "api_key", "token_url": "u"}, "does not take 'token_url'; it takes header_name, header_prefix"),
        (
            {"auth_type": "api_key", "password": "k", "query_param": "k", "header_name": "X"},
            "'query_param' excludes header_name and header_prefix",
        ),
        ({"auth_type": "api_key", "password": "k", "header_name": 3}, "header_name: expected a string, got int"),
        ({**OAUTH, "login": "a", "password": "b", "token_url": ""}, "needs 'token_url'"),
        ({**OAUTH, "login": "a", "password": "b", "token_url": "ftp://x/"}, "token_url: a URL must be http(s)"),
        ({**OAUTH, "login": "a", "password": "b", "token_url": "https://u:p@x/"}, "and carry no user info"),
        ({**OAUTH, "login": "a", "password": "b", "client_auth_method": "jwt"}, "'jwt' is not one of client_"),
        ({**OAUTH, "login": "a", "password": "b", "oauth2_params": "no"}, "oauth2_params: not a JSON object"),
        ({**OAUTH, "login": "a", "password": "b", "oauth2_params": {"x": 1}}, "oauth2_params: 'x' must be a string"),
        ({**OAUTH, "login": "a", "password": "b", "oauth2_params": {"scope": "x"}}, "'scope' has a field of its own"),
        ({**LOGIN, "login": "a", "password": "b", "login_endpoint": ""}, "needs 'login_endpoint'"),
        (
            {**LOGIN, "login": "a", "password": "b", "session_path": "a..b"},
            "session_path: invalid path 'a..b'",
        ),
        (
            {**LOGIN, "login": "a", "password": "b", "session_path": "a[*]"},
            "session_path must lead to a single token: it cannot contain [*]",
        ),
        (
            {**LOGIN, "login": "a", "password": "b", "login_body": {"u": "{login}"}},
            "one value must be exactly '{password}'",
        ),
        ({**LOGIN, "login": "a", "password": "b", "login_format": "xml"}, "'xml' is not one of json, form"),
        (
            {**LOGIN, "login": "a", "password": "b", "login_format": "form", "login_body": {"p": ["{password}"]}},
            "login_body: form values must be strings",
        ),
        ({"auth_type": "custom"}, "auth_type 'custom' needs 'auth_class'"),
        ({"auth_type": "custom", "auth_class": "no.such.Class"}, "'no.such.Class' cannot be imported (ModuleNotFound"),
        ({"auth_type": "custom", "auth_class": "json.NoClass"}, "'json.NoClass' cannot be imported (AttributeError)"),
        ({"auth_type": "custom", "auth_class": "Class"}, "'Class' cannot be imported (ValueError); it is 'package."),
        ({"auth_type": "custom", "auth_class": "os.system"}, "is not a subclass of requests.auth.AuthBase"),
        ({"auth_type": "custom", "auth_class": "subprocess.Popen"}, "is not a subclass of requests.auth.AuthBase"),
        ({"auth_type": "custom", "auth_class": f"{__name__}.NOT_A_CLASS"}, "is not a subclass of"),
        (
            {"auth_type": "custom", "auth_class": f"{__name__}.Signature", "auth_kwargs": {"x": 1}},
            "TypeError when called with",
        ),
        (
            {"auth_type": "custom", "auth_class": f"{__name__}.Signature", "auth_kwargs": {"region": "nowhere"}},
            "Signature' raises ValueError when called with (login, password, region)",
        ),
    ],
)
def test_a_wrong_connection_is_refused_at_once(fields: Fields, told: str) -> None:
    if fields.get("auth_type") == "custom":
        fields = {"login": "ann", "password": S3CRET, **fields}
    options = {name: value for name, value in fields.items() if value != ""}
    with pytest.raises(ConfigurationError) as caught:
        made(**options)
    assert str(caught.value).startswith(f"{HERE}: ")
    assert told in str(caught.value)
    assert S3CRET not in str(caught.value)


def test_no_value_shows_a_secret() -> None:
    fields: list[Fields] = [
        {"login": "a"},
        {"auth_type": "bearer"},
        {"auth_type": "api_key"},
        {**OAUTH, "login": "a", "client_auth_method": "client_secret_post"},
        {**LOGIN, "login": "a"},
    ]
    for each in fields:
        auth = made(password=S3CRET, **each)
        shown = [repr(auth), repr(auth.auth), repr(AuthFields(HERE, "", "a", S3CRET, {"auth_kwargs": S3CRET}))]
        if isinstance(auth.auth, Grant):
            shown += [repr(auth.auth.ask()), auth.auth.name]
        assert not [text for text in shown if "s3cr3t" in text]
        assert S3CRET in auth.secrets


def test_the_table_knows_the_options_of_all() -> None:
    assert set(AUTH_OPTIONS) == {name for kind in AUTH_TYPES.values() for name in kind.options}
