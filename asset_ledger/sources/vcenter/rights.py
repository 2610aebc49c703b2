"""What an account may see, as far as a vCenter or an ESXi host tells it. Asked by `survey`, judged by `proof`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from asset_ledger.sources.vcenter.client import FaultError, VcenterClient
from asset_ledger.sources.vcenter.faults import NO_SESSION
from asset_ledger.sources.vcenter.permissions import READ
from asset_ledger.sources.vcenter.raw import Permission, Role, redacted

_Found = TypeVar("_Found")
_NOBODY = "the server has no AuthorizationManager"


@dataclass(frozen=True, slots=True)
class Rights:
    """The right on the root, all permissions and all roles, each None with a fault where it was not told.

    `held` is whether the right holds on further objects, `entities` are those that have entries; both by moid.
    """

    read: bool | None = None
    read_fault: str = ""
    permissions: tuple[Permission, ...] | None = None
    permissions_fault: str = ""
    roles: Mapping[int, Role] | None = None
    roles_fault: str = ""
    held: Mapping[str, bool] | None = None
    held_fault: str = ""
    entities: Mapping[str, Any] = field(default_factory=dict)

    def named(self, names: Mapping[str, str]) -> tuple[Permission, ...] | None:
        """Return the permissions with the names of what they are about."""
        if self.permissions is None:
            return None
        return tuple(replace(one, entity_name=redacted(names.get(one.entity, ""))) for one in self.permissions)


def rights_of(client: VcenterClient) -> Rights:
    """Ask what the account may see: on the root, and by every permission and role that it may look at."""
    root, manager = client.content.rootFolder, client.content.authorizationManager
    if manager is None:
        return Rights(read_fault=_NOBODY, permissions_fault=_NOBODY, roles_fault=_NOBODY)
    told, read_fault = _held(client, [root])
    listed, permissions_fault = _asked(client, manager.RetrieveAllPermissions)
    held, roles_fault = _asked(client, lambda: manager.roleList)
    read = permissions = roles = None
    if told is not None:
        read = told.get(root._moId, False)
    if listed is not None:
        permissions = tuple(
            Permission(
                entity=one.entity._moId,
                principal=redacted(one.principal),
                group=bool(one.group),
                role=one.roleId,
                propagate=bool(one.propagate),
                type=one.entity._wsdlName,
            )
            for one in listed
        )
    if held is not None:
        # only what decides about seeing: an administrator's role has four hundred others
        roles = {
            one.roleId: Role(
                redacted(one.name), tuple(name for name in one.privilege or () if name.startswith("System."))
            )
            for one in held
        }
    entities = {one.entity._moId: one.entity for one in listed or ()}
    return Rights(read, read_fault, permissions, permissions_fault, roles, roles_fault, entities=entities)


def with_held(client: VcenterClient, rights: Rights, moids: Sequence[str]) -> Rights:
    """Return the rights with whether System.Read holds on these objects, which have entries: in one call for all."""
    if not moids:
        return rights
    held, fault = _held(client, [rights.entities[moid] for moid in moids])
    return replace(rights, held=held, held_fault=fault)


def _held(client: VcenterClient, entities: list[Any]) -> tuple[Mapping[str, bool] | None, str]:
    """Return by moid whether System.Read holds; what the answer leaves out is left out."""
    manager = client.content.authorizationManager
    told, fault = _asked(client, lambda: manager.HasPrivilegeOnEntities(entities, client.session_key, [READ]))
    if told is None:
        return None, fault
    granted: dict[str, list[bool]] = {}
    for one in told:
        answers = granted.setdefault(one.entity._moId, [])
        answers += [bool(each.isGranted) for each in one.privAvailability if each.privId == READ]
    return {moid: bool(answers) and all(answers) for moid, answers in granted.items()}, ""


def _asked(client: VcenterClient, what: Callable[[], _Found]) -> tuple[_Found | None, str]:
    """Return what a call gives, or None and the name of the fault that it was answered with."""
    try:
        return client.attempt(what), ""
    except FaultError as refused:
        if refused.fault.name == NO_SESSION:
            raise refused.error from None
        return None, refused.fault.name
