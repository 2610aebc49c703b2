"""Every platform, one line each, and what follows from the list: their error codes and their sources.

A platform's module is imported when it is first asked for, so that a heavy SDK costs only those who use it.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from asset_ledger.domain.errors import CORE_CODES, ErrorCode
from asset_ledger.sources.platform import Platform

PLATFORMS: dict[str, str] = {
    "agent": "asset_ledger.sources.agent",
    "aliyun": "asset_ledger.sources.aliyun",
    "hyperv": "asset_ledger.sources.hyperv",
    "import": "asset_ledger.sources.import_files",
    "pve": "asset_ledger.sources.pve",
    "ssh": "asset_ledger.sources.ssh",
    "vcenter": "asset_ledger.sources.vcenter",
    "winrm": "asset_ledger.sources.winrm",
}


@cache
def platform(name: str) -> Platform:
    """Return the platform of this name. Raises KeyError for one that is not registered."""
    found = import_module(PLATFORMS[name]).PLATFORM
    if not isinstance(found, Platform) or found.name != name:
        raise TypeError(f"{PLATFORMS[name]} does not define PLATFORM with the name {name!r}")
    return found


def error_codes() -> tuple[ErrorCode, ...]:
    """Return every error code there is, sorted by name. Raises ValueError if two share a name."""
    codes: dict[str, ErrorCode] = {}
    for code in (*CORE_CODES, *(code for name in PLATFORMS for code in platform(name).error_codes)):
        if codes.setdefault(code.code, code) is not code:
            raise ValueError(f"error code {code.code} is defined twice")
    return tuple(codes[name] for name in sorted(codes))
