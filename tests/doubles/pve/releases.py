"""What differs between the releases of Proxmox VE: one row of facts a release, read by shapes and routes.

A fact is named for what a client sees, never for a version, so that no other file compares versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Release:
    """One release as a fresh installation shows it."""

    name: str
    version: str  # of GET /version
    release: str
    repoid: str

    @property
    def number(self) -> tuple[int, int]:
        major, minor = self.name.split(".")
        return int(major), int(minor)

    # who may come in
    tokens: bool = True
    permissions_call: bool = True
    one_text_for_401: bool = False
    second_factor_answer: bool = True  # a login answers NeedTFA; before, it only fails
    # what errors look like
    message_in_body: bool = False
    missing_file_status: int = 501
    # rows of nodes and guests
    version_tells_options: bool = False
    node_status: bool = True
    stats_need_sys_audit: bool = True
    ssl_fingerprint: bool = True
    unknown_status: bool = True
    lock_in_resources: bool = True
    tags: bool = True
    sdn_rows: bool = True
    sdn_rows_filtered: bool = True
    network_rows: bool = False
    memhost: bool = False
    pool_privilege: str = "Pool.Audit"
    qemu_vmid_is_text: bool = False
    lxc_numbers_are_text: bool = False
    blank_keys: bool = False  # lists have `template: ""`, containers `lock: ""`
    default_memory: int = 512
    # configurations
    agent_is_boolean: bool = False
    memory_is_text: bool = False
    lxc_config_has_pending: bool = True
    config_keys_unknown: tuple[str, ...] = ()
    # the agent and addresses
    agent_by_get: bool = True
    agent_privileges: tuple[str, ...] = ("VM.Monitor",)
    no_agent: str = "No QEMU guest agent configured"
    lxc_interfaces: bool = False
    lxc_ip_addresses: bool = False


_6 = Release(
    "6.4",
    "6.4-4",
    "6.4",
    "337d6701",
    version_tells_options=True,
    tags=False,
    pool_privilege="Pool.Allocate",
    qemu_vmid_is_text=True,
    lxc_numbers_are_text=True,
    config_keys_unknown=("meta", "tags", "tpmstate0"),
    sdn_rows_filtered=False,
)
_61 = replace(
    _6,
    name="6.1",
    version="6.1-3",
    release="6.1",
    repoid="37248ce6",
    tokens=False,
    permissions_call=False,
    blank_keys=True,
)
_54 = replace(
    _61,
    name="5.4",
    version="5.4",
    release="3",
    repoid="0a6eaa62",
    lock_in_resources=False,
    sdn_rows=False,
    lxc_config_has_pending=False,
)
_50 = replace(
    _54,
    name="5.0",
    version="5.0",
    release="30",
    repoid="5ab26bc2",
    second_factor_answer=False,
    node_status=False,
    stats_need_sys_audit=False,
    ssl_fingerprint=False,
    unknown_status=False,
    qemu_vmid_is_text=False,
    default_memory=0,
    agent_is_boolean=True,
    agent_by_get=False,
    no_agent="No Qemu Guest Agent",
    config_keys_unknown=("meta", "tags", "tpmstate0", "vmgenid"),
)
_7 = Release("7.4", "7.4-16", "7.4", "0f39f621", lxc_numbers_are_text=True)
_8 = Release(
    "8.4",
    "8.4.1",
    "8.4",
    "2a5fa54a8503f96d",
    message_in_body=True,
    missing_file_status=500,
    memory_is_text=True,
    lxc_interfaces=True,
    lxc_ip_addresses=True,
)
_9 = replace(
    _8,
    name="9.1",
    version="9.1.5",
    release="9.1",
    repoid="80cf92a64bef6889",
    one_text_for_401=True,
    network_rows=True,
    memhost=True,
    agent_privileges=("VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted"),
)
RELEASES = {release.name: release for release in (_50, _54, _61, _6, _7, _8, _9)}
VERSIONS = tuple(RELEASES)


def release_of(version: str, features: Mapping[str, Any] | None = None) -> Release:
    """Return the facts of a release, with some of them changed: a release between two of ours."""
    return replace(RELEASES[version], **dict(features or {}))
