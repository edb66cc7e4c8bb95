"""Django REST framework with employees, under waitress: ``python -m tests.real_servers.drf_app``."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import Any

import django
from django.conf import settings

from tests.real_servers.child import serve_until_eof
from tests.real_servers.rows import employees

TOKEN = "0123456789abcdef0123456789abcdef01234567"
USER, PASSWORD = "bob", "a pass-word/of+bob's"
CLIENT_SECRET = "a secret/of+robots"
CLIENTS = ("robot", "revoked")
"""Each with this secret; the second one is revoked in mid-run."""
THREADS = 4
SETTINGS: Mapping[str, Any] = {
    "ALLOWED_HOSTS": ["127.0.0.1"],
    "INSTALLED_APPS": [
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "rest_framework",
        "rest_framework.authtoken",
        "oauth2_provider",
    ],
    "OAUTH2_PROVIDER": {"SCOPES": {"read": "Read employees"}},
    "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],  # basic authentication asks for each page
    "REST_FRAMEWORK": {
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.TokenAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    },
    "ROOT_URLCONF": "tests.real_servers.drf_views",
    "SECRET_KEY": "of no use to anybody",
}


def fill() -> None:
    """Make the tables, the rows, and the users and clients who may read them."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connection
    from oauth2_provider.models import Application
    from rest_framework.authtoken.models import Token

    from tests.real_servers.drf_views import Employee

    call_command("migrate", verbosity=0)
    with connection.schema_editor() as editor:
        editor.create_model(Employee)
    Employee.objects.bulk_create(Employee(**row) for row in employees())
    Token.objects.create(user=User.objects.create(username="ann"), key=TOKEN)
    User.objects.create_user(USER, password=PASSWORD)
    kind = {"client_type": "confidential", "authorization_grant_type": "client-credentials"}
    for name in CLIENTS:
        Application.objects.create(name=name, client_id=name, client_secret=CLIENT_SECRET, **kind)
    connection.close()


def main() -> None:
    """Serve until the input is closed."""
    from django.core.wsgi import get_wsgi_application
    from waitress.server import create_server

    with tempfile.TemporaryDirectory() as folder:
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/db.sqlite3"}
        settings.configure(**SETTINGS, DATABASES={"default": database})
        django.setup()
        fill()
        server = create_server(get_wsgi_application(), host="127.0.0.1", port=0, threads=THREADS)
        serve_until_eof(server.effective_port, server.run)


if __name__ == "__main__":
    main()
