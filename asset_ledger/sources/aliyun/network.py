"""Cards and addresses of one instance. Pure; called by `instances`.

A private address is unique in its VPC, so it identifies only together with it. Public ones move between instances and
never identify. `VpcAttributes` has the addresses of the first card alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from asset_ledger.domain.addresses import identifies_machine, normal_mac, parse_address
from asset_ledger.domain.normalized import NOT_REPORTED
from asset_ledger.sources.aliyun.errors import PARSE_ERROR
from asset_ledger.sources.aliyun.fields import Facts, clean, reason, unwrapped

_PRIMARY = "Primary"
_NO_ADDRESS = f"{NOT_REPORTED}: it has no address"
_NO_PRIVATE = f"{NOT_REPORTED}: it has no private address"


@dataclass(slots=True)
class Card:
    """One elastic network interface, the primary one and its primary address first."""

    name: str
    mac: str | None
    primary: bool
    addresses: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Network:
    """What the cards and addresses of an instance are. `private` identify within their VPC or region."""

    cards: list[Card] = field(default_factory=list)
    private: list[str] = field(default_factory=list)
    public: list[str] = field(default_factory=list)
    eip: str = ""

    @property
    def macs(self) -> list[str]:
        """The MAC addresses, once each."""
        return list(dict.fromkeys(card.mac for card in self.cards if card.mac))

    @property
    def addresses(self) -> list[str]:
        """Every address, once each."""
        return list(dict.fromkeys((*self.private, *self.public)))


def network_of(facts: Facts) -> Network:
    """Return the cards and addresses of a row. What cannot be read is a fault of it, and stands under "addresses"."""
    found = Network()
    reader = _Reader(facts)
    for card in facts.many("NetworkInterfaces", "NetworkInterface"):
        if isinstance(card, dict):
            found.cards.append(_card(reader, card))
        else:
            reader.odd("a network interface")
    found.cards.sort(key=lambda card: (not card.primary, card.name))
    vpc = facts.mapping("VpcAttributes")
    first = reader.addresses(vpc.get("PrivateIpAddress"), "IpAddress")
    inner = reader.addresses(facts.row.get("InnerIpAddress"), "IpAddress")
    of_cards = [address for card in found.cards for address in card.addresses]
    found.private = list(dict.fromkeys((*of_cards, *first, *inner)))
    eip = facts.mapping("EipAddress")
    bound = reader.addresses(eip.get("IpAddress"), "IpAddress")
    found.eip = bound[0] if bound else ""
    found.public = list(dict.fromkeys((*reader.addresses(facts.row.get("PublicIpAddress"), "IpAddress"), *bound)))
    return found


def described(facts: Facts, found: Network, identity: dict[str, Any], *, scoped: bool) -> dict[str, Any]:
    """Return the document's `network`, and set `identity.mgmt_ip`; or why they are not known.

    `scoped`: it is known in what the private addresses are unique; without that none of them can be asked for.
    """
    network: dict[str, Any] = {}
    # an instance of the classic network has none to tell
    facts.put(network, "network.mac_addresses", found.macs, "NetworkInterfaces")
    wrong = next((told for told in facts.faults if told.startswith(_OF_ADDRESSES)), "")
    if wrong or not found.addresses:
        why = reason(PARSE_ERROR, wrong) if wrong else _NO_ADDRESS
        facts.unknown["network.ip_addresses"] = facts.unknown["identity.mgmt_ip"] = why
        return network
    network["ip_addresses"] = found.addresses
    shown = [_shown(card) for card in found.cards if card.addresses]
    if shown:
        network["interfaces"] = shown
    own = identifying(found.private) if scoped else []
    if own:
        identity["mgmt_ip"] = next((one for one in own if ":" not in one), own[0])
    else:
        facts.unknown["identity.mgmt_ip"] = (
            _NO_PRIVATE if scoped else f"{NOT_REPORTED}: nothing says in which VPC its addresses are"
        )
    return network


def identifying(private: Iterable[str]) -> list[str]:
    """Return the private addresses that may identify an instance within their VPC."""
    return [one for one in private if (address := parse_address(one)) and identifies_machine(address)]


_OF_ADDRESSES = ("NetworkInterfaces is ", "VpcAttributes is ", "EipAddress is ", "what should be ")


@dataclass(slots=True)
class _Reader:
    facts: Facts

    def odd(self, what: str) -> None:
        self.facts.fault(f"what should be {what} is none")

    def addresses(self, value: Any, inner: str) -> list[str]:
        """Return the addresses in a list of texts, or of objects that have them under `inner`'s own name."""
        texts = unwrapped(value, inner)
        if texts is None:
            self.odd("a list of addresses")
        return self.parsed(texts or ())

    def parsed(self, texts: Iterable[Any]) -> list[str]:
        found: list[str] = []
        for text in texts:
            address = parse_address(text) if isinstance(text, str) else None
            if address is None:
                if text not in (None, ""):
                    self.odd("an address")
            elif not address.is_unspecified and not address.is_loopback and str(address) not in found:
                found.append(str(address))
        return found


def _card(reader: _Reader, row: Mapping[str, Any]) -> Card:
    name = clean(row.get("NetworkInterfaceId")) or "unnamed"
    mac = row.get("MacAddress")
    card = Card(name, normal_mac(mac) if isinstance(mac, str) else None, row.get("Type") == _PRIMARY)
    texts: list[Any] = []
    for outer, inner, key in (
        ("PrivateIpSets", "PrivateIpSet", "PrivateIpAddress"),
        ("Ipv6Sets", "Ipv6Set", "Ipv6Address"),
    ):
        rows = unwrapped(row.get(outer), inner)
        if rows is None:
            reader.odd("a list of addresses")
        for one in rows or ():
            if isinstance(one, dict):
                texts.append(one.get(key))
            else:
                reader.odd("an address")
    card.addresses = reader.parsed([row.get("PrimaryIpAddress"), *texts])
    return card


def _shown(card: Card) -> dict[str, Any]:
    told: dict[str, Any] = {"name": card.name, "ip_addresses": card.addresses}
    if card.mac:
        told["mac_address"] = card.mac
    return told
