"""Who a resource is, whatever its address: addresses move, providers change hosts, ids repeat across types.

A resource is named by what its provider names it by (an ARN, an ARM id, a VM's number in its cluster), within what that
name is unique in. Where no attribute tells that (which vCenter, which cluster) it is unique in its state alone: which
source reads a state's machines is people's word, and who a resource is does not change with it.
docs/platforms/terraform.md has the table.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from asset_ledger.domain.iac.exact_json import canonical, storable
from asset_ledger.domain.iac.redaction import MARK, redacted_attributes, token
from asset_ledger.domain.iac.secret_texts import shows_secret
from asset_ledger.domain.iac.snapshot import Place, Resource

NAMESPACE = uuid.UUID("6f1c0c52-5f5e-5c39-9d4e-8f4a5d1f9b10")


@dataclass(frozen=True, slots=True)
class Named:
    """What a resource is called by its provider.

    `scope` is what the name is unique in: empty where it is unique `anywhere`, or where nobody told. `native_key`
    finds the same object in another state or tool; None where there is none. `incarnation` differs where one name was
    given to another object. `machine` is (external kind, external id) of the ledger asset it is, under the source that
    its state's mapping names.
    """

    native_id: str
    scope: str
    native_key: str | None
    incarnation: str | None = None
    machine: tuple[str, str] | None = None
    anywhere: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a resource is. `name_digest` is the same for all that are called the same."""

    stable_uid: uuid.UUID
    name_digest: uuid.UUID
    named: Named


class Standing(Protocol):
    """Who stood at a place in the version before: a row of the current resources has it."""

    @property
    def stable_uid(self) -> uuid.UUID: ...

    @property
    def name_digest(self) -> uuid.UUID: ...


@dataclass(frozen=True, slots=True)
class Kept:
    """Who stood at a place in the version before."""

    stable_uid: uuid.UUID
    name_digest: uuid.UUID


@dataclass(frozen=True, slots=True)
class Naming:
    """In which state the names stand: its tenant and id.

    `key` is the tenant's: a name may be a secret, and who guesses it must not see that it is so.
    """

    tenant: str
    state: str
    key: bytes = field(repr=False, kw_only=True)


def identities(
    resources: Iterable[Resource], naming: Naming, before: Mapping[Place, Standing], staying: Iterable[uuid.UUID] = ()
) -> dict[Place, Identity]:
    """Return who each resource is, by its place in the state.

    `before` says who stood where, and `staying` who of them is there still and need not be asked. Several objects of
    one name in one state are told apart by where they stand: the one that had the name first keeps it, and who stands
    nowhere any more is found where the name came up.
    """
    named = sorted(
        ((each.place, *_uid_of(each, naming)) for each in resources), key=lambda one: (one[0] not in before, one[0])
    )
    found: dict[Place, Identity] = {}
    taken = set(staying)
    for place, name_digest, name in named:
        kept = before.get(place)
        if kept is not None and kept.name_digest == name_digest:
            found[place] = Identity(kept.stable_uid, name_digest, name)
            taken.add(kept.stable_uid)
    wanted = {name_digest for place, name_digest, _ in named if place not in found}
    homeless: dict[uuid.UUID, list[uuid.UUID]] = defaultdict(list)
    gone = [place for place, kept in before.items() if kept.name_digest in wanted and kept.stable_uid not in taken]
    for place in sorted(gone):
        homeless[before[place].name_digest].append(before[place].stable_uid)
    for place, name_digest, name in named:
        if place not in found:
            uid = _free(place, name_digest, homeless[name_digest], taken)
            found[place] = Identity(uid, name_digest, name)
            taken.add(uid)
    return found


def _free(place: Place, name_digest: uuid.UUID, homeless: list[uuid.UUID], taken: set[uuid.UUID]) -> uuid.UUID:
    """Return the id of an object that was not at its place before."""
    if homeless:
        return homeless.pop(0)
    uid = name_digest
    while uid in taken:  # the id made of this place too, where whoever it was made for moved on with it
        uid = uuid.uuid5(uid, canonical(place).decode())
    return uid


