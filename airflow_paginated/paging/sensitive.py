"""Which names and values are credentials, and hardly ever anything else."""

from __future__ import annotations

import re
from typing import Final

SENSITIVE: Final = re.compile(
    r"(x[-_])?((access|api|app|auth|client|private|secret|subscription|user)[-_]?)?"
    r"(authorization|credentials?|key|passwd|password|pwd|secret|sig|signature|token)",
    re.IGNORECASE,
)
"""Names of parameters and headers that are credentials."""
MIN_MASKED_CHARS: Final = 8
"""A shorter text is hardly a secret, and would be found in every other one."""
