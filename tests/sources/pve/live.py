"""A collector and a client against the double, for the tests of the live half."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from asset_ledger.domain.errors import LedgerError
from asset_ledger.domain.inventory import AssetRecord, Caution, Item, Proof
from asset_ledger.domain.normalized import validate
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.platform import ReadOrder
from asset_ledger.sources.pve import PLATFORM
from asset_ledger.sources.pve.client import PveClient
from asset_ledger.sources.pve.collector import PveCollector
from asset_ledger.sources.pve.config import PveConfig
from tests.doubles.pve import PveDouble

TOKENS = {
    "ledger@pve!asset": "11111111-1111-4111-8111-111111111111",
    "ledger@pve!bare": "22222222-2222-4222-8222-222222222222",
    "ledger@pve!full": "33333333-3333-4333-8333-333333333333",
    "ledger@pve!old": "44444444-4444-4444-8444-444444444444",
    "agent@pve!asset": "55555555-5555-4555-8555-555555555555",
    "root@pam!asset": "66666666-6666-4666-8666-666666666666",
}
WITHOUT_TOKENS = ("5.0", "5.4", "6.1")


@dataclass(frozen=True)
class Credentials:
    """One credential for every reference."""

    fields: Mapping[str, str]

    def resolve(self, reference: str) -> Mapping[str, str]:
        return self.fields


def fields_of(account: str, secret: str | None = None) -> dict[str, str]:
    """Return the credential of one of the double's accounts."""
    if "!" in account:
        return {"api_token_id": account, "api_token_secret": secret or TOKENS[account]}
    return {"username": account, "password": secret or f"{account.partition('@')[0]}-password"}


def config_of(pve: PveDouble, account: str = "agent@pve", **said: Any) -> PveConfig:
    """Return the configuration of a source that reads the double, with short times."""
    pve.auth_delay = pve.agent_delay = 0.01
    trust = {} if {"fingerprint", "tls_verify", "ca_file"} & said.keys() else {"ca_file": pve.ca_file}
    auth = "api_token" if "!" in account else "user_password"
    given = {"name": "pve_x", "platform": "pve", "endpoint": pve.endpoint, "auth_type": auth} | trust
    return PveConfig.model_validate({**given, "credential_ref": "env:PVE", "timeout_ms": 10_000, **said})


def collector(pve: PveDouble, account: str = "agent@pve", secret: str | None = None, **said: Any) -> PveCollector:
    return PveCollector(config_of(pve, account, **said), Credentials(fields_of(account, secret)))


def client(pve: PveDouble, account: str = "agent@pve", secret: str | None = None, **said: Any) -> PveClient:
    return PveClient(config_of(pve, account, **said), fields_of(account, secret))


@dataclass
class Reading:
    """What one collect gave: its records, the error that ended it, and what the parser makes of the records."""

    records: list[RawRecord] = field(default_factory=list)
    error: LedgerError | None = None

    @property
    def items(self) -> list[Item]:
        return [item for raw in self.records for item in PLATFORM.parse(raw, {})]

    @property
    def assets(self) -> dict[tuple[str, str], dict[str, Any]]:
        found = {}
        for item in self.items:
            if isinstance(item, AssetRecord):
                key = (item.external_kind, item.external_id)
                assert key not in found, f"{key} twice"
                validate(item.document, target=item.locator)
                found[key] = item.document
        return found

    def kind(self, kind: str) -> dict[str, dict[str, Any]]:
        return {name: document for (of, name), document in self.assets.items() if of == kind}

    @property
    def cautions(self) -> list[tuple[str, str | None]]:
        return [(item.code.code, item.locator) for item in self.items if isinstance(item, Caution)]

    @property
    def proof(self) -> Proof:
        [proof] = [item for item in self.items if isinstance(item, Proof)]
        return proof

    @property
    def cluster(self) -> Mapping[str, Any]:
        assert self.records[-1].target == "cluster"
        return self.records[-1].document

    @property
    def bytes(self) -> bytes:
        return b"".join(raw.body + repr(raw.document).encode() for raw in self.records)


def read(
    pve: PveDouble,
    account: str = "agent@pve",
    secret: str | None = None,
    *,
    known: frozenset[tuple[str, str]] = frozenset(),
    **said: Any,
) -> Reading:
    """Collect once; the error of a reading that failed is kept, not raised."""
    found = Reading()
    try:
        for raw in collector(pve, account, secret, **said).collect(ReadOrder(known=known)):
            found.records.append(raw)
    except LedgerError as error:
        found.error = error
    return found


def complete(found: Reading) -> Reading:
    """Return a reading that ended well."""
    assert found.error is None, found.error
    assert found.proof.complete, found.proof.missing
    return found
