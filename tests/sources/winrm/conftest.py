"""Doubles of Windows hosts that the tests of the live half share: one with TLS, one without. Each test adds hosts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.doubles.wsman import WsmanDouble


@pytest.fixture(scope="module")
def running_https() -> Iterator[WsmanDouble]:
    with WsmanDouble(tls=True) as double:
        yield double


@pytest.fixture(scope="module")
def running_http() -> Iterator[WsmanDouble]:
    with WsmanDouble(tls=False) as double:
        yield double


def _clean(double: WsmanDouble) -> WsmanDouble:
    double.faults.clear()
    double.requests.clear()
    for address in list(double.hosts):
        double.remove(address)
    return double


@pytest.fixture
def https(running_https: WsmanDouble) -> WsmanDouble:
    """Windows hosts on port 5986's terms: no host yet, nothing goes wrong yet."""
    return _clean(running_https)


@pytest.fixture
def http(running_http: WsmanDouble) -> WsmanDouble:
    """Windows hosts on port 5985's terms."""
    return _clean(running_http)
