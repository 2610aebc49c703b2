"""What the tests of the live half share."""

from __future__ import annotations

import pytest

from asset_ledger.sources.pve import client


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Second attempts come sooner; how long a proxy's Retry-After is waited for stays."""
    monkeypatch.setattr(client, "BACKOFF_S", 0.05)