def _uid_of(resource: Resource, naming: Naming) -> tuple[uuid.UUID, Named]:
    name = _named(resource)
    parts = [naming.tenant, resource.provider, name.scope, resource.type, name.native_id]
    if not name.scope and not name.anywhere:
        # the same name in another state may be another object: `vm-1` is in every vCenter
        parts.append(naming.state)
        name = replace(name, native_key=None)
    seal = hmac.new(naming.key, NAMESPACE.bytes + canonical(parts), hashlib.sha256).digest()
    return uuid.UUID(bytes=seal[:16], version=5), _shown(name, resource, naming)


def _shown(name: Named, resource: Resource, naming: Naming) -> Named:
    """Return a name to be stored: where an attribute that it is made of is secret, its token stands there instead."""
    told = {each: resource.attributes[each] for each in _NAMING if each in resource.attributes}
    hidden = redacted_attributes(told, resource.type, resource.sensitive, naming.key)
    secret = {
        each for each, value in hidden.items() if isinstance(value, str) and MARK in value and value != told[each]
    }
    if secret:
        attributes = {**resource.attributes, **{each: hidden[each] for each in secret}}
        other = _named(resource._replace(attributes=attributes))
        name = replace(
            other,
            native_id=name.native_id,
            native_key=other.native_key if name.native_key is not None else None,
            machine=None if other.machine is None or MARK in other.machine[1] else other.machine,
        )
    if shows_secret(f"{name.native_key} {name.incarnation}"):  # where only the whole shows it
        return replace(
            name,
            native_key=name.native_key and token(name.native_key, naming.key),
            incarnation=name.incarnation and token(name.incarnation, naming.key),
        )
    return name


def _named(resource: Resource) -> Named:
    tool, _, family = resource.provider.rpartition("/")
    by_provider = _own if tool in _MAKERS and family in _OWN else _PROVIDERS.get(family, _other)
    named = by_provider(resource)
    # nothing to name it by: null attributes after an apply that failed, old resources without an id
    if named is None or not named.native_id:
        return Named(resource.address, "", None)
    return named


def _own(resource: Resource) -> Named | None:
    """Name what exists in the state alone. Some have an id that no other has: it tells that they moved."""
    native = _text(resource.attributes, "id")
    if native in _NO_IDS or resource.type.startswith("local_"):  # of a file the id is what is in it
        return Named(resource.address, "", None, incarnation=None if native in _NO_IDS else native)
    return Named(native or "", "", None)


def _aws(resource: Resource) -> Named | None:
    native, arn = _text(resource.attributes, "id"), _text(resource.attributes, "arn")
    machine = _machine(resource, native)
    if arn:
        return Named(arn, "", arn, incarnation=native, machine=machine, anywhere=True)
    if not native:
        return None
    return Named(native, "", None, incarnation=native, machine=machine)


def _alicloud(resource: Resource) -> Named | None:
    native = _text(resource.attributes, "id")
    if not native:
        return None
    zone = _text(resource.attributes, "availability_zone") or ""
    within = zone.rstrip("abcdefghijklmnopqrstuvwxyz").rstrip("-")
    key = f"alicloud/{within}/{resource.type}/{native}"
    return Named(native, within, key, incarnation=native, machine=_machine(resource, native))


def _vsphere(resource: Resource) -> Named | None:
    native = _text(resource.attributes, "id")
    if not native:
        return None
    if resource.type not in _MACHINES:
        return Named(native, "", None)
    moid = _text(resource.attributes, "moid")
    uid = _text(resource.attributes, "uuid") or native
    # clones can share the BIOS UUID that the provider takes for the id; the inventory knows the moid
    return Named(moid or native, "", None, uid, _machine(resource, moid))


