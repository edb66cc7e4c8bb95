"""TODO"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collect.changing import Site
from tests.servers import FaultServer
from tests.servers.changing import ChangingTable


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    table = ChangingTable()
    with FaultServer(table) as server:
        yield Site(server, table, tmp_path)
