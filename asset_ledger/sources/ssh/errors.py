"""The codes of the host probe: what went wrong with one host, and what a person does about it.

Raised by `client` and `local`, written into raw documents by `collector`, turned into items by `parse`.
"""

from __future__ import annotations

from asset_ledger.domain.errors import CORE_CODES, ErrorCode

AUTH_FAILED = ErrorCode(
    "SSH_AUTH_FAILED",
    "auth",
    False,
    "the host refused the user or the key",
    "Check the user name, that authorized_keys of that user holds the public key, and that the account is not locked",
)
HOST_KEY_UNKNOWN = ErrorCode(
    "SSH_HOST_KEY_UNKNOWN",
    "auth",
    False,
    "known_hosts has no key for the host, so who answers cannot be told; no credential was sent",
    "Compare the fingerprint on the host (`ssh-keygen -lf /etc/ssh/ssh_host_*.pub`), then add the key by its address",
)
HOST_KEY_MISMATCH = ErrorCode(
    "SSH_HOST_KEY_MISMATCH",
    "auth",
    False,
    "the host shows another key than the one known_hosts holds, or a revoked one; no credential was sent",
    "Find out why (reinstalled, address reused, intercepted); only then replace the line in known_hosts",
)
HOST_KEY_UNVERIFIED = ErrorCode(
    "SSH_HOST_KEY_UNVERIFIED",
    "auth",
    False,
    "the source accepts the first key that an unknown host shows (host_keys: accept_first)",
    "Compare the recorded fingerprints with the hosts, then set host_keys: verify",
)
TIMEOUT = ErrorCode(
    "SSH_TIMEOUT",
    "network",
    True,
    "no TCP connection within connect_timeout_s",
    "Check that the host is up and that no firewall drops the port",
)
REFUSED = ErrorCode(
    "SSH_REFUSED",
    "network",
    True,
    "the host or a router on the way refused the TCP connection",
    "Check that sshd runs on the named port and that the address is routed",
)
DNS = ErrorCode(
    "SSH_DNS",
    "network",
    True,
    "the target has no management address and its name does not resolve",
    "Give the ledger asset a management address, or correct its name",
)
BANNER_TIMEOUT = ErrorCode(
    "SSH_BANNER_TIMEOUT",
    "network",
    True,
    "the port accepts connections but says nothing of SSH within handshake_timeout_s",
    "Check that the port is sshd's; a host that hangs on its disks or is out of memory also looks like this",
)
HANDSHAKE_TIMEOUT = ErrorCode(
    "SSH_HANDSHAKE_TIMEOUT",
    "network",
    True,
    "sshd greeted, then the key exchange or the login took longer than handshake_timeout_s",
    "Look at the host's load, its sshd log, and slow login modules (DNS, LDAP); or raise handshake_timeout_s",
)
CONNECTION_LOST = ErrorCode(
    "SSH_CONNECTION_LOST",
    "network",
    True,
    "the connection was closed or reset before the probe had ended",
    "Run again; if it stays so look at sshd's log (MaxStartups, a host that is shutting down, a middlebox)",
)
LEGACY = ErrorCode(
    "SSH_LEGACY",
    "network",
    False,
    "the host's sshd offers only algorithms that are no longer accepted (ssh-rsa with SHA-1, SSH 1)",
    "Update sshd or give it an ed25519 or ecdsa host key; until then keep the machine in the ledger by import",
)
SHELL_DENIED = ErrorCode(
    "SSH_SHELL_DENIED",
    "permission",
    False,
    "the login worked, but the account may not run `sh`",
    "Give the probe's user a shell, or pin the probe script with command= in authorized_keys",
)
UNEXPECTED_OUTPUT = ErrorCode(
    "SSH_UNEXPECTED_OUTPUT",
    "parse",
    False,
    "something else than the probe script ran: a forced command, an appliance's menu",
    "Pin the probe script itself as the forced command (docs/platforms/ssh.md), or lift the restriction",
)
TRUNCATED = ErrorCode(
    "SSH_TRUNCATED",
    "parse",
    True,
    "the probe's output ends before its end marker, so none of it was taken",
    "Run again; if it stays so run the script on the host by hand and see where it stops",
)
DEADLINE = ErrorCode(
    "SSH_DEADLINE",
    "network",
    True,
    "the whole probe took longer than deadline_s",
    "Look for a command that hangs on the host (a dead disk or path); or raise deadline_s",
)
OUTPUT_CAP = ErrorCode(
    "SSH_OUTPUT_CAP",
    "parse",
    False,
    "the host sent more than output_cap_bytes",
    "Look at what the login prints (profile, banner command); a machine with thousands of addresses needs a higher cap",
)
SECTION_FAILED = ErrorCode(
    "SSH_SECTION_FAILED",
    "parse",
    False,
    "one command of the probe failed on the host, so its fields are NULL; the others were taken",
    "Install the named program on the host, or leave the field to another source",
)
CONTAINER = ErrorCode(
    "SSH_CONTAINER",
    "inventory",
    False,
    "the machine is a container, which shows the disks and the serial number of its host; they were not taken",
    "Nothing to do; the platform the container runs on knows its disk",
)
PARSE_FAILED = ErrorCode(
    "SSH_PARSE_FAILED",
    "parse",
    False,
    "the raw record of the probe is not one that this release wrote",
    "Report the raw observation's id; the ledger was not touched",
)
CREDENTIAL_INVALID = ErrorCode(
    "SSH_CREDENTIAL_INVALID",
    "config",
    False,
    "the target names no credential, or the credential is not one for SSH",
    "Give the credential `username` and either `password` or `private_key` (with `passphrase` if that is encrypted)",
)
LOCAL_FAILED = ErrorCode(
    "SSH_LOCAL_FAILED",
    "config",
    False,
    "this machine cannot run the probe script itself: it has no `sh`",
    "Set this_machine: false, or run the ledger on a POSIX system",
)

ERROR_CODES: tuple[ErrorCode, ...] = (
    AUTH_FAILED,
    HOST_KEY_UNKNOWN,
    HOST_KEY_MISMATCH,
    HOST_KEY_UNVERIFIED,
    TIMEOUT,
    REFUSED,
    DNS,
    BANNER_TIMEOUT,
    HANDSHAKE_TIMEOUT,
    CONNECTION_LOST,
    LEGACY,
    SHELL_DENIED,
    UNEXPECTED_OUTPUT,
    TRUNCATED,
    DEADLINE,
    OUTPUT_CAP,
    SECTION_FAILED,
    CONTAINER,
    PARSE_FAILED,
    CREDENTIAL_INVALID,
    LOCAL_FAILED,
)


def by_name(name: str) -> ErrorCode | None:
    """Return the code of this name that a probe's raw document may carry, or None."""
    return next((code for code in (*ERROR_CODES, *CORE_CODES) if code.code == name), None)
