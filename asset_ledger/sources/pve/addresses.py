"""The addresses of a guest: from its QEMU agent, from a container's interfaces, from a container's config. Pure.

Each of the three is read into the same `Interface`s; `guests` asks them which addresses to show, which of them may
identify the machine, and which is the one it is managed by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from asset_ledger.domain.addresses import identifies_machine, normal_mac, parse_address
from asset_ledger.sources.pve.properties import clean, properties

_LOOPBACK = ("127.0.0.1", "::1")


class UnreadableError(Exception):
    """An answer with addresses that is not of the shape it has: nothing of it is taken."""


@dataclass(slots=True)
class Interface:
    """One interface: its addresses but loopback's and 0.0.0.0, which is none; the machine's own of them in `own`."""

    name: str
    mac: str | None = None
    addresses: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)

    def add(self, entries: Iterable[tuple[Any, Any]]) -> None:
        """Take addresses with their prefix lengths. Raises UnreadableError for what is none.

        Not the machine's own are those of bridges, link-local ones, and a /32 beside a wider one.
        """
        seen: set[str] = set()
        singles: set[str] = set()
        wide = False
        for text, prefix in entries:
            if text in _LOOPBACK:
                continue
            address = parse_address(text) if isinstance(text, str) else None
            if address is None:
                raise UnreadableError(f"{self.name} has an address that is none")
            spelled = str(address)
            if address.is_loopback or address.is_unspecified or spelled in seen:
                continue
            seen.add(spelled)
            self.addresses.append(spelled)
            if identifies_machine(address, self.name):
                self.own.append(spelled)
            if address.version == 4:
                single = str(prefix) == "32"
                wide = wide or not single
                if single:
                    singles.add(spelled)
        if wide and singles:
            self.own = [one for one in self.own if one not in singles]

    def shown(self) -> dict[str, Any]:
        """Return it as a document has it."""
        told: dict[str, Any] = {"name": self.name, "ip_addresses": self.addresses}
        if self.mac:
            told["mac_address"] = self.mac
        return told


def of_agent(result: Any) -> list[Interface]:
    """Return the interfaces in an agent's answer. Raises UnreadableError."""
    found = []
    for entry in _objects(result):
        name, mac = clean(entry.get("name")) or "unnamed", entry.get("hardware-address")
        interface = Interface(name, None if name == "lo" else _mac(mac))
        listed = _objects(entry.get("ip-addresses") or [])
        interface.add([(address.get("ip-address"), address.get("prefix")) for address in listed])
        found.append(interface)
    return _worth_telling(found)


def of_container(data: Any) -> list[Interface]:
    """Return the interfaces in a container's answer; `inet` and `inet6` are what releases before 8.4 have."""
    found = []
    for entry in _objects(data):
        name, mac = clean(entry.get("name")) or "unnamed", entry.get("hwaddr") or entry.get("hardware-address")
        interface = Interface(name, None if name == "lo" else _mac(mac))
        listed = _objects(entry.get("ip-addresses") or [])
        interface.add(
            [(address.get("ip-address"), address.get("prefix")) for address in listed]
            or [(entry[key], str(entry[key]).rpartition("/")[2]) for key in ("inet", "inet6") if entry.get(key)]
        )
        found.append(interface)
    return _worth_telling(found)


def of_config(networks: Iterable[Mapping[str, str]]) -> list[Interface]:
    """Return a container's interfaces with the static addresses of its config, those that have one."""
    found = []
    for network in networks:
        interface = Interface(clean(network.get("name")) or "unnamed", _mac(network.get("hwaddr")))
        static = [network[key] for key in ("ip", "ip6") if parse_address(network.get(key, "")) is not None]
        interface.add([(text, text.rpartition("/")[2]) for text in static])
        if interface.addresses:
            found.append(interface)
    return found


def networks(config: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the parts of `net0`, `net1`, … in their order; each has its MAC under `mac` where it has one.

    Raises UnreadableError for one that is no text.
    """
    keys = [key for key in config if key[:3] == "net" and key[3:].isdecimal() and len(key) < 7]
    found = []
    for key in sorted(keys, key=lambda key: int(key[3:])) if len(keys) > 1 else keys:
        told = config[key]
        if not isinstance(told, str):
            raise UnreadableError(f"{key} cannot be read")
        parts = properties(told)
        # `virtio=AA:BB:…`: the model is the key, and comes first
        mac = _mac(parts.get("macaddr") or parts.get("hwaddr") or next(iter(parts.values()), ""))
        mac = mac or next((mac for mac in map(_mac, parts.values()) if mac), None)
        if mac:
            parts["mac"] = mac
        found.append(parts)
    return found


def management(interfaces: Sequence[Interface], macs: Sequence[str]) -> str | None:
    """Return the first identifying address, IPv4 before IPv6, of the first interface that has one, NICs in order."""
    place = {mac: number for number, mac in enumerate(macs)}
    for interface in sorted(interfaces, key=lambda i: place.get(i.mac or "", len(place))):
        if interface.own:
            return preferred(interface.own)
    return None


def preferred(own: Sequence[str]) -> str:
    """Return the first IPv4 address of some, else the first."""
    return next((address for address in own if ":" not in address), own[0])


def _worth_telling(interfaces: list[Interface]) -> list[Interface]:
    return [interface for interface in interfaces if interface.name != "lo" or interface.addresses]


def _objects(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise UnreadableError("the answer is no list of interfaces")
    for one in value:
        if not isinstance(one, dict):
            raise UnreadableError("the answer is no list of interfaces")
    return value


def _mac(text: Any) -> str | None:
    return normal_mac(text) if isinstance(text, str) else None
