"""Answers of Windows releases as bytes, in the shapes of recorded ones: for the pure tests of platform `winrm`.

Rows are what WMI has; what comes of them is made by the text of the query: a list gives untyped fragments without
arrays and only what was asked, `*` a typed object with everything. Written apart from `tests.doubles.wsman`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID
from xml.sax.saxutils import escape

from asset_ledger.domain.inventory import AssetRecord
from asset_ledger.domain.normalized import validate
from asset_ledger.domain.raw import RawRecord
from asset_ledger.domain.targets import ProbeTarget
from asset_ledger.sources.winrm import raw
from asset_ledger.sources.winrm.parse import parse
from asset_ledger.sources.winrm.queries import QUERIES, Query
from asset_ledger.sources.winrm.raw import Answered, QueryError

GIB = 1 << 30
AT = datetime(2026, 11, 1, 18, 30, tzinfo=UTC)
TARGET = ProbeTarget("a1", "192.0.2.10", None, "winrm", None, "env:WIN")
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
ENUMERATION = "http://schemas.xmlsoap.org/ws/2004/09/enumeration"

Rows = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Release:
    """What one release says of itself."""

    version: str
    build: str
    caption: str
    product: str
    adapter: str
    pack: int = 0


RELEASES: Mapping[str, Release] = {
    "2003-en": Release(
        "5.2.3790",
        "3790",
        "Microsoft(R) Windows(R) Server 2003, Standard Edition",
        "Windows Server 2003",
        "Intel(R) PRO/1000 MT Network Connection",
        2,
    ),
    "2008r2-zh": Release(
        "6.1.7601",
        "7601",
        "Microsoft Windows Server 2008 R2 企业版 ",
        "Windows Server 2008 R2",
        "Microsoft 虚拟机总线网络适配器",
        1,
    ),
    "2012r2-de": Release(
        "6.3.9600",
        "9600",
        "Microsoft Windows Server 2012 R2 Standard",
        "Windows Server 2012 R2",
        "Microsoft Hyper-V-Netzwerkadapter",
    ),
    "2016-en": Release(
        "10.0.14393",
        "14393",
        "Microsoft Windows Server 2016 Standard",
        "Windows Server 2016",
        "vmxnet3 Ethernet Adapter",
    ),
    "2019-zh": Release(
        "10.0.17763",
        "17763",
        "Microsoft Windows Server 2019 数据中心版",
        "Windows Server 2019",
        "Red Hat VirtIO 以太网适配器",
    ),
    "2022-de": Release(
        "10.0.20348",
        "20348",
        "Microsoft Windows Server 2022 Standard",
        "Windows Server 2022",
        "Broadcom NetXtreme-Gigabit-Ethernet für Büro & Straße",
    ),
    "2025-en": Release(
        "10.0.26100",
        "26100",
        "Microsoft Windows Server 2025 Datacenter",
        "Windows Server 2025",
        "Microsoft Hyper-V Network Adapter",
    ),
}


def adapter(*addresses: str, mac: str = "00:50:56:00:00:2A", **fields: Any) -> dict[str, Any]:
    """Return an adapter with IP as WMI has it; IPv4 addresses are of a /24, IPv6 ones of a /64."""
    row: dict[str, Any] = {
        "Caption": "[00000010] Adapter",
        "Description": "vmxnet3 Ethernet Adapter",
        "DHCPEnabled": False,
        "DefaultIPGateway": ["192.0.2.1"],
        "DNSServerSearchOrder": ["192.0.2.53", "192.0.2.54"],
        "IPAddress": list(addresses),
        "IPEnabled": True,
        "IPSubnet": ["64" if ":" in one else "255.255.255.0" for one in addresses],
        "Index": 10,
        "InterfaceIndex": 12,
        "MACAddress": mac,
        "ServiceName": "vmxnet3ndis6",
        "SettingID": "{0D3E5A7B-1111-2222-3333-444455556666}",
    }
    return row | fields


def machine(name: str = "2019-zh") -> Rows:
    """Return the rows of a machine of this release, by query: 8 logical processors, 16 GiB, two volumes, one adapter."""
    release = RELEASES[name]
    old, before_2012 = name.startswith("2003"), name.startswith(("2003", "2008"))
    system: dict[str, Any] = {
        "Name": "WEB-01",
        "Domain": "corp.example.com",
        "PartOfDomain": True,
        "TotalPhysicalMemory": 16 * GIB - 4096,
        "NumberOfProcessors": 8 if old else 2,
        "Manufacturer": "VMware, Inc.",
        "Model": "VMware Virtual Platform",
        "UserName": "CORP\\somebody",
    }
    if not old:
        system |= {"DNSHostName": "web-01", "NumberOfLogicalProcessors": 8}
    if not before_2012:
        system |= {"HypervisorPresent": True}
    counts = {"NumberOfCores": 2, "NumberOfLogicalProcessors": 4}
    processors = [
        {"DeviceID": f"CPU{i}", "LoadPercentage": 7} | ({} if old else counts) for i in range(8 if old else 2)
    ]
    return {
        "computer_system": [system],
        "operating_system": [
            {
                "Version": release.version,
                "BuildNumber": release.build,
                "Caption": release.caption,
                "ProductType": 3,
                "ServicePackMajorVersion": release.pack,
                "LastBootUpTime": "20261001120000.000000+060",
            }
        ],
        "processor": processors,
        "network": [adapter("192.0.2.10", "fe80::10", Description=release.adapter)],
        "logical_disk": [
            {"DeviceID": "C:", "Size": 53109321728, "FileSystem": "NTFS", "DriveType": 3, "FreeSpace": 1},
            {"DeviceID": "D:", "Size": 107371032576, "FileSystem": "NTFS", "DriveType": 3, "FreeSpace": 2},
            {"DeviceID": "E:", "Size": None, "FileSystem": None, "DriveType": 3, "FreeSpace": None},
        ],
        "disk_drive": [
            {"DeviceID": r"\\.\PHYSICALDRIVE0", "Size": 53686402560, "InterfaceType": "SCSI"},
            {"DeviceID": r"\\.\PHYSICALDRIVE1", "Size": 107372805120, "InterfaceType": "SCSI"},
            {"DeviceID": r"\\.\PHYSICALDRIVE2", "Size": 8 * GIB, "InterfaceType": "USB"},
        ],
        "product": [{"UUID": "4210ABCD-0001-0002-0003-0123456789AB"}],
        "bios": [{"SerialNumber": "VMware-42 10 ab cd 00 01 00 02-00 03 01 23 45 67 89 ab"}],
    }


def changed(rows: Rows, query: str, **fields: Any) -> Rows:
    """Return the rows with properties of the first row of one query set."""
    first, *others = rows[query]
    return rows | {query: [first | fields, *others]}


def envelopes(query: Query, rows: Sequence[Mapping[str, Any]], *, wql: str = "", rounds: int = 1) -> tuple[bytes, ...]:
    """Return the answers to one query: an Enumerate, and a Pull for every further round."""
    asked = re.match(r"SELECT (.+?) FROM", wql or query.wql)
    assert asked
    shown = [_row(query.wmi_class, row, asked[1]) for row in rows]
    cuts = [len(shown) * at // rounds for at in range(rounds + 1)]
    return tuple(
        _envelope("".join(shown[cuts[at] : cuts[at + 1]]), pull=at > 0, last=at == rounds - 1, number=at)
        for at in range(rounds)
    )


def answered(rows: Rows, *, rounds: int = 1, failed: Mapping[str, QueryError] | None = None) -> list[Answered]:
    """Return what comes of every query, each asked in the longest form whose properties the rows have."""
    found = []
    for query in QUERIES:
        if failed and query.name in failed:
            found.append(Answered(query.name, query.wql, error=failed[query.name]))
            continue
        wql = next(text for text in (query.wql, *query.fallbacks) if _known(text, rows[query.name]))
        found.append(Answered(query.name, wql, envelopes(query, rows[query.name], wql=wql, rounds=rounds)))
    return found


def raw_of(
    rows: Rows,
    *,
    target: ProbeTarget = TARGET,
    rounds: int = 1,
    failed: Mapping[str, QueryError] | None = None,
    **more: Any,
) -> RawRecord:
    """Return the raw record of a machine with these rows."""
    return record_of(answered(rows, rounds=rounds, failed=failed), target=target, **more)


def record_of(found: Sequence[Answered], *, target: ProbeTarget = TARGET, **more: Any) -> RawRecord:
    """Return the raw record of what was answered."""
    told = {"transport": "https", "started_at": AT, "duration_ms": 412, "trace": {"requests": 8}} | more
    return raw.record(target, found, **told)


def document(rows: Rows, **options: Any) -> dict[str, Any]:
    """Return the document of a machine with these rows; it is valid."""
    return document_of(raw_of(rows, **options))


def document_of(record: RawRecord) -> dict[str, Any]:
    """Return the one document that a raw record gives; it is valid."""
    [item] = parse(record, {})
    assert isinstance(item, AssetRecord), item
    validate(item.document, target=record.target)
    return item.document


def _known(wql: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    asked = re.match(r"SELECT (.+?) FROM", wql)
    assert asked
    return asked[1] == "*" or all(name in row for row in rows for name in asked[1].split(","))


def _row(wmi_class: str, row: Mapping[str, Any], asked: str) -> str:
    if asked == "*":
        told = "".join(_property(name, value, "p:") for name, value in sorted(row.items()))
        space = f"http://schemas.microsoft.com/wbem/wsman/1/wmi/root/cimv2/{wmi_class}"
        return f'<p:{wmi_class} {XSI} xmlns:p="{space}" xsi:type="p:{wmi_class}_Type">{told}</p:{wmi_class}>'
    plain = {name: row[name] for name in asked.split(",") if not isinstance(row[name], list)}
    return (
        f"<w:XmlFragment {XSI}>{''.join(_property(name, value, '') for name, value in plain.items())}</w:XmlFragment>"
    )


def _property(name: str, value: Any, prefix: str) -> str:
    if isinstance(value, list):
        return "".join(_property(name, one, prefix) for one in value)
    if value is None:
        return f'<{prefix}{name} xsi:nil="true"/>'
    told = str(value).lower() if isinstance(value, bool) else escape(str(value))
    return f"<{prefix}{name}>{told}</{prefix}{name}>"


def _envelope(items: str, *, pull: bool, last: bool, number: int) -> bytes:
    kind, prefix = ("Pull", "n") if pull else ("Enumerate", "w")
    context = "" if last else f"uuid:{UUID(int=number + 1)}"
    body = (
        f"<n:{kind}Response><n:EnumerationContext>{context}</n:EnumerationContext>"
        f"<{prefix}:Items>{items}</{prefix}:Items>{f'<{prefix}:EndOfSequence/>' if last else ''}</n:{kind}Response>"
    )
    return (
        '<s:Envelope xml:lang="de-DE" xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
        'xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" '
        f'xmlns:n="{ENUMERATION}"><s:Header><a:Action>{ENUMERATION}/{kind}Response</a:Action>'
        f"<a:MessageID>uuid:{UUID(int=1 << 64 | number)}</a:MessageID></s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()
