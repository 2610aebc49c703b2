"""Runs every test that asks for `platform` on each registered platform, and for `reading` on each kept reading."""

from __future__ import annotations

import pytest

from asset_ledger.sources.registry import PLATFORMS, platform
from tests.contract.readings import readings


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "platform" in metafunc.fixturenames:
        metafunc.parametrize("platform", [platform(name) for name in PLATFORMS], ids=list(PLATFORMS))
    if "reading" in metafunc.fixturenames:
        found = readings()
        metafunc.parametrize("reading", found, ids=[reading.name for reading in found])
