"""The WMI rows of one Windows host, as its release shapes them: which properties there are, what they count, how sizes
are cut. Values are made up from what the caller says; every property is there that tells releases apart.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tests.doubles.wsman.hosts import Release

Locale = Literal["en", "zh", "de"]
GIB = 1 << 30
_CYLINDER = 255 * 63 * 512  # a drive's size is told in whole cylinders
_UNFORMATTED = 577_769_472  # what the reserved partition and the tables take of the first drive
_FIRMWARE = 536_576  # what the firmware keeps of the memory
_LINGUAL: Mapping[Locale, tuple[int, str, str]] = {  # OSLanguage, an adapter, a disk
    "en": (1033, "vmxnet3 Ethernet Adapter", "Local Fixed Disk"),
    "zh": (2052, "vmxnet3 以太网适配器", "本地固定磁盘"),
    "de": (1031, "vmxnet3-Ethernet-Adapter für Gäste", "Lokale Festplatte"),
}


@dataclass(frozen=True)
class _Facts:
    version: str
    build: str
    caption: str
    service_pack: int = 0


_RELEASES: Mapping[Release, _Facts] = {
    "2003": _Facts("5.2.3790", "3790", "Microsoft(R) Windows(R) Server 2003, {edition} Edition", 2),
    "2008r2": _Facts("6.1.7601", "7601", "Microsoft Windows Server 2008 R2 {edition} ", 1),
    "2012r2": _Facts("6.3.9600", "9600", "Microsoft Windows Server 2012 R2 {edition}"),
    "2016": _Facts("10.0.14393", "14393", "Microsoft Windows Server 2016 {edition}"),
    "2019": _Facts("10.0.17763", "17763", "Microsoft Windows Server 2019 {edition}"),
    "2022": _Facts("10.0.20348", "20348", "Microsoft Windows Server 2022 {edition}"),
    "2025": _Facts("10.0.26100", "26100", "Microsoft Windows Server 2025 {edition}"),
}
_ORDER: tuple[Release, ...] = ("2003", "2008r2", "2012r2", "2016", "2019", "2022", "2025")
_EDITIONS: Mapping[Locale, str] = {"en": "Standard", "zh": "标准版", "de": "Standard"}


def windows(
    *,
    release: Release = "2019",
    name: str = "APP01",
    domain: str | None = "lab.example",
    ips: Sequence[str | Sequence[str]] = ("10.20.0.11",),
    macs: Sequence[str] = (),
    cpus: int = 4,
    cores: int | None = None,
    sockets: int = 1,
    memory: int = 8 * GIB,
    disks: Sequence[int] = (50 * GIB,),
    dvd: int | None = 4_694_728_704,
    locale: Locale = "en",
    machine_uuid: str | None = None,
    serial: str | None = None,
    manufacturer: str = "VMware, Inc.",
    model: str = "VMware Virtual Platform",
    hypervisor: bool = True,
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return {"root/cimv2": {class: [row, ...]}}.

    ips: one text or list of texts an adapter; macs: one an adapter, made from the name where there are fewer.
    cpus: logical processors of all sockets together; cores: of all sockets, None is as many as cpus.
    memory and disks in bytes; every disk has one volume; dvd: the size of a mounted medium, None is an empty drive.
    domain None is a workgroup. machine_uuid and serial are made from the name.
    """
    seed = hashlib.sha256(name.encode()).digest()
    made = str(uuid.UUID(bytes=seed[:16], version=4)).upper()
    number = serial or f"VMware-{seed[:8].hex(' ')}-{seed[8:16].hex(' ')}"
    return {
        "root/cimv2": {
            "Win32_ComputerSystem": [
                _system(release, name, domain, cpus, sockets, memory, manufacturer, model, hypervisor)
            ],
            "Win32_OperatingSystem": [_operating_system(release, name, locale, memory)],
            "Win32_Processor": _processors(release, cpus, cores or cpus, sockets),
            "Win32_NetworkAdapterConfiguration": _adapters(release, ips, macs, seed, locale),
            "Win32_LogicalDisk": _volumes(disks, dvd, locale),
            "Win32_DiskDrive": _drives(disks),
            "Win32_ComputerSystemProduct": [
                {
                    "Name": model,
                    "Vendor": manufacturer,
                    "IdentifyingNumber": number,
                    "UUID": machine_uuid or made,
                    "Version": "None",
                }
            ],
            "Win32_BIOS": [
                {
                    "SerialNumber": number,
                    "Manufacturer": "Phoenix Technologies LTD",
                    "SMBIOSBIOSVersion": "6.00",
                    "ReleaseDate": datetime.datetime(2020, 11, 12, tzinfo=datetime.UTC),
                    "BIOSVersion": ["INTEL  - 6040000", "PhoenixBIOS 4.0 Release 6.0"],
                }
            ],
        }
    }


def _since(release: Release, first: Release) -> bool:
    return _ORDER.index(release) >= _ORDER.index(first)


def _system(
    release: Release,
    name: str,
    domain: str | None,
    cpus: int,
    sockets: int,
    memory: int,
    manufacturer: str,
    model: str,
    hypervisor: bool,
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "Name": name.upper()[:15],
        "Caption": name.upper()[:15],
        "Domain": domain or "WORKGROUP",
        "PartOfDomain": domain is not None,
        "DomainRole": 2 if domain is None else 3,
        "Manufacturer": manufacturer,
        "Model": model,
        # 2003 knows of no sockets: it counts what it can run on
        "NumberOfProcessors": sockets if _since(release, "2008r2") else cpus,
        "TotalPhysicalMemory": memory - _FIRMWARE,
        "Roles": ["LM_Workstation", "LM_Server", "NT", "Server_NT"],
        "UserName": None,
    }
    if _since(release, "2008r2"):
        row |= {"DNSHostName": name, "NumberOfLogicalProcessors": cpus}
        row["Workgroup"] = None if domain else "WORKGROUP"
    if _since(release, "2012r2"):
        row["HypervisorPresent"] = hypervisor
    return row


