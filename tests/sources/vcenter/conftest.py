"""What the tests of the live half share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.doubles.vcenter import VcenterDouble
from tests.sources.vcenter.live import world


@pytest.fixture
def vc() -> Iterator[VcenterDouble]:
    """A vCenter 8.0.3 with two clustered hosts, one of its own, and seven machines."""
    with VcenterDouble() as double:
        yield world(double)
