"""Addresses, MACs, serials and UUIDs: their one spelling, and which of them may identify a machine.

What may not match is still recorded: it is a fact about the machine, only not evidence of who it is.
"""

from __future__ import annotations

import re
import uuid
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

_HEX12 = re.compile(r"[0-9a-f]{12}")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_MAC_SEPARATORS = re.compile(r"[:.\s-]")
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
_VIRTUAL_INTERFACE = re.compile(
    r"^(lo\d*(:|$)|docker|br-|virbr|veth|cni|flannel|cali|tunl|kube|dummy|nodelocaldns|lxcbr|lxdbr|podman|vnet|tap|tun|wg|zt)"
)
_PLACEHOLDER_TEXT = frozenset(
    {
        "",
        "0",
        "none",
        "n/a",
        "na",
        "null",
        "unknown",
        "default",
        "default string",
        "not specified",
        "not available",
        "not applicable",
        "system serial number",
        "serial number",
        "to be filled by o.e.m.",
        "to be filled by oem",
        "o.e.m.",
        "oem",
        "chassis serial number",
        "empty",
        "invalid",
        "123456789",
        "0123456789",
        "1234567890",
        "xxxxxxxxxx",
        "............",
    }
)
# what boards ship with before somebody programs them: the same on thousands of machines
_PLACEHOLDER_UUIDS = frozenset(
    {
        "00020003-0004-0005-0006-000700080009",
        "03000200-0400-0500-0006-000700080009",
        "12345678-1234-5678-90ab-cddeefaabbcc",
        "fefefefe-fefe-fefe-fefe-fefefefefefe",
    }
)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address in `text`, without prefix length or IPv6 zone, or None if it is not one."""
    bare = text.strip().split("/", 1)[0].split("%", 1)[0]
    try:
        address = ip_address(bare)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def identifies_machine(address: IPv4Address | IPv6Address, interface: str | None = None) -> bool:
    """Say whether an address may match a machine: global or private unicast on a real interface.

    Loopback, link-local, multicast, unspecified and reserved addresses stand on many machines at once,
    and so do the addresses of container and virtual-network bridges.
    """
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    if isinstance(address, IPv4Address) and (address.is_reserved or address in _THIS_NETWORK):
        return False
    return interface is None or not _VIRTUAL_INTERFACE.match(interface)


def normal_mac(text: str) -> str | None:
    """Return `aa:bb:cc:dd:ee:ff`, or None for something else, all zeros, broadcast or multicast."""
    spelled = text.lower()
    if not _MAC.fullmatch(spelled):  # most sources spell it as we do
        digits = _MAC_SEPARATORS.sub("", spelled)
        if not _HEX12.fullmatch(digits):
            return None
        spelled = ":".join(digits[i : i + 2] for i in range(0, 12, 2))
    if spelled == "00:00:00:00:00:00" or int(spelled[:2], 16) & 1:
        return None
    return spelled


def normal_serial(text: str) -> str | None:
    """Return the serial number stripped, or None for a vendor's placeholder."""
    serial = text.strip()
    lowered = serial.lower()
    if lowered in _PLACEHOLDER_TEXT or len(set(lowered)) <= 1:
        return None
    return serial


# the spelling that nearly all have: parsing it would only give it back
_CANONICAL_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NO_UUIDS = frozenset(str(uuid.UUID(int=number)) for number in (0, (1 << 128) - 1))


def normal_uuid(text: str) -> str | None:
    """Return the UUID in lower-case hyphenated form, or None for nonsense, all zeros, all ones or a vendor's own."""
    lowered = text.strip().lower()
    if _CANONICAL_UUID.fullmatch(lowered) is None:
        try:
            lowered = str(uuid.UUID(lowered))
        except ValueError:
            return None
    if lowered in _NO_UUIDS or lowered in _PLACEHOLDER_UUIDS:
        return None
    return lowered
