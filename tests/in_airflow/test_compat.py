"""What differs between the releases that the package works with."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pytest
from airflow.sdk.exceptions import AirflowRescheduleException

from airflow_paginated.core.errors import QuotaExceeded
from airflow_paginated.hooks.compat import known_vulnerabilities
from airflow_paginated.operators import errors as outcome

SAFE = {"requests": "2.33.0", "urllib3": "2.8.0"}


@pytest.mark.parametrize(
    ("older", "advice"),
    [
        ({}, []),
        (
            {"requests": "2.32.4"},
            ["requests 2.32.4 has known vulnerabilities (CVE-2026-25645): upgrade to 2.33 or newer"],
        ),
        (
            {"urllib3": "2.10.1"},
            [],
        ),
        (
            {"urllib3": "2.7.0"},
            ["urllib3 2.7.0 has known vulnerabilities (CVE-2026-97689, CVE-2026-97687): upgrade to 2.8 or newer"],
        ),
    ],
)
def test_known_vulnerabilities(older: Mapping[str, str], advice: list[str]) -> None:
    assert list(known_vulnerabilities({**SAFE, **older})) == advice


def test_what_is_installed_here_has_none_that_are_known() -> None:
    assert list(known_vulnerabilities()) == []


@pytest.mark.parametrize("can", [True, False])
def test_a_long_quota_wait_in_an_airflow_that_can_or_cannot_reschedule(
    can: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outcome, "HAS_RESCHEDULE", can)
    log = logging.getLogger("compat")
    with pytest.raises(AirflowRescheduleException if can else QuotaExceeded), outcome.airflow_errors(True, log):
        raise QuotaExceeded("the quota is used up", seconds=600)
    (line,) = (record.getMessage() for record in caplog.records)
    assert ("cannot release the worker slot" in line) is not can
