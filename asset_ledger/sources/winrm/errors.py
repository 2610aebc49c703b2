"""The codes of the WinRM probe: what went wrong with one host, and what a person does about it.

`collector` gives them to the WS-Management client and writes them into raw documents, `parse` turns them into items.
Every right that can be missing has a code of its own, whose advice says how it is granted.
"""

from __future__ import annotations

from asset_ledger.domain.errors import CORE_CODES, ErrorCode

CONFIG_INVALID = ErrorCode(
    "WINRM_CONFIG_INVALID",
    "config",
    False,
    "the source's settings cannot be used: an unreadable CA file, a port or a name that is none",
    "Correct the named setting; docs/platforms/winrm.md lists every field",
)
CREDENTIAL_INVALID = ErrorCode(
    "WINRM_CREDENTIAL_INVALID",
    "config",
    False,
    "the target names no credential, or the credential is not one for WinRM",
    "Give the credential `username` (DOMAIN\\user, user@domain, or .\\user for a local account) and `password`; with "
    "authentication: basic only a local account's name will do",
)
AUTH_FAILED = ErrorCode(
    "WINRM_AUTH_FAILED",
    "auth",
    False,
    "the host refused the user or the password; it was asked once, so that no account is locked by this probe",
    "Check user name and password, that the account is neither locked nor expired and may log on from the network, "
    "and that the listener allows the method (`winrm get winrm/config/service/auth`); Basic knows local accounts only",
)
NOT_TRIED = ErrorCode(
    "WINRM_NOT_TRIED",
    "auth",
    False,
    "other hosts of this run refused the account and none took it, so it was not tried here: its domain might lock it",
    "Mend what the refused ones say (WINRM_AUTH_FAILED of the same run), then run again; give hosts that know nothing "
    "of the domain a credential of their own, and write a local account as .\\user",
)
KERBEROS_MISSING = ErrorCode(
    "WINRM_KERBEROS_MISSING",
    "config",
    False,
    "the source asks for Kerberos, and the library for it is not installed, or there is no ticket",
    "Install the extra `asset-ledger[kerberos]` and get a ticket for the account the ledger runs as (`kinit`, or a "
    "keytab; credentials are not used), give the ledger asset the name that the domain knows, or set "
    "authentication: ntlm",
)
PERMISSION_DENIED = ErrorCode(
    "WINRM_PERMISSION_DENIED",
    "permission",
    False,
    "the login worked, but the account may not use WinRM (fault 5): no Read in RootSDDL, or a filtered token",
    "Add the account to the local group WinRMRemoteWMIUsers__ (from 2012 on Remote Management Users, S-1-5-32-580, "
    "too) and give that group Read: `winrm configSDDL default`; for a local administrator other than the built-in one "
    "set LocalAccountTokenFilterPolicy to 1; docs/platforms/winrm.md has each step",
)
NAMESPACE_DENIED = ErrorCode(
    "WINRM_NAMESPACE_DENIED",
    "permission",
    False,
    "the account may use WinRM, but not the WMI namespace root\\cimv2",
    "Grant it Enable Account and Remote Enable on root\\cimv2: wmimgmt.msc, WMI Control, Properties, Security; or the "
    "script in docs/platforms/winrm.md; Execute Methods is not needed",
)
NO_LISTENER = ErrorCode(
    "WINRM_NO_LISTENER",
    "network",
    False,
    "something answers on the port, and it is no WS-Management listener",
    "Run `winrm quickconfig -transport:https` on the host (it needs a certificate for the host's name), or correct "
    "default_port; `winrm enumerate winrm/config/listener` shows what listens",
)
TIMEOUT = ErrorCode(
    "WINRM_TIMEOUT",
    "network",
    True,
    "no TCP connection within connect_timeout_s",
    "Check that the host is up and that its firewall lets TCP 5986 (5985 without TLS) in: the rule group "
    "Windows Remote Management",
)
REFUSED = ErrorCode(
    "WINRM_REFUSED",
    "network",
    True,
    "the host refused the TCP connection, or there is no way to it: no WinRM listener on this port",
    "Run `winrm quickconfig -transport:https` on the host, over HTTP (https: false) `winrm quickconfig`; check that "
    "the port is right and that the address is routed",
)
DNS = ErrorCode(
    "WINRM_DNS",
    "network",
    True,
    "the target has no management address and its name does not resolve",
    "Give the ledger asset a management address, or correct its name",
)
CONNECTION_LOST = ErrorCode(
    "WINRM_CONNECTION_LOST",
    "network",
    True,
    "the connection was closed or reset before the probe had ended",
    "Run again; if it stays so look at the event log Microsoft-Windows-WinRM/Operational, and for a middlebox",
)
TLS_ERROR = ErrorCode(
    "WINRM_TLS_ERROR",
    "auth",
    False,
    "the host's certificate is not trusted, not for this host, or there is no TLS in common; no credential was sent",
    "Set ca_file to the CA that issued it, give the listener a certificate for its name or address; Server 2003 to "
    "2008 R2 need TLS 1.2 switched on",
)
TLS_UNVERIFIED = ErrorCode(
    "WINRM_TLS_UNVERIFIED",
    "auth",
    False,
    "the source does not verify certificates (tls_verify: false), so who answered is not proven",
    "Set ca_file to the CA of the hosts' listeners, then tls_verify: true",
)
SERVER_UNPROVEN = ErrorCode(
    "WINRM_SERVER_UNPROVEN",
    "auth",
    False,
    "NTLM over HTTP encrypts what is said, but does not prove which host says it",
    "Give the hosts an HTTPS listener (`winrm quickconfig -transport:https`) and set https: true, or use Kerberos",
)
BASIC = ErrorCode(
    "WINRM_BASIC",
    "auth",
    False,
    "Basic hands the password itself to whoever answers, protected by TLS alone",
    "Set authentication: ntlm, which never sends the password; local accounts can use it too",
)
UNENCRYPTED = ErrorCode(
    "WINRM_UNENCRYPTED",
    "auth",
    False,
    "the host would not encrypt over HTTP, or answered in the clear; its answer was not taken",
    "Use HTTPS; leave AllowUnencrypted off, and look for a proxy between",
)
DEADLINE = ErrorCode(
    "WINRM_DEADLINE",
    "network",
    True,
    "the whole probe of the host took longer than deadline_s",
    "Look at the host's load and its WMI service (a hanging provider, a dead disk); or raise deadline_s",
)
QUOTA = ErrorCode(
    "WINRM_QUOTA",
    "network",
    True,
    "the host has as many operations of this account running as its quota lets it",
    "Run again; find what else uses the account (`winrm get winrm/config`: "
    "MaxConcurrentOperationsPerUser, MaxConnections)",
)
PROTOCOL_ERROR = ErrorCode(
    "WINRM_PROTOCOL_ERROR",
    "parse",
    True,
    "the answer is not what WS-Management says it must be: cut short, no XML, to another request, too large",
    "Run again; if it stays so look for a proxy between, and report the raw observation's id",
)
FAULT = ErrorCode(
    "WINRM_FAULT",
    "parse",
    False,
    "the host answered a query with a fault; its number is in the message",
    "Look the number up (`winrm helpmsg NUMBER`); for WMI's own (0x8004…) run `winmgmt /verifyrepository` on the host",
)
QUERY_FAILED = ErrorCode(
    "WINRM_QUERY_FAILED",
    "parse",
    False,
    "one WMI class could not be read, so its fields are NULL; the others were taken",
    "Run the query on the host with the same account (`Get-WmiObject CLASS`); a broken provider shows up there too",
)
EMPTY_ANSWER = ErrorCode(
    "WINRM_EMPTY_ANSWER",
    "inventory",
    False,
    "a WMI class of which every Windows has a row came without any, so nothing was taken",
    "Check the account's rights on root\\cimv2 and the repository (`winmgmt /verifyrepository`)",
)
FIELD_MISSING = ErrorCode(
    "WINRM_FIELD_MISSING",
    "parse",
    False,
    "this release of Windows does not tell the field, so it is NULL",
    "Nothing to do; another source of the same machine may know it",
)
FIELD_INVALID = ErrorCode(
    "WINRM_FIELD_INVALID",
    "parse",
    False,
    "Windows told a value that cannot be, so the field is NULL",
    "Look at the named property on the host; a hypervisor or a driver reports it wrong",
)
PARSE_FAILED = ErrorCode(
    "WINRM_PARSE_FAILED",
    "parse",
    False,
    "the raw record of the probe is damaged, or not one that this release wrote",
    "Report the raw observation's id; the ledger was not touched",
)

ERROR_CODES: tuple[ErrorCode, ...] = (
    CONFIG_INVALID,
    CREDENTIAL_INVALID,
    AUTH_FAILED,
    NOT_TRIED,
    KERBEROS_MISSING,
    PERMISSION_DENIED,
    NAMESPACE_DENIED,
    NO_LISTENER,
    TIMEOUT,
    REFUSED,
    DNS,
    CONNECTION_LOST,
    TLS_ERROR,
    TLS_UNVERIFIED,
    SERVER_UNPROVEN,
    BASIC,
    UNENCRYPTED,
    DEADLINE,
    QUOTA,
    PROTOCOL_ERROR,
    FAULT,
    QUERY_FAILED,
    EMPTY_ANSWER,
    FIELD_MISSING,
    FIELD_INVALID,
    PARSE_FAILED,
)


def by_name(name: str) -> ErrorCode | None:
    """Return the code of this name that a probe's raw document may carry, or None."""
    return next((code for code in (*ERROR_CODES, *CORE_CODES) if code.code == name), None)
