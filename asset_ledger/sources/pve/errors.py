"""The codes of Proxmox VE: what an answer or its absence means, and what a person does about it.

`code_of` is the one place that says which answer is which error: `client` raises by it, `parse` reads kept raw by it.
"""

from __future__ import annotations

from asset_ledger.domain.errors import CORE_CODES, ErrorCode

CONFIG_INVALID = ErrorCode(
    "PVE_CONFIG_INVALID",
    "config",
    False,
    "the source or its credential is not as this Proxmox VE needs it",
    "Correct the named field of the source or of its credential; docs/platforms/pve.md lists them",
)
AUTH_FAILED = ErrorCode(
    "PVE_AUTH_FAILED",
    "auth",
    False,
    "Proxmox VE refused the token, the ticket, or the user and password",
    "Check user, realm, token name and secret, and that none of them is disabled or expired; "
    "use an API token for a user with a second factor",
)
PERMISSION_DENIED = ErrorCode(
    "PVE_PERMISSION_DENIED",
    "permission",
    False,
    "the account lacks a right, so machines may be hidden from it or details refused to it",
    "Grant role PVEAuditor on / with propagate, to the user and, where privilege separation is on, to the token too",
)
RANGE_ONLY = ErrorCode(
    "PVE_RANGE_ONLY",
    "permission",
    False,
    "the permissions could not be judged, so ids were asked for one by one, and only so far: a guest that is hidden "
    "and has a higher id cannot be excluded",
    "Grant Sys.Audit on /access (role PVEAuditor on / holds it), or remove the named entry of the access control list",
)
NETWORK_ERROR = ErrorCode(
    "PVE_NETWORK_ERROR",
    "network",
    True,
    "no usable answer came within timeout_ms from the endpoint, or from the node that it asked",
    "Check that the endpoint and the named node are up and reach one another, then read again",
)
TLS_ERROR = ErrorCode(
    "PVE_TLS_ERROR",
    "network",
    False,
    "the server's certificate is not one that this source trusts, or TLS could not be agreed; nothing was sent",
    "Set ca_file to the cluster's /etc/pve/pve-root-ca.pem, or fingerprint to the one `pvenode cert info` shows",
)
TLS_UNVERIFIED = ErrorCode(
    "PVE_TLS_UNVERIFIED",
    "network",
    False,
    "the source does not check who answers (tls_verify: false), so anybody in between can read its credential",
    "Set tls_verify: true with ca_file or fingerprint",
)
RATE_LIMIT = ErrorCode(
    "PVE_RATE_LIMIT",
    "network",
    True,
    "a proxy in front of Proxmox VE turned requests away (429 or 503); Proxmox VE itself limits nothing",
    "Read a node directly, raise the proxy's limit, or lower max_parallel_nodes",
)
PARSE_ERROR = ErrorCode(
    "PVE_PARSE_ERROR",
    "parse",
    False,
    "an answer is not what Proxmox VE's API gives: cut short, not JSON, or of another shape",
    "Check that the endpoint is Proxmox VE itself and no page in front of it; report the answer's path if it is",
)
API_ERROR = ErrorCode(
    "PVE_API_ERROR",
    "network",
    True,
    "Proxmox VE answered with an error of its own (500)",
    "Look at the named message in the node's journal (pvedaemon, pveproxy, pve-cluster), then read again",
)
NODE_OFFLINE = ErrorCode(
    "PVE_NODE_OFFLINE",
    "network",
    True,
    "the node is offline: its guests are listed, their details are the last ones known",
    "Bring the node back, or remove it from the cluster if it is gone for good",
)
GUEST_AGENT_UNAVAILABLE = ErrorCode(
    "PVE_GUEST_AGENT_UNAVAILABLE",
    "network",
    True,
    "the guest was asked for its addresses and did not say, so they are unknown",
    "Install and start the QEMU guest agent in the guest and enable it in its options; up to Proxmox VE 8 the account "
    "needs VM.Monitor for it, from 9 on PVEAuditor is enough",
)

ERROR_CODES: tuple[ErrorCode, ...] = (
    CONFIG_INVALID,
    AUTH_FAILED,
    PERMISSION_DENIED,
    RANGE_ONLY,
    NETWORK_ERROR,
    TLS_ERROR,
    TLS_UNVERIFIED,
    RATE_LIMIT,
    PARSE_ERROR,
    API_ERROR,
    NODE_OFFLINE,
    GUEST_AGENT_UNAVAILABLE,
)
_BY_NAME = {code.code: code for code in (*ERROR_CODES, *CORE_CODES)}


def code_of(status: int, reason: str = "", code: str = "") -> ErrorCode | None:
    """Return the error that an answer is, or None for one that holds data.

    `code` is the name of the error where none but the client could tell: no answer came (status 0), or one that
    cannot be read.
    """
    if code:
        return _BY_NAME.get(code, PARSE_ERROR)
    if 200 <= status <= 299:
        return None
    if status == 500:
        return NETWORK_ERROR if reason.startswith("hostname lookup") else API_ERROR
    if status in (0, 408, 502, 504) or 595 <= status <= 599:
        return NETWORK_ERROR
    by_status = {401: AUTH_FAILED, 403: PERMISSION_DENIED, 429: RATE_LIMIT, 503: RATE_LIMIT}
    return by_status.get(status, CONFIG_INVALID)
