"""What a WS-Management fault says, by its numbers only: its texts come in the language of the host.

Pure; used by `client`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from asset_ledger.sources.wsman import soap

TIMED_OUT = 2150858793
"""ERROR_WSMAN_OPERATION_TIMEDOUT: nothing to tell yet. While output is waited for, no failure."""
GONE = frozenset({2150858843, 2150859082, 2150859084, 2150858779})
"""UNEXPECTED_SELECTORS, SHELL_ALREADY_CLOSED, SHELL_INVALID_SHELL_HANDLE, and what an unknown enumeration context comes
as: there is no such thing (any more)."""

QUERY_REFUSED = 2150858778
"""ERROR_WSMAN_ENUMERATE_CANNOT_PROCESS_FILTER: a property, a class or a namespace that the host has not."""

WMI_ACCESS_DENIED = 0x80041003
WMI_INVALID_NAMESPACE = 0x8004100E
WMI_INVALID_CLASS = 0x80041010
WMI_INVALID_QUERY = 0x80041017
_WMI_QUOTA = 0x8004106C

# the fields of `terms.Codes`; numbers of wsmerror.h and winerror.h
_FIELDS = {
    5: "permission",  # ERROR_ACCESS_DENIED
    2147942405: "permission",  # the same as HRESULT, E_ACCESSDENIED
    2150859180: "permission",  # ERROR_WSMAN_REMOTESHELLS_NOT_ALLOWED
    2150859012: "namespace",  # ERROR_WSMAN_WMI_SVC_ACCESS_DENIED
    2150859013: "namespace",  # ERROR_WSMAN_WMI_PROVIDER_ACCESS_DENIED
    2150859014: "namespace",  # ERROR_WSMAN_WMI_CANNOT_CONNECT_ACCESS_DENIED
    TIMED_OUT: "deadline",
    2150858815: "quota",  # ERROR_WSMAN_QUOTA_LIMIT
    2150859173: "quota",  # ERROR_WSMAN_QUOTA_MAX_SHELLS
    2150859174: "quota",  # ERROR_WSMAN_QUOTA_MAX_OPERATIONS
    2150859175: "quota",  # ERROR_WSMAN_QUOTA_USER
    2150859176: "quota",  # ERROR_WSMAN_QUOTA_SYSTEM
    2150859179: "quota",  # ERROR_WSMAN_QUOTA_MAX_SHELLUSERS
    **dict.fromkeys(range(2150859236, 2150859243), "quota"),  # ERROR_WSMAN_QUOTA_…_PPQ
    WMI_ACCESS_DENIED: "namespace",
    _WMI_QUOTA: "quota",
}
# CIM status codes (DSP0004) that a MSFT_WmiError may carry without an HRESULT
_CIM = {2: WMI_ACCESS_DENIED, 3: WMI_INVALID_NAMESPACE, 5: WMI_INVALID_CLASS, 15: WMI_INVALID_QUERY}
_HRESULT = re.compile(r"HRESULT 0x([0-9a-fA-F]{8})")


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: its number where it has one, the subcode's local name, and the HRESULT of WMI behind it."""

    code: int | None
    subcode: str | None = None
    wmi_status: int | None = None

    @property
    def field(self) -> str:
        """The field of `Codes` that it belongs to."""
        for number in (self.wmi_status, self.code):
            if number in _FIELDS:
                return _FIELDS[number]
        if self.code is None and self.wmi_status is None and self.subcode == "AccessDenied":
            return "permission"
        return "fault"

    def __str__(self) -> str:
        said = "a fault without a number" if self.code is None else f"fault {self.code}"
        if self.subcode:
            said += f" ({self.subcode})"
        return said if self.wmi_status is None else f"{said}, WMI status 0x{self.wmi_status:08X}"


def fault_of(root: Any) -> Fault | None:
    """Return the fault that an envelope holds, None where it holds none. Never raises."""
    fault = root.find(f"{soap.BODY}/{{*}}Fault")
    if fault is None:
        return None
    numbers = [number for one in soap.named(fault, "WSManFault") if (number := _number(one.get("Code"))) is not None]
    wmi = [number for number in numbers if _of_wmi(number)]
    for error in soap.named(fault, "MSFT_WmiError"):
        code = _number(soap.text_of(error, "error_Code"))
        said = _HRESULT.search(soap.text_of(error, "MessageID") or "")
        status = _number(soap.text_of(error, "CIMStatusCode"))
        found = [number for number in (code, int(said.group(1), 16) if said else None) if number is not None]
        wmi += [number for number in found if _of_wmi(number)]
        if not wmi and status in _CIM:
            wmi.append(_CIM[status])
        numbers += found
    subcodes = fault.findall("{*}Code/{*}Subcode/{*}Value")
    subcode = (subcodes[0].text or "").strip().rpartition(":")[2][:60] if subcodes else None
    plain = subcode if subcode and subcode.isascii() and subcode.isalnum() else None
    return Fault(numbers[0] if numbers else None, plain, wmi[0] if wmi else None)


def _of_wmi(number: int) -> bool:
    return 0x80041000 <= number <= 0x80043FFF


def _number(text: str | None) -> int | None:
    """Return an unsigned number of 32 bits that may be written as a signed one."""
    if text is None or re.fullmatch(r"\s*-?[0-9]{1,10}\s*", text) is None:
        return None
    return int(text) & 0xFFFFFFFF
