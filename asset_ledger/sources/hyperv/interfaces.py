"""Interfaces with their addresses: which are shown, which of them may identify the machine. Pure.

Loopback's and 0.0.0.0 are none; link-local ones are shown and identify nobody. Used by `guests` and `hosts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from asset_ledger.domain.addresses import identifies_machine, parse_address


@dataclass(slots=True)
class Interface:
    """One interface: its addresses but loopback's and 0.0.0.0; those that identify the machine in `own`."""

    name: str
    mac: str | None = None
    addresses: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)

    def add(self, told: Iterable[Any]) -> str:
        """Take addresses; return what is wrong with the first that is none, "" where all are some."""
        for one in told:
            address = parse_address(one) if isinstance(one, str) else None
            if address is None:
                return f"{self.name} has an address that is none"
            spelled = str(address)
            if address.is_loopback or address.is_unspecified or spelled in self.addresses:
                continue
            self.addresses.append(spelled)
            if identifies_machine(address):
                self.own.append(spelled)
        return ""

    def shown(self) -> dict[str, Any]:
        """Return it as a document has it."""
        told: dict[str, Any] = {"name": self.name, "ip_addresses": self.addresses}
        if self.mac:
            told["mac_address"] = self.mac
        return told


def preferred(own: Sequence[str]) -> str | None:
    """Return the first IPv4 address of some, else the first, or None."""
    return next((address for address in own if ":" not in address), own[0] if own else None)
