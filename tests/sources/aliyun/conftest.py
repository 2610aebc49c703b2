"""What the tests of the live half share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from asset_ledger.sources.aliyun import client
from tests.doubles.aliyun import AliyunDouble, estate


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Further attempts come sooner; how long an answer says to wait is waited for."""
    monkeypatch.setattr(client, "BACKOFF_S", (0.01, 0.02, 0.03))
    monkeypatch.setattr(client, "THROTTLED_S", (0.01,) * 7)


@pytest.fixture
def aliyun() -> Iterator[AliyunDouble]:
    """Three regions with twelve instances of the kinds that differ; one region is empty."""
    with AliyunDouble(estate()) as double:
        yield double
