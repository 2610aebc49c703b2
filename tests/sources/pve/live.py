"""A collector and a client against the double, for the tests of the live half."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asset_ledger.sources.platform import ReadOrder
from asset_ledger.sources.pve import PLATFORM
from asset_ledger.sources.pve.client import PveClient
from asset_ledger.sources.pve.collector import PveCollector
from asset_ledger.sources.pve.config import PveConfig
from tests.doubles.pve import PveDouble
from tests.sources import live
from tests.sources.live import Credentials

TOKENS = {
    "ledger@pve!asset": "11111111-1111-4111-8111-111111111111",
    "ledger@pve!bare": "22222222-2222-4222-8222-222222222222",
    "ledger@pve!full": "33333333-3333-4333-8333-333333333333",
    "ledger@pve!old": "44444444-4444-4444-8444-444444444444",
    "agent@pve!asset": "55555555-5555-4555-8555-555555555555",
    "root@pam!asset": "66666666-6666-4666-8666-666666666666",
}
WITHOUT_TOKENS = ("5.0", "5.4", "6.1")


def fields_of(account: str, secret: str | None = None) -> dict[str, str]:
    """Return the credential of one of the double's accounts."""
    if "!" in account:
        return {"api_token_id": account, "api_token_secret": secret or TOKENS[account]}
    return {"username": account, "password": secret or f"{account.partition('@')[0]}-password"}


def config_of(pve: PveDouble, account: str = "agent@pve", **said: Any) -> PveConfig:
    """Return the configuration of a source that reads the double, with short times."""
    pve.auth_delay = pve.agent_delay = 0.01
    auth = "api_token" if "!" in account else "user_password"
    given = {"name": "pve_x", "platform": "pve", "endpoint": pve.endpoint, "auth_type": auth}
    given |= live.trusted(pve, said)
    return PveConfig.model_validate({**given, "credential_ref": "env:PVE", "timeout_ms": 10_000, **said})


def collector(pve: PveDouble, account: str = "agent@pve", secret: str | None = None, **said: Any) -> PveCollector:
    return PveCollector(config_of(pve, account, **said), Credentials(fields_of(account, secret)))


def client(pve: PveDouble, account: str = "agent@pve", secret: str | None = None, **said: Any) -> PveClient:
    return PveClient(config_of(pve, account, **said), fields_of(account, secret))


class Reading(live.Reading):
    platform, whole = PLATFORM, "cluster"

    @property
    def cluster(self) -> Mapping[str, Any]:
        return self.last


def read(
    pve: PveDouble,
    account: str = "agent@pve",
    secret: str | None = None,
    *,
    known: frozenset[tuple[str, str]] = frozenset(),
    **said: Any,
) -> Reading:
    """Collect once; the error of a reading that failed is kept, not raised."""
    return Reading.of(collector(pve, account, secret, **said), ReadOrder(known=known))
