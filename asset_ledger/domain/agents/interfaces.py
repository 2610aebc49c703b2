"""Which interfaces and addresses of a report are the machine's own, and which of them last.

What containers, tunnels and virtual networks make comes and goes with them, and so do temporary IPv6 addresses:
counting them would make a change of every report. `inventory` reads reports with this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from asset_ledger.domain.addresses import identifies_machine, parse_address
from asset_ledger.domain.agents.payload import Nic

# beyond what `identifies_machine` knows: tunnels and container networks of Linux, then macOS, then Windows
_MADE_BY_SOFTWARE = re.compile(
    r"^(cilium|lxc[0-9a-f_]|weave|vxlan|genev|ovs-|ovn|antrea|cbr\d|incusbr|nerdctl|macvtap|fwbr|fwpr|fwln|vmnet|"
    r"gre\d|gretap|erspan|sit\d|ip6tnl|ip_vti|ip6_vti|ip6gre|teql|ifb|nlmon|tailscale|ppp|vcan|"
    r"utun|awdl|llw|p2p|ap\d|anpi|gif\d|stf\d|vmenet|feth|bridge1\d\d$|"
    r"isatap|teredo|6to4|reusable isatap|loopback|npcap loopback|local area connection\*|vmware network adapter|"
    r"virtualbox host-only|vethernet \((default switch|wsl|nat|hns|container))",
    re.IGNORECASE,
)
_SOMEWHERE = IPv4Address("192.0.2.1")
_TO_ONE_PEER = frozenset({"pointtopoint", "pointopoint"})  # as Go and psutil spell it


def is_own(nic: Nic) -> bool:
    """Say whether an interface is a card of the machine, a bond or bridge of such, and no software's own.

    What leads to one peer is a tunnel, but for the interface that OpenVZ gives its containers.
    """
    if "loopback" in nic.flags or _MADE_BY_SOFTWARE.match(nic.name) or not identifies_machine(_SOMEWHERE, nic.name):
        return False
    return _TO_ONE_PEER.isdisjoint(nic.flags) or nic.name.startswith("venet")


def own_macs(nics: Iterable[Nic]) -> tuple[str, ...]:
    """Return the MACs of the machine's own interfaces, sorted, each once."""
    return tuple(sorted({nic.mac for nic in nics if nic.mac is not None and is_own(nic)}))


def lasting_addresses(nics: Iterable[Nic]) -> tuple[str, ...]:
    """Return the addresses that are the machine's own and stay, without mask: IPv4 first, in numeric order.

    Left out are link-local ones, virtual IPs of a cluster, and IPv6 addresses that look drawn by lot: temporary ones
    do, and nothing in a report tells them from others that do, unless the agent says so.
    """
    found = {address for nic in nics if is_own(nic) for address in _lasting(nic)}
    return tuple(str(address) for address in sorted(found, key=lambda each: (each.version, int(each))))


def own_addresses(nics: Iterable[Nic]) -> tuple[str, ...]:
    """Return every address of the machine's own interfaces that may match a machine, those that do not last too."""
    found = {
        address
        for nic in nics
        if is_own(nic)
        for text in nic.addresses
        if (address := parse_address(text)) is not None and identifies_machine(address, nic.name)
    }
    return tuple(str(address) for address in sorted(found, key=lambda each: (each.version, int(each))))


def _lasting(nic: Nic) -> Iterable[IPv4Address | IPv6Address]:
    # a /32 beside a wider address is a cluster's virtual IP; alone it is the address that some clouds give
    wide = any(":" not in text and not text.endswith("/32") for text in nic.addresses)
    for text in nic.addresses:
        address = parse_address(text)
        if address is None or not identifies_machine(address, nic.name) or text in nic.temporary:
            continue
        if isinstance(address, IPv4Address):
            if not (wide and text.endswith("/32")):
                yield address
        elif text in nic.lasting or _is_made_on_purpose(address):
            yield address


def _is_made_on_purpose(address: IPv6Address) -> bool:
    """Say whether the lower half was written by a person, given by a server from a small range, or made of a MAC.

    A lower half drawn by lot passes for one of these once in some ten thousand times.
    """
    lower = int(address) & ((1 << 64) - 1)
    groups = [lower >> shift & 0xFFFF for shift in (48, 32, 16, 0)]
    return (lower >> 24) & 0xFFFF == 0xFFFE or 0 in groups or all(group < 0x1000 for group in groups)
