"""How providers write numbers, sizes, addresses and blocks into attributes. Pure; used by `machines`.

What cannot be read with certainty is None, and so is what is secret: attributes come redacted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from asset_ledger.domain.addresses import normal_uuid, parse_address
from asset_ledger.domain.iac.redaction import MARK

Power = Literal["on", "off", "suspended"]
Attributes = Mapping[str, Any]

MIB, GIB = 1 << 20, 1 << 30
_UNITS = {"K": 1 << 10, "M": MIB, "G": GIB, "T": 1 << 40}
_SIZE = re.compile(r"([0-9]{1,12})([KMGT])(?:i?B)?")
_MOST_CORES, _MOST_BYTES = 100_000, (1 << 63) - 1
_MOST_ADDRESSES = 256
"""More than these of one machine are not told: a node of a cluster has one for each of its containers."""
_POWERS: Mapping[str, Power] = {
    "on": "on",
    "running": "on",
    "off": "off",
    "stopped": "off",
    "suspended": "suspended",
}


def of(attrs: Attributes, name: str) -> Any:
    """Return an attribute by Terraform's name for it or by Pulumi's: `num_cpus`, `numCpus`."""
    if name in attrs:
        return attrs[name]
    head, *rest = name.split("_")
    return attrs.get(head + "".join(map(str.capitalize, rest)))


def blocks(attrs: Attributes, *names: str) -> list[Attributes]:
    """Return the blocks of some names: lists of objects, or one object where there may be only one."""
    found: list[Attributes] = []
    for name in names:
        told = of(attrs, name)
        found += [each for each in (told if isinstance(told, list) else [told]) if isinstance(each, Mapping)]
    return found


def block(attrs: Attributes, name: str) -> Attributes:
    """Return the first block of a name; empty where there is none."""
    return next(iter(blocks(attrs, name)), {})


def numbered(attrs: Attributes, name: str) -> list[Attributes]:
    """Return the blocks within a block, whatever their names: `mounts { mp0 { … } mp1 { … } }`."""
    return [inner for outer in blocks(attrs, name) for each in outer for inner in blocks(outer, each)]


def text(told: Any) -> str | None:
    """Return a text that hides nothing."""
    return told if isinstance(told, str) and told and MARK not in told else None


def identity(told: Any) -> UUID | None:
    """Return a UUID that may be one machine's."""
    normal = normal_uuid(told) if isinstance(told, str) else None
    return None if normal is None else UUID(normal)


def cores(told: Any) -> int | None:
    """Return a number of cores."""
    count = _whole(told)
    return count if count is not None and count <= _MOST_CORES else None


def cores_of_sockets(attrs: Attributes) -> int | None:
    """Return the cores of all sockets; where nothing says how many sockets, Proxmox VE gives one."""
    each, sockets = cores(of(attrs, "cores")), of(attrs, "sockets")
    count = 1 if sockets in (None, 0) else cores(sockets)
    return cores(each * count) if each and count else None


def in_bytes(told: Any, unit: int) -> int | None:
    """Return a number of units in bytes."""
    count = _whole(told)
    return count * unit if count is not None and count * unit <= _MOST_BYTES else None


def size(told: Any) -> int | None:
    """Return the bytes of a size such as `32G`. A number alone does not say of what."""
    found = _SIZE.fullmatch(told) if isinstance(told, str) else None
    return None if found is None else in_bytes(int(found[1]), _UNITS[found[2]])


def total(sizes: Iterable[int | None]) -> int | None:
    """Return the sum of all sizes; None where one is not known, or there is none."""
    told = list(sizes)
    known = [each for each in told if each is not None]
    return sum(known) if known and len(known) == len(told) and sum(known) <= _MOST_BYTES else None


def power(told: Any) -> Power | None:
    """Return whether a machine is on, by a word for it or by whether it was started."""
    if isinstance(told, bool):
        return "on" if told else "off"
    return _POWERS.get(told.lower()) if isinstance(told, str) else None


def addresses(*told: Any) -> tuple[str, ...]:
    """Return the addresses in texts and lists of them, each once and sorted, without those that every machine has."""
    found = {}
    for each in _texts(told):
        address = parse_address(each)
        if address and not (
            address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
        ):
            found[(address.version, int(address))] = str(address)
    return tuple(found[key] for key in sorted(found)) if len(found) <= _MOST_ADDRESSES else ()


def _texts(told: Any) -> Iterator[str]:
    if isinstance(told, str):
        yield told
    elif isinstance(told, list | tuple):
        for each in told:
            yield from _texts(each)


def _whole(told: Any) -> int | None:
    """Return a number that is whole and above zero: zero is "as many as there are", or nothing at all."""
    if isinstance(told, str) and re.fullmatch("[0-9]{1,18}", told, re.ASCII):  # of clients before 0.12
        told = int(told)
    if isinstance(told, bool) or not isinstance(told, int | float | Decimal):
        return None
    return int(told) if 0 < told <= _MOST_BYTES and told == int(told) else None
