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
from asset_ledger.sources.vcenter import PLATFORM
from asset_ledger.sources.vcenter.client import VcenterClient
from asset_ledger.sources.vcenter.collector import VcenterCollector
from asset_ledger.sources.vcenter.config import VcenterConfig
from asset_ledger.sources.vcenter.raw import Evidence, read_evidence
from tests.doubles.vcenter import VcenterDouble
from tests.doubles.vcenter.specs import ClusterSpec, HostSpec, NicSpec, VmSpec


@dataclass(frozen=True)
class Credentials:
    """One credential for every reference."""

    fields: Mapping[str, str]

    def resolve(self, reference: str) -> Mapping[str, str]:
        return self.fields


def fields_of(vc: VcenterDouble, password: str | None = None) -> dict[str, str]:
    return {"username": vc.username, "password": password or vc.password}


def config_of(vc: VcenterDouble, **said: Any) -> VcenterConfig:
    """Return the configuration of a source that reads the double, with short times."""
    trust = {} if {"fingerprint", "tls_verify", "ca_file"} & said.keys() else {"ca_file": vc.ca_file}
    given = {"name": "vc_x", "platform": "vcenter", "endpoint": vc.endpoint, "credential_ref": "env:VC"} | trust
    return VcenterConfig.model_validate({**given, "timeout_ms": 10_000, **said})


def collector(vc: VcenterDouble, password: str | None = None, **said: Any) -> VcenterCollector:
    return VcenterCollector(config_of(vc, **said), Credentials(fields_of(vc, password)))


def client(vc: VcenterDouble, password: str | None = None, **said: Any) -> VcenterClient:
    return VcenterClient(config_of(vc, **said), fields_of(vc, password))


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
    def last(self) -> Mapping[str, Any]:
        assert self.records[-1].target == "vcenter"
        return self.records[-1].document

    @property
    def evidence(self) -> Evidence:
        return read_evidence(self.records[-1])

    @property
    def targets(self) -> list[str]:
        return [raw.target for raw in self.records]

    @property
    def bytes(self) -> bytes:
        return b"".join(raw.body + repr(raw).encode() for raw in self.records)


def read(vc: VcenterDouble, scope: str = "all", password: str | None = None, **said: Any) -> Reading:
    """Collect once; the error of a reading that failed is kept, not raised."""
    found = Reading()
    try:
        for raw in collector(vc, password, **said).collect(ReadOrder(scope=scope)):
            found.records.append(raw)
    except LedgerError as error:
        found.error = error
    return found


def complete(found: Reading) -> Reading:
    """Return a reading that ended well."""
    assert found.error is None, found.error
    assert found.proof.complete, found.proof.missing
    return found


def world(vc: VcenterDouble, vms: int = 7) -> VcenterDouble:
    """Show two clustered hosts, one of its own, and so many machines, spread over the hosts."""
    vc.show(
        clusters=[ClusterSpec("domain-c1", "prod")],
        hosts=[
            HostSpec("host-1", "esx1.example.com", "domain-c1", uuid="4c4c4544-0051-3510-8052-b9c04f4e5a31"),
            HostSpec("host-2", "esx2.example.com", "domain-c1", uuid="4c4c4544-0051-3510-8052-b9c04f4e5a32"),
            HostSpec("host-3", "esx3.example.com", uuid="4c4c4544-0051-3510-8052-b9c04f4e5a33"),
        ],
        vms=[
            VmSpec(
                f"vm-{number}",
                f"app{number}",
                f"host-{number % 3 + 1}",
                uuid=f"42010000-0000-4000-8000-{number:012d}",
                instance_uuid=f"50010000-0000-4000-8000-{number:012d}",
                nics=(NicSpec(f"00:50:56:00:00:{number % 250:02x}", (f"10.0.{number // 250}.{number % 250 + 1}",)),),
            )
            for number in range(vms)
        ],
    )
    return vc
