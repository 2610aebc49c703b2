"""The adapters of a Windows machine, and which of their addresses may identify it. Pure; called by `parse`.

Told apart by driver service, MAC and numbers: what an adapter is called is in the language of the installation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from asset_ledger.domain.addresses import identifies_machine, normal_mac, parse_address
from asset_ledger.domain.normalized import NOT_REPORTED
from asset_ledger.sources.probed import clean
from asset_ledger.sources.winrm.errors import FIELD_INVALID, FIELD_MISSING
from asset_ledger.sources.winrm.values import text, texts
from asset_ledger.sources.wsman.enumeration import Row

IP = IPv4Address | IPv6Address
# adapters that many machines have with the same addresses: the failover cluster's own, loopback, tunnels, VPN, RAS,
# host-only networks of VMware Workstation and VirtualBox
_NOT_OWN = re.compile(r"netft|msloop|tunnel|tap|wintun|wireguard|ndiswan|ras|vmnet|vboxnet", re.IGNORECASE)
# Hyper-V's adapters of the host in a virtual switch: of an internal switch unless there is a gateway
_SWITCH = re.compile(r"vms(mp|npxy|npxymp)$", re.IGNORECASE)
# the loopback adapter's, network load balancing's (one for all its nodes), VMware Workstation's, VirtualBox's
_SHARED_MAC = ("02:00:4c:4f:4f:50", "02:bf:", "00:50:56:c0:00:", "0a:00:27:")
_SINGLE = frozenset({"255.255.255.255"})


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter with IP. `single` are its addresses of a /32; `own` is False where many machines have it alike."""

    name: str
    mac: str | None
    addresses: tuple[IP, ...]
    single: frozenset[IP]
    own: bool

    @property
    def shown(self) -> list[IP]:
        """The addresses that a network may know: an adapter that waits for DHCP has 0.0.0.0."""
        return [ip for ip in self.addresses if not (ip.is_loopback or ip.is_unspecified)]

    def identifying(self) -> list[IP]:
        """Return the addresses that are this machine's own.

        Windows does not say which address of several is the cluster's, which moves to another node: of several none
        is taken, but the one that is no /32. An IPv6 address among several may be a temporary one.
        """
        if not self.own:
            return []
        usable = [ip for ip in self.addresses if identifies_machine(ip)]
        wide = [ip for ip in usable if ip.version == 4 and ip not in self.single]
        four = wide or [ip for ip in usable if ip.version == 4]
        six = [ip for ip in usable if ip.version == 6]
        return [ip for family in (four, six) if len(family) == 1 for ip in family]


def read(rows: Iterable[Row]) -> tuple[list[Adapter] | None, str]:
    """Return the adapters, and why they have no address where they have none.

    An address that is none, or an adapter list without any, gives None.
    """
    adapters: dict[Adapter, None] = {}
    for row in rows:
        told = texts(row, "IPAddress")
        parsed = [parse_address(one) for one in told]
        addresses = [ip for ip in parsed if ip is not None]
        if len(addresses) != len(told):
            return None, f"{FIELD_INVALID.code}: IPAddress of an adapter is none: {clean(str(told))[:200]}"
        adapters[_adapter(row, addresses)] = None
    if not any(adapter.addresses for adapter in adapters):
        return None, f"{FIELD_MISSING.code}: IPAddress of {len(adapters)} adapters"
    if not any(adapter.shown for adapter in adapters):
        held = sorted({str(ip) for adapter in adapters for ip in adapter.addresses})
        return list(adapters), f"{NOT_REPORTED}: the adapters have {', '.join(held)[:200]} and no other address"
    return list(adapters), ""


def _adapter(row: Row, addresses: Sequence[IP]) -> Adapter:
    masks = texts(row, "IPSubnet")
    pairs = zip(addresses, masks, strict=True) if len(masks) == len(addresses) else ()
    service = text(row, "ServiceName")
    mac = normal_mac(text(row, "MACAddress"))
    routed = any(ip is not None and not ip.is_unspecified for ip in map(parse_address, texts(row, "DefaultIPGateway")))
    own = not _NOT_OWN.match(service) and not (mac or "").startswith(_SHARED_MAC)
    return Adapter(
        name=text(row, "Description") or f"adapter {text(row, 'Index')}".strip(),
        mac=mac,
        addresses=tuple(dict.fromkeys(addresses)),
        single=frozenset(ip for ip, mask in pairs if mask in _SINGLE),
        own=own and (routed or not _SWITCH.match(service)),
    )
