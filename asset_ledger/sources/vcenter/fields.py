"""What the documents of hosts and virtual machines are put together with: values or reasons, addresses. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from asset_ledger.domain.addresses import identifies_machine, normal_uuid, parse_address
from asset_ledger.domain.errors import ErrorCode
from asset_ledger.domain.normalized import NOT_REPORTED, SCHEMA_NAME, Document
from asset_ledger.sources.vcenter.errors import PARSE_ERROR, PERMISSION_DENIED
from asset_ledger.sources.vcenter.objects import Found
from asset_ledger.sources.vcenter.places import TEXT_MOST, clean

MOST = (1 << 63) - 1
MOST_PROCESSORS = 100_000
_DENIED = ("NoPermission",)


def reason(code: ErrorCode, told: str) -> str:
    """Return what stands under `unknown`: the code's name and a sentence."""
    return f"{code.code}: {clean(told)}"[:TEXT_MOST]


@dataclass(slots=True)
class Facts:
    """One object's properties while its document grows.

    `why` is what an absent property says of itself: the state that explains it, else that it is not told.
    """

    found: Found
    why: str
    unknown: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def text(self, path: str) -> str:
        """Return a property's text as a document may hold it, "" where there is none."""
        value = self.found.values.get(path)
        return clean(value) if type(value) is str else ""

    def number(self, path: str, most: int = MOST) -> int:
        """Return a number from 1 to `most`, or 0; one that is larger, or less than 0, is odd."""
        value: int | None = self.found.values.get(path)
        if value is None or value == 0:
            return 0
        if 0 < value <= most:
            return value
        self.found.odd[path] = "it is no number that can be"
        return 0

    def absent(self, path: str) -> str:
        """Return why a property is not known; one that cannot be read is a fault of this object's own."""
        if path in self.found.odd:
            self.faults.append(f"{path}: {self.found.odd[path]}")
            return reason(PARSE_ERROR, f"{path}: {self.found.odd[path]}")
        if path in self.found.values:
            return f"{NOT_REPORTED}: what vCenter tells of it says nothing"
        fault = self.found.faults.get(path)
        if fault in _DENIED:
            return reason(PERMISSION_DENIED, f"the account may not read {path}")
        return f"{NOT_REPORTED}: vCenter answers {clean(fault)} for {path}"[:TEXT_MOST] if fault else self.why

    def put(self, into: dict[str, Any], name: str, value: Any, path: str) -> None:
        """Set the last part of `name` in its group, or why `path`, which it comes from, is not known."""
        if value:
            into[name.rpartition(".")[2]] = value
        else:
            self.unknown[name] = self.absent(path)

    def label(self, custom: dict[str, Any], name: str, value: Any, path: str, *, may_be_unset: bool = False) -> None:
        """Set a custom field, or why `path` is not known: a field that is only left out would be one that is gone.

        `may_be_unset` is where an absent property says that there is none. A value that is told and empty is none.
        """
        if value:
            custom[name] = value
        elif path not in self.found.values:
            unset = may_be_unset and path not in self.found.odd and path not in self.found.faults
            if not unset:
                self.unknown[f"custom_fields.{name}"] = self.absent(path)

    def every_fault(self) -> list[str]:
        """Return all that cannot be read, once each: also properties that no field asked for."""
        if not self.faults and not self.found.odd:
            return []
        return list(dict.fromkeys((*self.faults, *(f"{clean(path)}: {why}" for path, why in self.found.odd.items()))))


def uuids(kind: str, value: str | None) -> list[dict[str, str]]:
    """Return a UUID as identifiers: as it is told. Who compares them with those of guests turns the bytes round."""
    return [] if value is None else [{"kind": kind, "value": value}]


def uuid_of(text: str) -> str | None:
    """Return a UUID in its one spelling, or None; a text that is no UUID at all is none either."""
    return normal_uuid(text) if text else None


class Address(NamedTuple):
    """An address in its one spelling; `shown` is False for loopback's and 0.0.0.0, `identifies` for what many have."""

    spelled: str
    shown: bool
    identifies: bool


@lru_cache(maxsize=4096)
def address_of(text: str) -> Address | None:
    """Return the address in a text, or None where it is none."""
    address = parse_address(text)
    if address is None:
        return None
    identifies = identifies_machine(address)
    return Address(str(address), identifies or not (address.is_loopback or address.is_unspecified), identifies)


@dataclass(slots=True)
class Interface:
    """One interface: its addresses but loopback's and 0.0.0.0, which is none; those that identify in `own`."""

    name: str
    mac: str | None
    addresses: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)

    def add(self, texts: Iterable[str], *, real: bool = True) -> str | None:
        """Take addresses; return what is wrong with the first that is none. `real`: of a card of the machine."""
        for text in texts:
            if not text:
                continue  # an element without an address is none
            address = address_of(text)
            if address is None:
                return f"{self.name} has an address that is none"
            if not address.shown or address.spelled in self.addresses:
                continue
            self.addresses.append(address.spelled)
            if real and address.identifies:
                self.own.append(address.spelled)
        return None

    def shown(self) -> dict[str, Any]:
        """Return it as a document has it."""
        if self.mac:
            return {"name": self.name, "ip_addresses": self.addresses, "mac_address": self.mac}
        return {"name": self.name, "ip_addresses": self.addresses}


def preferred(own: Iterable[str]) -> str | None:
    """Return the first IPv4 address of some, else the first, or None."""
    every = list(own)
    for address in every:
        if ":" not in address:
            return address
    return every[0] if every else None


def put_place(facts: Facts, custom: dict[str, Any], name: str, value: str | None) -> None:
    """Set a custom field that says where an object stands: "" is the top, None is not known."""
    if value:
        custom[name] = value
    elif value is None:
        facts.unknown[f"custom_fields.{name}"] = f"{NOT_REPORTED}: a part of its place in the inventory is not shown"


def described(kind: str, asset_type: str, parts: Mapping[str, Any], facts: Facts) -> Document:
    """Return the document of these parts; empty ones are left out."""
    document: Document = {"schema": SCHEMA_NAME, "kind": kind, "asset_type": asset_type}
    for name, part in parts.items():
        if part or name in ("relations", "identity"):
            document[name] = part
    document["unknown"] = facts.unknown
    return document
