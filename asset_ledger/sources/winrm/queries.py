"""What is asked of a Windows host: eight WQL queries, in the order they are sent. Pure; for `collector` and `parse`.

Properties are listed wherever there is no array: `*` on Win32_Processor makes WMI measure the load for seconds, and
`*` elsewhere brings who is logged on. Over WS-Management a list leaves arrays out, so the adapters are asked with `*`.
WMI refuses a whole query for one property that its release lacks, so each such query has shorter ones to fall back on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NAMESPACE: Final = "root/cimv2"


@dataclass(frozen=True, slots=True)
class Query:
    """One class. `wql` is asked first; after a fault that is no refusal of rights, each of `fallbacks` in turn.

    Where it is `required` a failure fails the target; where not, its fields are NULL with the reason.
    """

    name: str
    wmi_class: str
    wql: str
    fallbacks: tuple[str, ...] = ()
    required: bool = True
    namespace: str = NAMESPACE


def _wql(wmi_class: str, *properties: str, where: str = "") -> str:
    condition = f" WHERE {where}" if where else ""
    # WQL, which knows no parameters; every word of it stands in this file
    return f"SELECT {','.join(properties) or '*'} FROM {wmi_class}{condition}"  # noqa: S608


_SYSTEM = ("Name", "Domain", "PartOfDomain", "TotalPhysicalMemory", "NumberOfProcessors", "Manufacturer", "Model")
_SYSTEM_2008 = (*_SYSTEM, "DNSHostName", "NumberOfLogicalProcessors")

COMPUTER_SYSTEM: Final = Query(
    "computer_system",
    "Win32_ComputerSystem",
    _wql("Win32_ComputerSystem", *_SYSTEM_2008, "HypervisorPresent"),
    # 2008 and 2008 R2 have no HypervisorPresent; 2003 has no DNSHostName and no count of logical processors
    fallbacks=(_wql("Win32_ComputerSystem", *_SYSTEM_2008), _wql("Win32_ComputerSystem", *_SYSTEM)),
)
OPERATING_SYSTEM: Final = Query(
    "operating_system",
    "Win32_OperatingSystem",
    _wql("Win32_OperatingSystem", "Version", "BuildNumber", "Caption", "ProductType", "ServicePackMajorVersion"),
)
PROCESSOR: Final = Query(
    "processor",
    "Win32_Processor",
    _wql("Win32_Processor", "DeviceID", "NumberOfCores", "NumberOfLogicalProcessors"),
    # 2003 before its update 932370 has neither count, and one row for each logical processor
    fallbacks=(_wql("Win32_Processor", "DeviceID"),),
)
NETWORK: Final = Query(
    "network",
    "Win32_NetworkAdapterConfiguration",
    _wql("Win32_NetworkAdapterConfiguration", where="IPEnabled=TRUE"),
)
LOGICAL_DISK: Final = Query(
    "logical_disk",
    "Win32_LogicalDisk",
    # 3: local fixed disks; without it a mounted DVD counts as some GB of disk
    _wql("Win32_LogicalDisk", "DeviceID", "Size", "FileSystem", where="DriveType=3"),
    required=False,
)
DISK_DRIVE: Final = Query(
    "disk_drive",
    "Win32_DiskDrive",
    _wql("Win32_DiskDrive", "DeviceID", "Size", "InterfaceType"),
    required=False,
)
PRODUCT: Final = Query(
    "product",
    "Win32_ComputerSystemProduct",
    _wql("Win32_ComputerSystemProduct", "UUID"),
    required=False,
)
BIOS: Final = Query("bios", "Win32_BIOS", _wql("Win32_BIOS", "SerialNumber"), required=False)

QUERIES: Final[tuple[Query, ...]] = (
    COMPUTER_SYSTEM,
    OPERATING_SYSTEM,
    PROCESSOR,
    NETWORK,
    LOGICAL_DISK,
    DISK_DRIVE,
    PRODUCT,
    BIOS,
)
