"""What every test of this double needs: clients that look for no proxy."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the variable set: requests sets and deletes it at each call, which two threads at once do not survive."""
    monkeypatch.setenv("no_proxy", "*")
