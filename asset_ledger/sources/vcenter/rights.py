"""What an account may see, as far as a vCenter or an ESXi host tells it. Asked by `survey`, judged by `proof`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from asset_ledger.sources.vcenter import errors
from asset_ledger.sources.vcenter.client import FaultError, VcenterClient
from asset_ledger.sources.vcenter.proof import READ
from asset_ledger.sources.vcenter.raw import Permission, Role

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Rights:
    """The right on the root, all permissions and all roles, each None with a fault where it was not told."""

    read: bool | None = None
    read_fault: str = ""
    permissions: tuple[Permission, ...] | None = None
    permissions_fault: str = ""
    roles: Mapping[int, Role] | None = None
    roles_fault: str = ""

    def named(self, names: Mapping[str, str]) -> tuple[Permission, ...] | None:
        """Return the permissions with the names of what they are about."""
        if self.permissions is None:
            return None
        return tuple(replace(one, entity_name=names.get(one.entity, "")) for one in self.permissions)


def rights_of(client: VcenterClient) -> Rights:
    """Ask what the account may see: on the root, and by every permission and role that it may look at."""
    root, manager = client.content.rootFolder, client.content.authorizationManager
    told, read_fault = _asked(client, lambda: manager.HasPrivilegeOnEntities([root], client.session_key, [READ]))
    listed, permissions_fault = _asked(client, manager.RetrieveAllPermissions)
    held, roles_fault = _asked(client, lambda: manager.roleList)
    read = permissions = roles = None
    if told is not None:
        granted = [one.isGranted for entity in told for one in entity.privAvailability if one.privId == READ]
        read = bool(granted) and all(granted)
    if listed is not None:
        permissions = tuple(
            Permission(one.entity._moId, one.principal, bool(one.group), one.roleId, bool(one.propagate))
            for one in listed
        )
    if held is not None:
        # only what decides about seeing: an administrator's role has four hundred others
        roles = {
            one.roleId: Role(one.name, tuple(each for each in one.privilege or () if each.startswith("System.")))
            for one in held
        }
    return Rights(read, read_fault, permissions, permissions_fault, roles, roles_fault)


def _asked(client: VcenterClient, what: Callable[[], _Found]) -> tuple[_Found | None, str]:
    """Return what a call gives, or None and the name of the fault that it was answered with."""
    try:
        return client.attempt(what), ""
    except FaultError as refused:
        if refused.error.code is errors.SESSION_EXPIRED:
            raise refused.error from None
        return None, refused.fault.name
