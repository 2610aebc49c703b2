"""The built-in privileges and roles of each release: pure tables."""

from __future__ import annotations

from collections.abc import Mapping

from tests.doubles.pve.releases import Release

Roles = Mapping[str, frozenset[str]]

# category -> rank -> privilege -> first release that has it; MONITOR is the one that went away
_PRIVILEGES: dict[str, dict[str, dict[str, tuple[int, int]]]] = {
    "VM": {
        "admin": {
            **dict.fromkeys(
                (
                    "VM.Config.Disk",
                    "VM.Config.CPU",
                    "VM.Config.Memory",
                    "VM.Config.Network",
                    "VM.Config.HWType",
                    "VM.Config.Options",
                    "VM.Allocate",
                    "VM.Clone",
                    "VM.Migrate",
                    "VM.Monitor",
                    "VM.Snapshot",
                    "VM.Snapshot.Rollback",
                ),
                (5, 0),
            ),
            **dict.fromkeys(
                (
                    "VM.GuestAgent.FileRead",
                    "VM.GuestAgent.FileSystemMgmt",
                    "VM.GuestAgent.FileWrite",
                    "VM.GuestAgent.Unrestricted",
                    "VM.Replicate",
                ),
                (9, 0),
            ),
        },
        "user": {
            "VM.Config.CDROM": (5, 0),
            "VM.Config.Cloudinit": (6, 3),
            "VM.Console": (5, 0),
            "VM.Backup": (5, 0),
            "VM.PowerMgmt": (5, 0),
        },
        "audit": {"VM.Audit": (5, 0), "VM.GuestAgent.Audit": (9, 0)},
    },
    "Sys": {
        "root": {
            "Sys.PowerMgmt": (5, 0),
            "Sys.Modify": (5, 0),
            "Sys.Incoming": (7, 3),
            "Sys.AccessNetwork": (8, 1),
        },
        "admin": {"Sys.Console": (5, 0), "Sys.Syslog": (5, 0)},
        "audit": {"Sys.Audit": (5, 0)},
    },
    "Datastore": {
        "admin": {"Datastore.Allocate": (5, 0), "Datastore.AllocateTemplate": (5, 0)},
        "user": {"Datastore.AllocateSpace": (5, 0)},
        "audit": {"Datastore.Audit": (5, 0)},
    },
    "SDN": {
        "admin": {"SDN.Allocate": (6, 2)},
        "user": {"SDN.Use": (8, 0)},
        "audit": {"SDN.Audit": (6, 2)},
    },
    "User": {
        "root": {"Realm.Allocate": (5, 0)},
        "admin": {"User.Modify": (5, 0), "Group.Allocate": (5, 0), "Realm.AllocateUser": (5, 0)},
    },
    "Pool": {"admin": {"Pool.Allocate": (5, 0)}, "user": {"Pool.Audit": (7, 0)}, "audit": {"Pool.Audit": (7, 0)}},
    "Mapping": {
        "admin": {"Mapping.Modify": (8, 0)},
        "user": {"Mapping.Use": (8, 0)},
        "audit": {"Mapping.Audit": (8, 0)},
    },
}
_MONITOR_UNTIL = (9, 0)


def _ranks(release: Release) -> dict[str, dict[str, frozenset[str]]]:
    return {
        category: {
            rank: frozenset(
                name
                for name, since in privileges.items()
                if since <= release.number and not (name == "VM.Monitor" and release.number >= _MONITOR_UNTIL)
            )
            for rank, privileges in ranks.items()
        }
        for category, ranks in _PRIVILEGES.items()
    }


def privileges_of(release: Release) -> frozenset[str]:
    """Return every privilege that the release knows."""
    return frozenset({"Permissions.Modify"}).union(
        *(names for ranks in _ranks(release).values() for names in ranks.values())
    )


def built_in_roles(release: Release) -> dict[str, frozenset[str]]:
    """Return the roles of a fresh installation with their privileges."""
    roles: dict[str, frozenset[str]] = {
        "NoAccess": frozenset(),
        "Administrator": privileges_of(release),
        "PVETemplateUser": frozenset({"VM.Clone", "VM.Audit"}),
    }
    everyone: frozenset[str] = frozenset()
    auditor: frozenset[str] = frozenset()
    for category, ranks in _ranks(release).items():
        admin, user, audit = (ranks.get(rank, frozenset()) for rank in ("admin", "user", "audit"))
        if not admin | user | audit:
            continue
        roles[f"PVE{category}Admin"] = admin | user | audit
        if user:
            roles[f"PVE{category}User"] = user | audit
        everyone |= admin | user | audit
        auditor |= audit
    roles["PVEAdmin"] = everyone - {"Mapping.Modify"}
    roles["PVEAuditor"] = auditor
    return roles