def _proxmox(resource: Resource) -> Named | None:
    attributes = resource.attributes
    native = _text(attributes, "id") or ""
    kind = _GUESTS.get(resource.type)
    number = _text(attributes, "vm_id") or _text(attributes, "vmid") or native.rpartition("/")[2]
    # not only guests have a vm_id: what is set up about one has its number too
    if kind is None or re.fullmatch("[0-9]+", number) is None:
        return Named(native, "", None)
    guest = f"{kind}/{number}"
    return Named(guest, "", None, machine=("vm", guest))


def _azure(resource: Resource) -> Named | None:
    native = (_text(resource.attributes, "id") or "").lower()
    of_azure = native.startswith("/")  # then the subscription is in it
    machine = _text(resource.attributes, "virtual_machine_id")
    return Named(native, "", native, incarnation=machine, anywhere=of_azure)


def _google(resource: Resource) -> Named | None:
    link, native = _text(resource.attributes, "self_link"), _text(resource.attributes, "id")
    told = link or native or ""
    path = told.partition("/projects/")
    name = f"projects/{path[2]}" if path[1] else told
    whole = name.startswith("projects/")
    key = name.replace("/zones/", "/locations/").replace("/regions/", "/locations/")
    incarnation = _text(resource.attributes, "instance_id")
    return Named(key, "", f"google//{key}", incarnation, anywhere=whole) if key else None


def _other(resource: Resource) -> Named | None:
    if arn := _text(resource.attributes, "arn"):
        return Named(arn, "", arn, anywhere=True)
    for name in ("self_link", "uuid", "id"):
        if native := _text(resource.attributes, name):
            return Named(native, "", None)
    return None


_NAMING = ("id", "arn", "self_link", "selfLink", "uuid", "moid", "vm_id", "vmId", "vmid", "virtual_machine_id",
           "virtualMachineId", "instance_id", "instanceId", "availability_zone", "availabilityZone")  # fmt: skip
"""The attributes that names are made of."""
_MAKERS = ("hashicorp", "builtin", "pulumi")
_OWN = ("terraform", "random", "null", "tls", "local", "time")
_NO_IDS = (None, "none", "-")
"""What providers write where an object has no id."""
_PROVIDERS: Mapping[str, Callable[[Resource], Named | None]] = {
    "aws": _aws,
    "alicloud": _alicloud,
    "vsphere": _vsphere,
    "proxmox": _proxmox,
    "proxmoxve": _proxmox,
    "azurerm": _azure,
    "azure": _azure,
    "azure-native": _azure,
    "google": _google,
    "google-beta": _google,
    "gcp": _google,
}
_GUESTS: Mapping[str, str] = {
    "proxmox_vm_qemu": "qemu",
    "proxmox_lxc": "lxc",
    "proxmox_lxc_guest": "lxc",
    "proxmox_virtual_environment_vm": "qemu",
    "proxmox_virtual_environment_vm2": "qemu",
    "proxmox_virtual_environment_container": "lxc",
    "proxmoxve:VM/virtualMachine:VirtualMachine": "qemu",
    "proxmoxve:CT/container:Container": "lxc",
}
_MACHINES = (
    "aws_instance",
    "aws:ec2/instance:Instance",
    "alicloud_instance",
    "alicloud:ecs/instance:Instance",
    "vsphere_virtual_machine",
    "vsphere:index/virtualMachine:VirtualMachine",
)


def _machine(resource: Resource, native: str | None) -> tuple[str, str] | None:
    return ("vm", native) if native and resource.type in _MACHINES else None


def _text(attributes: Mapping[str, Any], name: str) -> str | None:
    """Return an attribute as text, by Terraform's name for it or by Pulumi's: `self_link`, `selfLink`."""
    told = attributes.get(name)
    if told is None and "_" in name:
        head, *rest = name.split("_")
        told = attributes.get(head + "".join(map(str.capitalize, rest)))
    if isinstance(told, bool) or not isinstance(told, str | int):
        return None
    return storable(str(told)) or None
