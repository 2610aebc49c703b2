"""A collector and a client against the double, for the tests of the live half."""

from __future__ import annotations

from typing import Any

from asset_ledger.sources.platform import ReadOrder
from asset_ledger.sources.vcenter import PLATFORM
from asset_ledger.sources.vcenter.client import VcenterClient
from asset_ledger.sources.vcenter.collector import VcenterCollector
from asset_ledger.sources.vcenter.config import VcenterConfig
from asset_ledger.sources.vcenter.raw import Evidence, read_evidence
from tests.doubles.vcenter import VcenterDouble
from tests.doubles.vcenter.specs import ClusterSpec, HostSpec, NicSpec, VmSpec
from tests.sources import live
from tests.sources.live import Credentials


def fields_of(vc: VcenterDouble, password: str | None = None) -> dict[str, str]:
    return {"username": vc.username, "password": password or vc.password}


def config_of(vc: VcenterDouble, **said: Any) -> VcenterConfig:
    """Return the configuration of a source that reads the double, with short times."""
    given = {"name": "vc_x", "platform": "vcenter", "endpoint": vc.endpoint, "credential_ref": "env:VC"}
    given |= live.trusted(vc, said)
    return VcenterConfig.model_validate({**given, "timeout_ms": 10_000, **said})


def collector(vc: VcenterDouble, password: str | None = None, **said: Any) -> VcenterCollector:
    return VcenterCollector(config_of(vc, **said), Credentials(fields_of(vc, password)))


def client(vc: VcenterDouble, password: str | None = None, **said: Any) -> VcenterClient:
    return VcenterClient(config_of(vc, **said), fields_of(vc, password))


class Reading(live.Reading):
    platform, whole = PLATFORM, "vcenter"

    @property
    def evidence(self) -> Evidence:
        return read_evidence(self.records[-1])

    def moids(self, kind: str) -> set[str]:
        """Return the ids that the server itself has for what was read of a kind."""
        return {name.partition("@")[0] for name in self.kind(kind)}

    @property
    def known(self) -> frozenset[tuple[str, str]]:
        """External kind and id of everything that was read."""
        return frozenset(self.assets)


def read(
    vc: VcenterDouble,
    scope: str = "all",
    password: str | None = None,
    known: frozenset[tuple[str, str]] = frozenset(),
    scope_of_source: str = "vcenter",
    **said: Any,
) -> Reading:
    """Collect once; the error of a reading that failed is kept, not raised."""
    said |= {"scope": scope_of_source}
    return Reading.of(collector(vc, password, **said), ReadOrder(scope=scope, known=known))


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
