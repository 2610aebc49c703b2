"""Fixtures that tests in other folders use: simulators, one a session and shape. Loaded by tests/conftest.py.

Where Debian's Go packages are missing these tests are skipped and the packages named; under CI they fail.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.doubles.vcenter.vcsim import VcSim, missing

StartVcSim = Callable[..., VcSim]


@pytest.fixture(scope="session")
def start_vcsim() -> Iterator[StartVcSim]:
    """Return a simulator of a shape: shared by all who want the same, or a fresh one with `own=True` (to change it)."""
    shared: dict[str, VcSim] = {}
    running: list[VcSim] = []

    def start(*, own: bool = False, **shape: int | bool) -> VcSim:
        if (reason := missing()) and os.environ.get("CI") != "true":
            pytest.skip(reason)
        key = repr(sorted(shape.items()))
        if own or key not in shared:
            sim = VcSim(**shape)  # under CI it says itself which packages are missing
            running.append(sim)
            if own:
                return sim
            shared[key] = sim
        return shared[key]

    yield start
    for sim in running:
        sim.close()


@pytest.fixture(scope="session")
def vcsim(start_vcsim: StartVcSim) -> VcSim:
    """Two clusters of two hosts, a host outside of them, nine machines: to be read, not to be changed."""
    return start_vcsim(clusters=2, hosts=2, lone_hosts=1, vms=3)
