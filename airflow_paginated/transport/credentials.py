"""Credentials that expire in mid-run, and are renewed once for all threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

import requests

from airflow_paginated.paging.errors import ConfigurationError
from airflow_paginated.transport.faults import SERVER, Fault

Auth: TypeAlias = Callable[[requests.PreparedRequest], requests.PreparedRequest]
"""Puts credentials on a request, as ``requests`` wants it; several threads may call it at once."""


@runtime_checkable
class Refreshable(Protocol):
    """Optional, of an ``Auth``: its credentials can be renewed.

    Called by one thread at a time, while others may put the old credentials on their requests. Whatever cannot be
    mended by another attempt is raised as a ``PermanentError``; an ``OSError`` (as all errors of ``requests`` are) is
    one of those that can. It has to bound its own time.
    """

    def refresh(self) -> None:
        """Get new credentials, which all later requests carry."""


class Credentials:
    """What an endpoint authenticates with. All threads use it."""

    def __init__(self, auth: Auth | None) -> None:
        self._auth = auth
        self._lock = threading.Lock()
        self.generation = 0
        """How often they were renewed; changed under the lock, and only after they were."""

    @property
    def refreshable(self) -> bool:
        """Whether they can be renewed."""
        return isinstance(self._auth, Refreshable)

    def put_on(self, request: requests.PreparedRequest) -> None:
        """Authenticate a request.

        Raises ``Fault`` where that takes the network, and it fails; ``ConfigurationError`` for what HTTP cannot carry.
        """
        try:
            request.prepare_auth(self._auth, str(request.url))
        except OSError as exc:
            raise _unobtained(exc) from None
        except UnicodeError:
            raise ConfigurationError("the credentials are none that HTTP can carry") from None

    def renew(self, used: int) -> None:
        """Renew them, unless that was done since generation ``used``; waits where another thread is at it.

        Raises what ``refresh`` raises, and ``Fault`` for an ``OSError``.
        """
        with self._lock:
            if used == self.generation and isinstance(self._auth, Refreshable):
                try:
                    self._auth.refresh()
                except OSError as exc:
                    raise _unobtained(exc) from None
                self.generation += 1


def _unobtained(error: OSError) -> Fault:
    # The text of the error is left out: it may hold what was sent.
    return Fault(f"no credentials could be obtained ({type(error).__name__})", SERVER, unsent=True)
