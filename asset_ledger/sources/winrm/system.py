"""What the machine is and what runs on it: name, processors, memory, hypervisor, release. Pure; called by `parse`.

Numbers and the vendors' own words decide; what Windows says in the language of its installation is only handed on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from asset_ledger.domain.addresses import normal_serial
from asset_ledger.domain.normalized import NOT_REPORTED
from asset_ledger.sources.probed import hypervisor
from asset_ledger.sources.winrm.errors import FIELD_INVALID, FIELD_MISSING
from asset_ledger.sources.winrm.values import flag, text, whole
from asset_ledger.sources.wsman.enumeration import Row

MOST_PROCESSORS = 100_000
ROLES = {"1": "workstation", "2": "domain_controller", "3": "server"}
"""Win32_OperatingSystem.ProductType."""
_SERVERS = {
    3790: "Windows Server 2003",
    6001: "Windows Server 2008",
    6002: "Windows Server 2008",
    6003: "Windows Server 2008",
    7600: "Windows Server 2008 R2",
    7601: "Windows Server 2008 R2",
    9200: "Windows Server 2012",
    9600: "Windows Server 2012 R2",
    14393: "Windows Server 2016",
    16299: "Windows Server, version 1709",
    17134: "Windows Server, version 1803",
    17763: "Windows Server 2019",
    18362: "Windows Server, version 1903",
    18363: "Windows Server, version 1909",
    19041: "Windows Server, version 2004",
    19042: "Windows Server, version 20H2",
    20348: "Windows Server 2022",
    25398: "Windows Server, version 23H2",
    26100: "Windows Server 2025",
}
_WORKSTATIONS = {
    2600: "Windows XP",
    3790: "Windows XP x64",
    6000: "Windows Vista",
    6001: "Windows Vista",
    6002: "Windows Vista",
    7600: "Windows 7",
    7601: "Windows 7",
    9200: "Windows 8",
    9600: "Windows 8.1",
}


def hostname(system: Row) -> str:
    """Return the name with the domain the machine is a member of, or "" where it tells no name."""
    name = text(system, "DNSHostName") or text(system, "Name")
    domain = text(system, "Domain").strip(".")
    # a domain without a dot may be the old NetBIOS name, under which no DNS knows the machine
    member = flag(system, "PartOfDomain") and "." in domain and "." not in name
    return (f"{name}.{domain}" if name and member else name)[:255]


def logical_processors(system: Row, processors: Sequence[Row]) -> tuple[int | None, str]:
    """Return (count, "") or (None, reason): the sum over the processors, else what the system counts.

    Where neither is told (Server 2003 before its update 932370) WMI lists each logical processor as a processor.
    """
    counts = [whole(row, "NumberOfLogicalProcessors", MOST_PROCESSORS) for row in processors]
    total = sum(count or 0 for count, _ in counts)
    if all(count for count, _ in counts) and 1 <= total <= MOST_PROCESSORS:
        return total, ""
    counted, why = whole(system, "NumberOfLogicalProcessors", MOST_PROCESSORS)
    if counted:
        return counted, ""
    if counted_by_rows(system, processors):
        return len(processors), ""
    return None, next((why for count, why in counts if not count), why)


def counted_by_rows(system: Row, processors: Sequence[Row]) -> bool:
    """Say whether no count of logical processors is told at all, so that the rows are what there is to count."""
    return not any("NumberOfLogicalProcessors" in row for row in (system, *processors))


def virtualization(system: Row) -> str | None:
    """Return the hypervisor in systemd-detect-virt's words, `none` for bare metal, None where nothing tells.

    A running hypervisor alone proves no virtual machine: a Hyper-V host and a workstation that guards its
    credentials show one too. None running, beside a vendor's product name, proves hardware.
    """
    vendor, model = normal_serial(text(system, "Manufacturer")), normal_serial(text(system, "Model"))
    if found := hypervisor(vendor or "", model or ""):
        return found
    return "none" if flag(system, "HypervisorPresent") is False and vendor and model else None


def release(system: Row) -> tuple[dict[str, str], dict[str, str]]:
    """Return `family`, `name`, `version`, `kernel` of the OS where told, and for the others the reason by key."""
    found = {"family": "windows"}
    unknown: dict[str, str] = {}
    for key, name, shape in (("version", "Version", r"\d{1,3}(\.\d{1,6}){1,3}"), ("kernel", "BuildNumber", r"\d{1,6}")):
        told = text(system, name)
        if re.fullmatch(shape, told, re.ASCII):
            found[key] = told
        else:
            unknown[key] = f"{FIELD_INVALID.code}: {name} is {told[:40]!r}" if told else f"{FIELD_MISSING.code}: {name}"
    if name := text(system, "Caption") or product(system):
        found["name"] = name
    else:
        unknown["name"] = f"{NOT_REPORTED}: no Caption, and no release is known by build and ProductType"
    return found, unknown


def product(system: Row) -> str:
    """Return Microsoft's English name of the release, by build number and product type, or ""."""
    build, _ = whole(system, "BuildNumber", 1_000_000)
    role = ROLES.get(text(system, "ProductType"))
    if build is None or role is None:
        return ""
    if role != "workstation":
        return _SERVERS.get(build, "")
    if build >= 10240:
        return "Windows 11" if build >= 22000 else "Windows 10"
    return _WORKSTATIONS.get(build, "")
