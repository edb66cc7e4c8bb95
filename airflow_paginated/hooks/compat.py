"""Differences between the supported releases of Airflow, requests and urllib3.

Names that Airflow moved between 3.0 and 3.3 are imported from their newest location first: the older ones may be
deprecated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from airflow import __version__ as airflow_version
from packaging.version import Version

if TYPE_CHECKING:
    from airflow.sdk import BaseHook
    from airflow.sdk.configuration import conf
    from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException, AirflowSkipException
    from airflow.sdk.log import mask_secret
else:
    try:
        from airflow.sdk import BaseHook  # 3.1
    except ImportError:
        from airflow.hooks.base import BaseHook
    try:
        from airflow.sdk.configuration import conf  # 3.2
    except ImportError:
        from airflow.configuration import conf
    try:
        from airflow.sdk.exceptions import (  # 3.2
            AirflowFailException,
            AirflowRescheduleException,
            AirflowSkipException,
        )
    except ImportError:
        from airflow.exceptions import AirflowFailException, AirflowRescheduleException, AirflowSkipException
    try:
        from airflow.sdk.log import mask_secret  # 3.0.6
    except ImportError:
        from airflow.sdk.execution_time.secrets_masker import mask_secret

__all__ = [
    "HAS_ASSET_STATE",
    "HAS_CONNECTION_FORM",
    "HAS_RESCHEDULE",
    "AirflowFailException",
    "AirflowRescheduleException",
    "AirflowSkipException",
    "BaseHook",
    "airflow_version",
    "conf",
    "known_vulnerabilities",
    "mask_secret",
]

_MINOR: Final = tuple(int(part) for part in airflow_version.split(".")[:2])
HAS_RESCHEDULE: Final = _MINOR >= (3, 1)
"""An operator that is not deferrable can release its worker slot and be rescheduled."""
HAS_CONNECTION_FORM: Final = _MINOR >= (3, 2)
"""The connection form shows the fields that the provider declares."""
HAS_ASSET_STATE: Final = _MINOR >= (3, 3)
"""Assets can store state, such as a watermark."""

_FIXED_IN: Final = {
    "requests": ("2.33", "CVE-2026-25645"),
    "urllib3": ("2.8", "CVE-2026-97689, CVE-2026-97687"),
}
"""The first release that fixes the vulnerabilities described in SECURITY.md."""


def known_vulnerabilities(installed: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield one line of advice for each installed HTTP library with known vulnerabilities.

    ``installed`` maps distribution names to versions; by default those of this environment.
    """
    for name, (fixed, advisories) in _FIXED_IN.items():
        current = version(name) if installed is None else installed[name]
        if Version(current) < Version(fixed):
            yield f"{name} {current} has known vulnerabilities ({advisories}): upgrade to {fixed} or newer"
