"""Doubles with one Windows host, over HTTP and over HTTPS; nothing may be left open there, nor a thread here."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tests.doubles.wsman import WsmanDouble
from tests.patience import PATIENCE_S
from tests.sources.wsman.live import ADDRESS, add


@pytest.fixture
def plain() -> Iterator[WsmanDouble]:
    with WsmanDouble(tls=False) as double:
        add(double)
        yield double


@pytest.fixture
def secure() -> Iterator[WsmanDouble]:
    with WsmanDouble(tls=True) as double:
        add(double)
        yield double


@pytest.fixture(autouse=True)
def nothing_of_ours_runs_on() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    ours = [one.name for one in set(threading.enumerate()) - before if one.name.startswith("looking up")]
    assert ours == []


def left_open(double: WsmanDouble, address: str = ADDRESS) -> tuple[int, int, int]:
    """Return how many shells, enumerations and connections are open; a connection may need a moment to be seen closed."""
    end = time.monotonic() + PATIENCE_S
    while double.connections(address) and time.monotonic() < end:
        time.sleep(0.01)
    return len(double.shells(address)), len(double.contexts(address)), double.connections(address)
