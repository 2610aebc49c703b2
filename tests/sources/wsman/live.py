"""What the tests of the client share: codes of no platform, a double with one host, and a client for it."""

from __future__ import annotations

import threading
from dataclasses import fields
from typing import Any

from asset_ledger.domain.errors import ErrorCode
from asset_ledger.sources.wsman.client import Codes, Login, Trials, WsmanClient
from asset_ledger.sources.wsman.config import WsmanConfig
from tests.doubles.wsman import Account, HostSpec, WsmanDouble, windows

ADDRESS = "127.0.3.1"
USER, PASSWORD = "ledger", "Pa55-wörd-密碼"
CODES = Codes(**{one.name: ErrorCode(f"T_{one.name.upper()}", "network", True, "-", "-") for one in fields(Codes)})


def add(double: WsmanDouble, address: str = ADDRESS, **said: Any) -> None:
    """Put a host there: Windows Server 2019 unless said otherwise."""
    given = {
        "name": "APP01",
        "accounts": {USER: PASSWORD, "LAB\\domain": PASSWORD},
        "wmi": windows(release=said.get("release", "2019"), name=said.get("name", "APP01")),
    }
    double.add(HostSpec(address=address, **{**given, **said}))


def account(**rights: Any) -> dict[str, Account]:
    return {USER: Account(PASSWORD, **rights)}


def config(double: WsmanDouble, **said: Any) -> WsmanConfig:
    trust = {"ca_file": double.ca_file} if double.tls and said.get("tls_verify", True) else {}
    return WsmanConfig(**{"name": "hosts", "platform": "winrm", "https": double.tls is not None, **trust, **said})


def client(
    double: WsmanDouble,
    *,
    address: str = ADDRESS,
    port: int | None = None,
    names: tuple[str, ...] = (),
    login: Login | None = None,
    stop: threading.Event | None = None,
    trials: Trials | None = None,
    **said: Any,
) -> WsmanClient:
    """Return a client for a host of the double. `said` are fields of the source."""
    return WsmanClient(
        config(double, **said),
        CODES,
        login or Login(USER, PASSWORD),
        address=address,
        port=port or double.port,
        names=names,
        stop=stop or threading.Event(),
        trials=trials,
    )
