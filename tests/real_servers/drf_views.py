"""The views of the Django REST framework server; Django must be set up before this is imported."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Any, ClassVar

from django.core.cache.backends.locmem import LocMemCache
from django.db import models
from django.urls import path
from oauth2_provider.contrib.rest_framework import OAuth2Authentication, TokenHasScope
from oauth2_provider.models import AccessToken, Application
from oauth2_provider.views import TokenView
from rest_framework.authentication import BasicAuthentication
from rest_framework.authtoken.models import Token
from rest_framework.authtoken.views import obtain_auth_token
from rest_framework.generics import ListAPIView
from rest_framework.pagination import CursorPagination, LimitOffsetPagination, PageNumberPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import ModelSerializer
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView

ALLOWED = 40
"""How many requests are answered before the throttle wants a second's pause."""


class Employee(models.Model):
    name = models.CharField(max_length=40)
    hired = models.CharField(max_length=10)
    salary = models.CharField(max_length=10)
    active = models.BooleanField()
    manager = models.IntegerField(null=True)

    class Meta:
        app_label = "real_servers"


class EmployeeSerializer(ModelSerializer):
    class Meta:
        model = Employee
        fields: ClassVar = ["id", "name", "hired", "salary", "active", "manager"]


class Pages(PageNumberPagination):
    page_size = 20
    page_size_query_param = "page_size"
    max_page_size = 100


class Offsets(LimitOffsetPagination):
    max_limit = 50


class Cursors(CursorPagination):
    page_size = 50
    page_size_query_param = "page_size"
    ordering = ("hired", "id")


class Clock:
    """A clock that stands while requests are answered, so that no machine is too slow to be throttled."""

    def __init__(self) -> None:
        self._at = 0.0
        self._running_since: float | None = None

    def __call__(self) -> float:
        since = self._running_since
        return self._at if since is None else self._at + time.monotonic() - since

    def run(self) -> None:
        if self._running_since is None:
            self._running_since = time.monotonic()

    def stop(self) -> None:
        self._at, self._running_since = self(), None


class Memory(LocMemCache):
    """Forgets nothing by itself: the throttle does, by its own clock."""

    def set(self, key: str, value: Any, timeout: float | None = None, version: int | None = None) -> None:
        super().set(key, value, None, version)


class Throttle(UserRateThrottle):
    """The framework's own, which loses requests that come at once, in a line: it admits exactly its rate."""

    rate = f"{ALLOWED}/second"
    timer = Clock()
    cache = Memory("throttle", {})
    lock = Lock()
    refused: ClassVar = 0
    """Changed under the lock."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        with self.lock:
            return super().allow_request(request, view)

    def throttle_success(self) -> bool:
        self.timer.stop()
        return super().throttle_success()

    def throttle_failure(self) -> bool:
        self.timer.run()
        Throttle.refused += 1
        return super().throttle_failure()


class Employees(ListAPIView):
    queryset = Employee.objects.order_by("id")
    serializer_class = EmployeeSerializer


class Refused(APIView):
    def get(self, request: Request) -> Response:
        return Response(Throttle.refused)


class Once:
    """Does something when a page is asked for the first time."""

    lock = Lock()
    done: ClassVar[set[str]] = set()

    def __init__(self, name: str, number: str, act: Callable[[], object]) -> None:
        self._name, self._number, self._act = name, number, act

    def see(self, request: Request) -> None:
        with self.lock:
            if request.GET.get("page") == self._number and self._name not in self.done:
                self.done.add(self._name)
                self._act()


class Watched(Employees):
    """The employees, whose guard loses the keys in mid-run."""

    pagination_class = Pages
    once: Once | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if self.once is not None:
            self.once.see(request)
        super().initial(request, *args, **kwargs)


def revoke() -> None:
    Application.objects.filter(client_id="revoked").delete()


class Issued(APIView):
    """How many tokens were given to clients so far."""

    def get(self, request: Request) -> Response:
        return Response(AccessToken.objects.count())


class ForClients(Watched):
    """The same for clients with a token of OAuth 2.0."""

    authentication_classes: ClassVar = [OAuth2Authentication]
    permission_classes: ClassVar = [TokenHasScope]
    required_scopes: ClassVar = ["read"]


EXPIRE = Once("expire", "40", lambda: AccessToken.objects.update(expires="2020-01-01T00:00:00Z"))
FORGET = Once("forget", "40", lambda: Token.objects.filter(user__username="bob").delete())


urlpatterns = [
    path("pages/", Employees.as_view(pagination_class=Pages)),
    path("offsets/", Employees.as_view(pagination_class=Offsets)),
    path("cursors/", Employees.as_view(pagination_class=Cursors)),
    path("throttled/", Employees.as_view(pagination_class=Pages, throttle_classes=[Throttle])),
    path("refused/", Refused.as_view()),
    path("basic/", Watched.as_view(authentication_classes=[BasicAuthentication])),
    path("login/", obtain_auth_token),
    path("forgetting/", Watched.as_view(once=FORGET)),
    path("o/token/", TokenView.as_view()),
    path("clients/", ForClients.as_view()),
    path("expiring/", ForClients.as_view(once=EXPIRE)),
    path("revoking/", ForClients.as_view(once=Once("revoke", "40", revoke))),
    path("issued/", Issued.as_view()),
]
