"""Masks secrets in Airflow's own logs."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from queue import Empty, SimpleQueue

from airflow_paginated.core.secrets import spellings
from airflow_paginated.hooks.compat import mask_secret


class Masks:
    """Masks secrets, as they are and in their usual encodings.

    Only the thread that created the object may call Airflow; secrets from other threads wait for ``catch_up``.
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._masked: set[str] = set()
        """Changed by the creating thread only."""
        self._learned: SimpleQueue[str] = SimpleQueue()

    def learn(self, secrets: Iterable[str]) -> None:
        """Mask secrets: at once in the creating thread, else at the next ``catch_up``."""
        for secret in secrets:
            self._learned.put(secret)
        if threading.get_ident() == self._thread:
            self.catch_up()

    def catch_up(self) -> None:
        """Mask the secrets that other threads have learned."""
        while True:
            try:
                secret = self._learned.get_nowait()
            except Empty:
                return
            if secret and secret not in self._masked:
                self._masked.add(secret)
                for spelling in set(spellings(secret)):
                    mask_secret(spelling)