def _operating_system(release: Release, name: str, locale: Locale, memory: int) -> dict[str, Any]:
    facts = _RELEASES[release]
    row: dict[str, Any] = {
        "Version": facts.version,
        "BuildNumber": facts.build,
        "Caption": facts.caption.format(edition=_EDITIONS[locale]),
        "CSName": name.upper()[:15],
        "ProductType": 3,
        "ServicePackMajorVersion": facts.service_pack,
        "OSLanguage": _LINGUAL[locale][0],
        "TotalVisibleMemorySize": (memory - _FIRMWARE) // 1024,
        "InstallDate": datetime.datetime(2021, 3, 4, 5, 6, 7, tzinfo=datetime.UTC),
        "LastBootUpTime": datetime.datetime(2026, 9, 1, 3, 0, tzinfo=datetime.UTC),
    }
    if _since(release, "2008r2"):
        bits = {"en": "64-bit", "zh": "64 位", "de": "64-Bit"}
        row |= {"OSArchitecture": bits[locale], "MUILanguages": [{"en": "en-US", "zh": "zh-CN", "de": "de-DE"}[locale]]}
    return row


def _processors(release: Release, cpus: int, cores: int, sockets: int) -> list[dict[str, Any]]:
    """One row a socket, and on 2003 one a logical processor, without any count."""
    rows: list[dict[str, Any]] = []
    for number in range(sockets if _since(release, "2008r2") else cpus):
        row: dict[str, Any] = {
            "DeviceID": f"CPU{number}",
            "Name": "Intel(R) Xeon(R) Gold 6248R CPU @ 3.00GHz",
            "Manufacturer": "GenuineIntel",
            "MaxClockSpeed": 2993,
            "LoadPercentage": 1,
        }
        if _since(release, "2008r2"):
            row |= {"NumberOfCores": cores // sockets, "NumberOfLogicalProcessors": cpus // sockets}
        if _since(release, "2016"):
            row |= {"NumberOfEnabledCore": cores // sockets, "ThreadCount": cpus // sockets}
        rows.append(row)
    return rows


def _adapters(
    release: Release, ips: Sequence[str | Sequence[str]], macs: Sequence[str], seed: bytes, locale: Locale
) -> list[dict[str, Any]]:
    """One row an adapter, between others that have no IP: a tunnel without an address of hardware, a port of the RAS."""
    description = _LINGUAL[locale][1]
    rows: list[dict[str, Any]] = [_adapter(0, "WAN Miniport (SSTP)", None, ())]
    for number, said in enumerate(ips):
        addresses = [said] if isinstance(said, str) else list(said)
        mac = macs[number] if number < len(macs) else "00:50:56:" + bytes([*seed[:2], number]).hex(":").upper()
        if _since(release, "2008r2") and not any(":" in address for address in addresses):
            addresses.append(str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + seed[16:23] + bytes([number]))))
        rows.append(_adapter(number + 7, description + (f" #{number + 1}" if number else ""), mac, addresses))
    if _since(release, "2008r2"):
        rows.append(_adapter(99, "Microsoft ISATAP Adapter", None, ()))
    return rows


def _adapter(index: int, description: str, mac: str | None, addresses: Sequence[str]) -> dict[str, Any]:
    versions = [ipaddress.ip_address(address).version for address in addresses]
    first = next((address for address, version in zip(addresses, versions, strict=True) if version == 4), None)
    return {
        "Index": index,
        "Description": description,
        "IPEnabled": bool(addresses),
        "MACAddress": mac,
        "IPAddress": list(addresses) or None,
        "IPSubnet": ["255.255.255.0" if version == 4 else "64" for version in versions] or None,
        "DefaultIPGateway": [f"{first.rpartition('.')[0]}.1"] if first else None,
        "DHCPEnabled": False,
        "DHCPLeaseObtained": None,
    }


def _volumes(disks: Sequence[int], dvd: int | None, locale: Locale) -> list[dict[str, Any]]:
    rows = [
        {
            "DeviceID": f"{chr(ord('C') + number)}:",
            "DriveType": 3,
            "Description": _LINGUAL[locale][2],
            "FileSystem": "NTFS",
            "Size": size - (_UNFORMATTED if number == 0 else 2_093_056),
            "FreeSpace": size // 3,
        }
        for number, size in enumerate(disks)
    ]
    letter = chr(ord("C") + len(disks))
    system = "UDF" if dvd else None
    rows.append(
        {
            "DeviceID": f"{letter}:",
            "DriveType": 5,
            "Description": "CD-ROM",
            "FileSystem": system,
            "Size": dvd,
            "FreeSpace": 0 if dvd else None,
        }
    )
    return rows


def _drives(disks: Sequence[int]) -> list[dict[str, Any]]:
    return [
        {
            "DeviceID": f"\\\\.\\PHYSICALDRIVE{number}",
            "Index": number,
            "InterfaceType": "SCSI",
            "MediaType": "Fixed hard disk media",
            "Model": "VMware Virtual disk SCSI Disk Device",
            "Size": size // _CYLINDER * _CYLINDER,
        }
        for number, size in enumerate(disks)
    ]
