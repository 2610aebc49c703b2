"""The codes of vCenter and ESXi: what an answer or its absence means, and what a person does about it."""

from __future__ import annotations

from asset_ledger.domain.errors import ErrorCode

CONFIG_INVALID = ErrorCode(
    "VCENTER_CONFIG_INVALID",
    "config",
    False,
    "the source or its credential is not as this vCenter or ESXi host needs it",
    "Correct the named field of the source or of its credential; docs/platforms/vcenter.md lists them",
)
AUTH_FAILED = ErrorCode(
    "VCENTER_AUTH_FAILED",
    "auth",
    False,
    "vCenter refused the user and password, or the user may not log in",
    "Check user (name@domain, as vsphere.local), password, and that the account is neither locked nor expired",
)
PERMISSION_DENIED = ErrorCode(
    "VCENTER_PERMISSION_DENIED",
    "permission",
    False,
    "the account lacks a right, so objects may be hidden from it or properties refused to it",
    "Grant the role Read-only on the root of the inventory with 'Propagate to children', and take back what is "
    "narrower below it",
)
RIGHTS_UNCLEAR = ErrorCode(
    "VCENTER_RIGHTS_UNCLEAR",
    "permission",
    False,
    "the account may read the root and all that it was shown, but an entry of the permissions below, that cannot be "
    "judged, may hide objects from it",
    "Give the account's own user Read-only with 'Propagate to children' on the named object: that outweighs what its "
    "groups have there",
)
HOST_MANAGED = ErrorCode(
    "VCENTER_HOST_MANAGED",
    "inventory",
    False,
    "a vCenter manages this host, and whoever reads that vCenter has all its machines in the ledger a second time",
    "Read the vCenter in place of the host, and disable this source; keep it only if no source reads that vCenter",
)
NETWORK_ERROR = ErrorCode(
    "VCENTER_NETWORK_ERROR",
    "network",
    True,
    "no usable answer came in time, it was cut short, or the server said that it cannot answer now",
    "Check that the endpoint is up and its services have started (503 while vpxd starts), then read again",
)
TLS_ERROR = ErrorCode(
    "VCENTER_TLS_ERROR",
    "network",
    False,
    "the server's certificate is not one that this source trusts, or TLS could not be agreed; nothing was sent",
    "Set ca_file to the CA's certificate (https://VCENTER/certs/download.zip has it), or fingerprint to the SHA-256 of "
    "the server's own",
)
TLS_UNVERIFIED = ErrorCode(
    "VCENTER_TLS_UNVERIFIED",
    "network",
    False,
    "the source does not check who answers (tls_verify: false), so anybody in between can read its credential",
    "Set tls_verify: true with ca_file or fingerprint",
)
SESSION_EXPIRED = ErrorCode(
    "VCENTER_SESSION_EXPIRED",
    "auth",
    True,
    "the session ended in the middle of a reading, and its views and pages with it",
    "Read again; if it comes back, look for who ends sessions, or for a proxy that spreads requests over servers",
)
PARSE_ERROR = ErrorCode(
    "VCENTER_PARSE_ERROR",
    "parse",
    False,
    "an answer is not what the vSphere API gives: cut short, no XML, or of another shape",
    "Check that the endpoint is vCenter or ESXi itself and no page in front of it; report what is named if it is",
)
VM_INACCESSIBLE = ErrorCode(
    "VCENTER_VM_INACCESSIBLE",
    "inventory",
    True,
    "vCenter cannot read the virtual machine's configuration: it is inaccessible, orphaned, disconnected or invalid",
    "Bring its datastore or host back, or register it anew; remove it from the inventory if it is gone for good",
)
HOST_DISCONNECTED = ErrorCode(
    "VCENTER_HOST_DISCONNECTED",
    "network",
    True,
    "vCenter has no connection to the host, so what it says of it may be old or missing",
    "Reconnect the host, or remove it from the inventory if it is gone for good",
)
TOOLS_UNAVAILABLE = ErrorCode(
    "VCENTER_TOOLS_UNAVAILABLE",
    "inventory",
    True,
    "VMware Tools do not run in the guest, so its addresses and its own name are unknown",
    "Install and start VMware Tools or open-vm-tools in the guest",
)

ERROR_CODES: tuple[ErrorCode, ...] = (
    CONFIG_INVALID,
    AUTH_FAILED,
    PERMISSION_DENIED,
    RIGHTS_UNCLEAR,
    HOST_MANAGED,
    NETWORK_ERROR,
    TLS_ERROR,
    TLS_UNVERIFIED,
    SESSION_EXPIRED,
    PARSE_ERROR,
    VM_INACCESSIBLE,
    HOST_DISCONNECTED,
    TOOLS_UNAVAILABLE,
)
