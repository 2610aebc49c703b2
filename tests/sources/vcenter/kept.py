"""The kept readings of tests/fixtures/vcenter/contract, made anew: `python -m tests.sources.vcenter.kept`.

Each file is one raw record of the double; what differs from run to run (times, ports) is set to one value. Afterwards
`pytest tests/contract --update-golden` writes what parsing gives: read both before you keep them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.platform import ReadOrder
from tests.doubles.vcenter import HostSpec, Permission, VcenterDouble
from tests.sources.vcenter.live import collector, read
from tests.sources.vcenter.worlds import CLUSTERS, HOSTS, VMS, show_everything

FOLDER = Path(__file__).parents[2] / "fixtures" / "vcenter" / "contract"
_AT = datetime(2026, 11, 1, 18, 30, tzinfo=UTC)


def records() -> Iterator[tuple[str, RawRecord]]:
    """Yield name and record of every kept reading."""
    with VcenterDouble(release="8.0.3") as vc:
        show_everything(vc)
        vc.deny("vm-104", "guest.net")
        yield from _named("vcenter-8", read(vc, tls_verify=False).records)
        vc.permissions = [
            Permission(("Folder", "group-d1"), "VSPHERE.LOCAL\\ledger", -2),
            Permission(("Folder", "group-v31"), "VSPHERE.LOCAL\\ledger", -5),
            Permission(("ClusterComputeResource", "domain-c9"), "VSPHERE.LOCAL\\Contractors", -5, group=True),
        ]
        yield from _named("refused", read(vc, "vms").records)
        vc.permissions.pop(1)
        vc.faults.add("HasPrivilegeOnEntities", "soap", fault="NoPermission", after=1)
        yield from _named("doubtful", read(vc, "vms").records[-1:])
    with VcenterDouble(release="6.5") as vc:
        old = HostSpec("host-21", "esx1", cluster="domain-c8", serial="CZ3", tags=(("ServiceTag", "7Q5RN51"),))
        vc.show(clusters=CLUSTERS[:1], hosts=[old, HOSTS[1]], vms=[replace(VMS[0], folder=None, pool=None), VMS[3]])
        vc.capacity_in_bytes = False
        yield from _named("vcenter-6-5", read(vc).records)
    with VcenterDouble(release="7.0", esxi=True) as vc:
        show_everything(vc, esxi=True)
        yield from _named("esxi-7", list(collector(vc, scope="standalone").collect(ReadOrder())))


def _named(name: str, found: list[RawRecord]) -> Iterator[tuple[str, RawRecord]]:
    for raw in found:
        document = {**raw.document, "started_at": _AT.isoformat(), "duration_ms": 412}
        if "endpoint" in document:
            document["endpoint"] = "192.0.2.11:443"
        yield f"{name}-{raw.target.replace(' ', '-')}", replace(raw, document=document, observed_at=_AT)


def write() -> None:
    """Write every kept reading."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, raw in records():
        kept = {
            "target": raw.target,
            "media_type": raw.media_type,
            "observed_at": raw.observed_at.isoformat(),
            "redacted": raw.redacted,
            "sha256": raw.sha256.hex(),
            "document": dict(raw.document),
            "body_text": raw.body.decode(),
        }
        text = json.dumps(kept, ensure_ascii=False, indent=1) + "\n"
        (FOLDER / f"{name}.raw.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
