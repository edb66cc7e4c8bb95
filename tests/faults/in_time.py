"""What deadlines must hold, on a machine that may be busy."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from airflow_paginated.core.errors import PageFailed
from airflow_paginated.core.policies import Timeouts
from airflow_paginated.transport import RequestRetry
from tests.collect.running import Job
from tests.faults.endings import Ending, refused

PATIENT: Final = RequestRetry(max_attempts=50, budget=200, backoff_factor=0.0)
"""For a fault that a deadline ends: a busy machine may miss one more often than the fault makes it."""


def in_time(job: Job) -> Ending:
    """Run a job whose first page never comes, and assert that it ends within the page's time and half a second.

    Only the machine can be slower than that, and not again and again.
    """
    timeouts = Timeouts(page=0.5, connect=30.0)
    for _ in range(5):
        ending = refused(replace(job, client={**job.client, "timeouts": timeouts}), PageFailed)
        assert "no time left within timeouts.page=0.5 s" in str(ending.error)
        if ending.seconds <= timeouts.page + 0.5:
            return ending
    pytest.fail(f"{ending.seconds} s")
