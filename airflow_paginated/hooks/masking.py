"""Secrets kept out of Airflow's own logs."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from queue import Empty, SimpleQueue

from airflow_paginated.core.secrets import spellings
from airflow_paginated.hooks.compat import mask_secret


class Masks:
    """Masks secrets, plain and as they are often written.

    Airflow may be asked by the thread that made this one only: what other threads learn waits for it.
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._masked: set[str] = set()
        """Changed by that thread only."""
        self._learned: SimpleQueue[str] = SimpleQueue()

    def learn(self, secrets: Iterable[str]) -> None:
        """Mask these, at once or as soon as it is possible."""
        for secret in secrets:
            self._learned.put(secret)
        if threading.get_ident() == self._thread:
            self.catch_up()

    def catch_up(self) -> None:
        """Mask what other threads have learned."""
        while True:
            try:
                secret = self._learned.get_nowait()
            except Empty:
                return
            if secret and secret not in self._masked:
                self._masked.add(secret)
                for spelling in set(spellings(secret)):
                    mask_secret(spelling)
