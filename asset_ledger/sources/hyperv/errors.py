"""The codes of Hyper-V: what an answer or its absence means, and what a person does about it.

The collector raises by them, `proof` and `parse` judge kept answers by them. `code_of` says which of them an error that
the script told is: by PowerShell's own words for programs, never by a message, which is in the host's language.
"""

from __future__ import annotations

from collections.abc import Collection

from asset_ledger.domain.errors import CORE_CODES, ErrorCode

CONFIG_INVALID = ErrorCode(
    "HYPERV_CONFIG_INVALID",
    "config",
    False,
    "the source is not as these hosts need it: they are of another scope, of several clusters, or not what is named",
    "Correct the named field of the source; docs/platforms/hyperv.md lists them",
)
CREDENTIAL_INVALID = ErrorCode(
    "HYPERV_CREDENTIAL_INVALID",
    "config",
    False,
    "the source names no credential, or the credential is not one for Windows",
    "Give the credential `username` (DOMAIN\\user, user@domain, or a local user) and `password`",
)
KERBEROS_MISSING = ErrorCode(
    "HYPERV_KERBEROS_MISSING",
    "config",
    False,
    "the source asks for Kerberos and this installation has no Kerberos library, or no ticket could be got",
    "Install the extra `kerberos` and check /etc/krb5.conf and the host's name, or set authentication: ntlm",
)
AUTH_FAILED = ErrorCode(
    "HYPERV_AUTH_FAILED",
    "auth",
    False,
    "the host refused the user or the password; it was not tried a second time, so that nothing is locked",
    "Check user, domain and password, that the account is neither locked nor expired, and that the listener allows "
    "the source's `authentication`",
)
PERMISSION_DENIED = ErrorCode(
    "HYPERV_PERMISSION_DENIED",
    "permission",
    False,
    "the account lacks a right, so nothing, or not everything, is shown to it",
    "Grant the named right on every node: Hyper-V Administrators (S-1-5-32-578), read and execute in WinRM's RootSDDL, "
    "and in a cluster `Grant-ClusterAccess -User … -ReadOnly`; docs/platforms/hyperv.md has the steps",
)
TIMEOUT = ErrorCode(
    "HYPERV_TIMEOUT",
    "network",
    True,
    "no connection to the host's WinRM port within connect_timeout_s",
    "Check that the host is up, and that its firewall lets this machine to port 5986 (5985 without https)",
)
REFUSED = ErrorCode(
    "HYPERV_REFUSED",
    "network",
    True,
    "the host refused the connection to its WinRM port",
    "Run `winrm enumerate winrm/config/listener` on the host; a listener for HTTPS has to be made once",
)
DNS = ErrorCode(
    "HYPERV_DNS",
    "network",
    True,
    "a name of a host or of a cluster's node does not resolve here",
    "Name the nodes by address in `hosts`, set `dns_suffix`, or mend the DNS",
)
CONNECTION_LOST = ErrorCode(
    "HYPERV_CONNECTION_LOST",
    "network",
    True,
    "the connection was closed or reset before the host had answered",
    "Read again; if it stays so look at the host's event log Microsoft-Windows-WinRM/Operational",
)
TLS_ERROR = ErrorCode(
    "HYPERV_TLS_ERROR",
    "network",
    False,
    "the host's certificate is not one that this source trusts, or TLS could not be agreed; nothing was sent",
    "Set ca_file to the CA that signed the listener's certificate, and name hosts as the certificate does",
)
TLS_UNVERIFIED = ErrorCode(
    "HYPERV_TLS_UNVERIFIED",
    "network",
    False,
    "the source does not check who answers, so anybody in between can pretend to be a host",
    "Set https: true and tls_verify: true, with ca_file where the CA is your own",
)
UNENCRYPTED = ErrorCode(
    "HYPERV_UNENCRYPTED",
    "network",
    False,
    "without https, and the host sends or asks for messages that are not encrypted; nothing of them was taken",
    "Set AllowUnencrypted=false on the host (`winrm get winrm/config/service`), or set https: true",
)
DEADLINE = ErrorCode(
    "HYPERV_DEADLINE",
    "network",
    True,
    "one node took longer than deadline_s for everything that it was asked",
    "Look for virtual disks on storage that hangs, or for a busy WMI on the node; or raise deadline_s",
)
QUOTA = ErrorCode(
    "HYPERV_QUOTA",
    "network",
    True,
    "the account has as many shells open on the host as WinRM allows it",
    "Look who else uses the account, let old shells end (IdleTimeout), or raise MaxShellsPerUser on the host",
)
NO_LISTENER = ErrorCode(
    "HYPERV_NO_LISTENER",
    "network",
    False,
    "something answers on the port, and it is not Windows' WS-Management",
    "Check address and port: 5986 for https, 5985 without; and that nothing stands in front of the host",
)
NODE_UNREACHABLE = ErrorCode(
    "HYPERV_NODE_UNREACHABLE",
    "inventory",
    True,
    "a node did not answer, or is down by the cluster's own word: what runs on it, or only stands there, is not known",
    "Bring the node back, or evict it from the cluster if it is gone for good (Remove-ClusterNode), then read again",
)
MODULE_MISSING = ErrorCode(
    "HYPERV_MODULE_MISSING",
    "config",
    False,
    "the host has no Hyper-V module for PowerShell, or no Hyper-V: before Windows Server 2012 there was none",
    "Install it: `Install-WindowsFeature Hyper-V-PowerShell`; read guests of Windows Server 2008 R2 with probes",
)
SCRIPT_FAILED = ErrorCode(
    "HYPERV_SCRIPT_FAILED",
    "inventory",
    True,
    "the script ran on the host and could not read something of Hyper-V",
    "Look at the named error; `Get-VM` in a PowerShell on the host shows it too. A Virtual Machine Management service "
    "that hangs is the usual cause",
)
PROTOCOL_ERROR = ErrorCode(
    "HYPERV_PROTOCOL_ERROR",
    "parse",
    False,
    "the host's answer is not what WS-Management says it has to be, or too large",
    "Check that nothing stands between the ledger and the host; report what is named if nothing does",
)
WSMAN_FAULT = ErrorCode(
    "HYPERV_WSMAN_FAULT",
    "network",
    True,
    "the host answered with a fault of WS-Management; its number is in the message",
    "Look the number up (`winrm helpmsg 0x…` on any Windows) and at Microsoft-Windows-WinRM/Operational on the host",
)
PARSE_ERROR = ErrorCode(
    "HYPERV_PARSE_ERROR",
    "parse",
    False,
    "what the script printed is cut short, not its own, or of another shape",
    "Check what the account's PowerShell is allowed to do (constrained language, a profile, an antivirus); report the "
    "named field if nothing is in its way",
)
DISK_UNKNOWN = ErrorCode(
    "HYPERV_DISK_UNKNOWN",
    "inventory",
    False,
    "the size of one of a virtual machine's disks cannot be known, so neither can their sum",
    "Nothing to do for a disk of the host itself that is passed through; for others look at the named error: a file on "
    "a share needs the host's own access",
)
INTEGRATION_SERVICES_UNAVAILABLE = ErrorCode(
    "HYPERV_INTEGRATION_SERVICES_UNAVAILABLE",
    "inventory",
    False,
    "the guest's integration services tell nothing, so its addresses and system are not known",
    "Start the guest; in Linux install hyperv-daemons (hv_kvp_daemon); enable Data Exchange in the VM's settings",
)
DUPLICATE_ID = ErrorCode(
    "HYPERV_DUPLICATE_ID",
    "identity",
    False,
    "two nodes have a virtual machine with the same id, and both stay: imported without a new id, or left behind",
    "Remove the one that is not used any more, or import it anew with a new id (`Import-VM -Copy -GenerateNewId`)",
)
FAILED_OVER = ErrorCode(
    "HYPERV_FAILED_OVER",
    "inventory",
    False,
    "a replica was failed over, or runs, and stands in for its machine, whose id it has",
    "Nothing where it is meant; else end the failover (Complete-VMFailover, Set-VMReplication -Reverse or "
    "Stop-VMFailover), or stop the one of both that should not run",
)

