"""A collector against the double, for the tests of the live half, and the worlds they read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asset_ledger.sources.hyperv import PLATFORM
from asset_ledger.sources.hyperv.collector import HypervCollector
from asset_ledger.sources.hyperv.config import HypervConfig
from asset_ledger.sources.platform import ReadOrder
from tests.doubles.hyperv import (
    PASSWORD,
    USER,
    ClusterSpec,
    DiskSpec,
    HostSpec,
    HypervDouble,
    NicSpec,
    VmSpec,
)
from tests.sources import live
from tests.sources.live import Credentials


def fields_of(user: str = USER, password: str = PASSWORD) -> dict[str, str]:
    """Return the credential of the double's account."""
    return {"username": user, "password": password}


def config_of(hyperv: HypervDouble, *hosts: str, **said: Any) -> HypervConfig:
    """Return the configuration of a source that reads these hosts of the double, all of them where none is named."""
    named = [hyperv.at(name) for name in hosts or hyperv.hosts]
    trust = live.trusted(hyperv.wsman, said) if said.get("https", True) else {}
    return HypervConfig.model_validate(
        {
            "name": "hv_x",
            "platform": "hyperv",
            "hosts": named,
            "credential_ref": "env:HV",
            "connect_timeout_s": 2,
            "deadline_s": 20,
            **trust,
            **said,
        }
    )


def collector(
    hyperv: HypervDouble, *hosts: str, user: str = USER, password: str = PASSWORD, **said: Any
) -> HypervCollector:
    return HypervCollector(config_of(hyperv, *hosts, **said), Credentials(fields_of(user, password)))


class Reading(live.Reading):
    platform, whole = PLATFORM, "survey"

    @property
    def survey(self) -> Mapping[str, Any]:
        return self.last

    @property
    def survey_first(self) -> Mapping[str, Any]:
        """The survey's document of a reading that failed."""
        assert self.records[0].target == self.whole
        return self.records[0].document

    def on(self, name: str) -> str:
        """Return the id of what a virtual machine runs on."""
        [document] = [one for one in self.kind("vm").values() if one["identity"].get("hostname") == name]
        [relation] = [one for one in document["relations"] if one["kind"] == "runs_on"]
        found: str = relation["external_id"]
        return found

    @property
    def names(self) -> list[str]:
        """The names of the virtual machines, in order."""
        return sorted(document["identity"]["hostname"] for document in self.kind("vm").values())


def read(
    hyperv: HypervDouble,
    *hosts: str,
    user: str = USER,
    password: str = PASSWORD,
    known: frozenset[tuple[str, str]] = frozenset(),
    gone: frozenset[tuple[str, str]] = frozenset(),
    **said: Any,
) -> Reading:
    """Collect once; the error of a reading that failed is kept, not raised."""
    order = ReadOrder(known=known, gone=gone)
    return Reading.of(collector(hyperv, *hosts, user=user, password=password, **said), order)


def vm(number: int, **values: Any) -> VmSpec:
    """Return a virtual machine whose every fact follows from its number."""
    said: dict[str, Any] = {
        "nics": (NicSpec(f"00155D00{number // 256:02X}{number % 256:02X}", ips=(f"192.0.2.{number % 250 + 1}",)),),
        "disks": (DiskSpec(path=f"C:\\ClusterStorage\\Volume1\\vm-{number}.vhdx"),),
        **values,
    }
    return VmSpec(said.pop("name", f"vm-{number}"), **said)


def standalone(machines: int = 3, **host: Any) -> HypervDouble:
    """Return one host that is in no cluster."""
    return HypervDouble(
        HostSpec("HV9", ips=("192.0.2.253",), vms=[vm(number) for number in range(1, machines + 1)], **host)
    )


def cluster(nodes: int = 3, machines: int = 6, **double: Any) -> HypervDouble:
    """Return the nodes of one cluster, with virtual machines of the cluster spread over them."""
    hosts = [
        HostSpec(f"HV{n}", ips=(f"198.51.100.{n}",), macs=(f"00:15:5D:AA:00:{n:02X}",), serial=f"SN{n}")
        for n in range(1, nodes + 1)
    ]
    for number in range(1, machines + 1):
        hosts[(number - 1) % nodes].vms.append(vm(number, clustered=True))
    return HypervDouble(*hosts, clusters=[ClusterSpec("HVC", [host.name for host in hosts])], **double)
