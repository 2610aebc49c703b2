"""Interfaces and addresses from `ip addr` or `ifconfig -a`, and which of them may identify. Pure; called by `parse`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from asset_ledger.domain.addresses import identifies_machine, normal_mac, parse_address
from asset_ledger.sources.ssh.errors import SECTION_FAILED
from asset_ledger.sources.ssh.sections import Section

_IP_HEAD = re.compile(r"^\d+:\s+([^\s:@]+(?::[^\s:@]+)*)(?:@[^\s:]+)?:\s+<([^>]*)>")
_IFCONFIG_HEAD = re.compile(r"^([^\s]+?):?\s+(?:Link encap:(\S+)|flags=[0-9a-fA-F]+<([^>]*)>)")
_FULL_MASKS = frozenset({"255.255.255.255", "ffffffff", "0xffffffff"})
_PASSING = frozenset({"tentative", "dadfailed", "temporary", "deprecated"})


@dataclass(frozen=True, slots=True)
class Address:
    """One address. `single` is a prefix of one address (/32), `labelled` an alias name such as `eth0:vip`."""

    ip: IPv4Address | IPv6Address
    single: bool = False
    labelled: bool = False
    passing: bool = False


@dataclass(slots=True)
class Interface:
    """One interface as the machine lists it, loopback included."""

    name: str
    mac: str | None = None
    no_arp: bool = False
    addresses: list[Address] = field(default_factory=list)

    def identifying(self) -> list[IPv4Address | IPv6Address]:
        """Return the addresses that are this machine's own: no virtual IP of a cluster, no passing IPv6 address.

        A /32 beside a wider address of the same interface is a virtual IP also where it has no label;
        alone it is the address that some clouds give.
        """
        name = self.name.split(":", 1)[0]
        wide = any(not a.single for a in self.addresses if a.ip.version == 4)
        return [
            a.ip
            for a in self.addresses
            if identifies_machine(a.ip, name)
            and not a.passing
            and not (a.single and a.ip.version == 4 and (a.labelled or wide))
        ]


def read(sections: Mapping[str, Section]) -> tuple[list[Interface] | None, str]:
    """Return (interfaces, "") or (None, reason)."""
    ip = sections.get("ip", Section("", 127))
    if ip.rc == 0 and (found := _ip_addr(ip.text)):
        return found, ""
    ifconfig = sections.get("ifconfig")
    if ifconfig is not None and ifconfig.rc == 0 and (found := _ifconfig(ifconfig.text)):
        return found, ""
    tried = f"ip rc {ip.rc}" + (f", ifconfig rc {ifconfig.rc}" if ifconfig else "")
    return None, f"{SECTION_FAILED.code}: {tried}" + ("" if ip.rc else ", no interface in its output")


def default_interface(route: Section | None) -> str | None:
    """Return the interface of the default route with the lowest metric, IPv4 before IPv6, or None."""
    four: list[tuple[int, str]] = []
    six: list[tuple[int, str]] = []
    for line in route.text.splitlines() if route else ():
        fields = line.split()
        if len(fields) >= 8 and fields[1] == fields[7] == "00000000" and fields[6].isdecimal():
            four.append((int(fields[6][:10]), fields[0]))
        elif len(fields) == 10 and fields[9] != "lo" and set(fields[4]) != {"0"}:
            six.append((int(fields[5], 16) if re.fullmatch(r"[0-9a-f]{1,8}", fields[5]) else 0, fields[9]))
    best = sorted(four, key=lambda pair: pair[0]) or sorted(six, key=lambda pair: pair[0])
    return best[0][1] if best else None


def _ip_addr(text: str) -> list[Interface]:
    interfaces: list[Interface] = []
    for line in text.splitlines():
        if head := _IP_HEAD.match(line):
            interfaces.append(Interface(head.group(1), no_arp="NOARP" in head.group(2).split(",")))
            continue
        words = line.split()
        if not interfaces or len(words) < 2:
            continue
        current = interfaces[-1]
        if words[0] == "link/ether":
            current.mac = normal_mac(words[1])
        elif words[0] in ("inet", "inet6") and (ip := parse_address(words[1])) is not None:
            current.addresses.append(
                Address(
                    ip,
                    single=words[1].endswith("/32")
                    or (ip.version == 4 and "/" not in words[1] and "peer" not in words),
                    labelled=any(word.startswith(f"{current.name}:") for word in words[2:]),
                    passing=not _PASSING.isdisjoint(words[2:]),
                )
            )
    return interfaces


def _ifconfig(text: str) -> list[Interface]:
    interfaces: dict[str, Interface] = {}
    current: Interface | None = None
    label = ""
    for line in text.splitlines():
        if head := _IFCONFIG_HEAD.match(line):
            label = head.group(1)
            name = label.split(":", 1)[0]
            current = interfaces.setdefault(name, Interface(name, no_arp="NOARP" in (head.group(3) or "")))
        if current is None:
            continue
        if mac := re.search(r"(?:HWaddr|ether|lladdr)\s+(\S+)", line):
            current.mac = current.mac or normal_mac(_padded(mac.group(1)))
        for found in re.finditer(r"\binet6?\s+(?:addr:\s?)?([0-9a-fA-F.:]+)", line):
            ip = parse_address(found.group(1))
            if ip is None:
                continue
            mask = re.search(r"(?:Mask:|netmask\s+)(\S+)", line)
            current.addresses.append(
                Address(
                    ip,
                    single=mask is not None and mask.group(1).lower() in _FULL_MASKS,
                    labelled=":" in label,
                    passing=any(word in line.split() for word in _PASSING),
                )
            )
    return list(interfaces.values())


def _padded(mac: str) -> str:
    """Return a MAC with two digits each: Solaris writes `0:50:56:0:0:2a`."""
    return ":".join(part.zfill(2) for part in mac.split(":"))