ERROR_CODES: tuple[ErrorCode, ...] = (
    CONFIG_INVALID,
    CREDENTIAL_INVALID,
    KERBEROS_MISSING,
    AUTH_FAILED,
    PERMISSION_DENIED,
    TIMEOUT,
    REFUSED,
    DNS,
    CONNECTION_LOST,
    TLS_ERROR,
    TLS_UNVERIFIED,
    UNENCRYPTED,
    DEADLINE,
    QUOTA,
    NO_LISTENER,
    NODE_UNREACHABLE,
    MODULE_MISSING,
    SCRIPT_FAILED,
    PROTOCOL_ERROR,
    WSMAN_FAULT,
    PARSE_ERROR,
    DISK_UNKNOWN,
    INTEGRATION_SERVICES_UNAVAILABLE,
    DUPLICATE_ID,
    FAILED_OVER,
)
_BY_NAME = {code.code: code for code in (*ERROR_CODES, *CORE_CODES)}
_DENIED = ("PermissionDenied", "SecurityError")
_DENIED_TYPES = ("System.UnauthorizedAccessException", "System.Security.SecurityException")
# ERROR_ACCESS_DENIED, E_ACCESSDENIED and WBEM_E_ACCESS_DENIED, the latter as signed and unsigned numbers
_DENIED_NUMBERS = frozenset({5, 0x80070005, 0x80041003, 0x80070005 - (1 << 32), 0x80041003 - (1 << 32)})
MODULE = "module"
"""Where an error stands of a host that has no Hyper-V module."""
_CLUSTER = "cluster"


def by_name(name: str) -> ErrorCode | None:
    """Return the code of this name that a raw document may carry, or None."""
    return _BY_NAME.get(name)


def code_of(where: str, identifier: str, category: str, kind: str, numbers: Collection[int]) -> ErrorCode:
    """Return which error one that the script told is: `{where, id, category, type, numbers}` of its answer."""
    if where == MODULE:
        return MODULE_MISSING
    denied = category in _DENIED or identifier.partition(",")[0] == "AccessDenied" or kind in _DENIED_TYPES
    # what Get-Cluster calls it whose account the cluster does not let in
    denied = denied or (where == _CLUSTER and category == "AuthenticationError")
    return PERMISSION_DENIED if denied or not _DENIED_NUMBERS.isdisjoint(numbers) else SCRIPT_FAILED
