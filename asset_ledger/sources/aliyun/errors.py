"""The codes of Aliyun ECS: what an answer or its absence means, and what a person does about it.

`code_of` is the one place that says which answer is which error: `client` raises by it, `proof` and `parse` read kept
raw by it.
"""

from __future__ import annotations

from asset_ledger.domain.errors import CORE_CODES, ErrorCode

CONFIG_INVALID = ErrorCode(
    "ALIYUN_CONFIG_INVALID",
    "config",
    False,
    "the source, its credential or the role that it names is not as Aliyun needs it",
    "Correct the named field of the source or of its credential; docs/platforms/aliyun.md lists them",
)
AUTH_FAILED = ErrorCode(
    "ALIYUN_AUTH_FAILED",
    "auth",
    False,
    "Aliyun refused the AccessKey, its signature, or the security token",
    "Check id and secret of the AccessKey, that it is enabled, and that a security_token that is given has not expired",
)
CLOCK_SKEW = ErrorCode(
    "ALIYUN_CLOCK_SKEW",
    "auth",
    False,
    "Aliyun refused the time of the request: the clock of this machine is wrong",
    "Synchronise the clock of this machine (NTP), then read again",
)
PERMISSION_DENIED = ErrorCode(
    "ALIYUN_PERMISSION_DENIED",
    "permission",
    False,
    "the account lacks a right, so a list that is empty or short would prove nothing",
    "Attach AliyunECSReadOnlyAccess, or a policy with ecs:DescribeRegions, ecs:DescribeInstances and ecs:DescribeDisks "
    'on Resource "*"; to assume a role, AliyunSTSAssumeRoleAccess and the role\'s trust policy',
)
NETWORK_ERROR = ErrorCode(
    "ALIYUN_NETWORK_ERROR",
    "network",
    True,
    "no usable answer came in time, or Aliyun said that it cannot answer now",
    "Check that the named host can be reached from here, then read again; inside a VPC set endpoint to its own",
)
TLS_ERROR = ErrorCode(
    "ALIYUN_TLS_ERROR",
    "network",
    False,
    "the server's certificate is not one that this source trusts, or TLS could not be agreed; nothing was sent",
    "Look for a proxy that opens TLS, and set ca_file to its CA if that is meant to be",
)
TLS_UNVERIFIED = ErrorCode(
    "ALIYUN_TLS_UNVERIFIED",
    "network",
    False,
    "the source does not check who answers (tls_verify: false), so anybody in between can read what it sends",
    "Set tls_verify: true, with ca_file where something in between opens TLS",
)
RATE_LIMIT = ErrorCode(
    "ALIYUN_RATE_LIMIT",
    "network",
    True,
    "Aliyun throttled the account's calls, and went on doing so for longer than a minute",
    "Lower parallel, move the schedule away from other programs of the account, or ask Aliyun for a higher quota",
)
PARSE_ERROR = ErrorCode(
    "ALIYUN_PARSE_ERROR",
    "parse",
    False,
    "an answer is not what the ECS API gives: cut short, not JSON, or of another shape",
    "Check that the endpoint is Aliyun's own and no page in front of it; report what is named if it is",
)
API_ERROR = ErrorCode(
    "ALIYUN_API_ERROR",
    "inventory",
    False,
    "Aliyun refused a call for a reason of its own",
    "Look the named code up at Aliyun (https://api.aliyun.com/troubleshoot takes the RequestId), then read again",
)
REGION_UNAVAILABLE = ErrorCode(
    "ALIYUN_REGION_UNAVAILABLE",
    "inventory",
    False,
    "a region that Aliyun lists does not open to this account or through this endpoint, so the reading is not whole",
    "Check the endpoint; name the region in exclude_regions if the account has nothing there and never will",
)
DISKS_UNAVAILABLE = ErrorCode(
    "ALIYUN_DISKS_UNAVAILABLE",
    "inventory",
    True,
    "the disks of a region could not be read, so the disk sizes of its instances are unknown",
    'Grant ecs:DescribeDisks on Resource "*" if it is missing, then read again',
)

ERROR_CODES: tuple[ErrorCode, ...] = (
    CONFIG_INVALID,
    AUTH_FAILED,
    CLOCK_SKEW,
    PERMISSION_DENIED,
    NETWORK_ERROR,
    TLS_ERROR,
    TLS_UNVERIFIED,
    RATE_LIMIT,
    PARSE_ERROR,
    API_ERROR,
    REGION_UNAVAILABLE,
    DISKS_UNAVAILABLE,
)
DRY_RUN_PASSED = "DryRunOperation"
"""How Aliyun answers a call with DryRun that the account may make: an error with status 400 and this code."""
NONCE_USED = "SignatureNonceUsed"

_BY_NAME = {code.code: code for code in (*ERROR_CODES, *CORE_CODES)}
# by how Aliyun's own names begin; the first that fits counts
_PREFIXES: tuple[tuple[str, ErrorCode], ...] = (
    ("Throttling", RATE_LIMIT),
    ("InvalidTimeStamp", CLOCK_SKEW),
    ("IllegalTimestamp", CLOCK_SKEW),
    ("InvalidAccessKey", AUTH_FAILED),
    ("Signature", AUTH_FAILED),
    ("IncompleteSignature", AUTH_FAILED),
    ("InvalidSecurityToken", AUTH_FAILED),
    ("MalformedSecurityToken", AUTH_FAILED),
    ("MissingSecurityToken", AUTH_FAILED),
    ("SecurityToken", AUTH_FAILED),
    ("InvalidRegionId", REGION_UNAVAILABLE),
    ("InvalidOperation.NotSupportedEndpoint", REGION_UNAVAILABLE),
    ("EntityNotExist", CONFIG_INVALID),
    ("Forbidden", PERMISSION_DENIED),
    ("NoPermission", PERMISSION_DENIED),
    ("InternalError", NETWORK_ERROR),
    ("ServiceUnavailable", NETWORK_ERROR),
)


def code_of(status: int, name: str = "") -> ErrorCode | None:
    """Return the error that an answer is, or None for one that holds data.

    `name` is Aliyun's own word for it, or the name of one of our codes where only the client could tell: no answer
    came (status 0), or one that cannot be read.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    if 200 <= status <= 299 and not name:
        return None
    for prefix, code in _PREFIXES:
        if name.startswith(prefix):
            return code
    if status == 429:
        return RATE_LIMIT
    if status in (0, 408) or status >= 500:
        return NETWORK_ERROR
    return {401: AUTH_FAILED, 403: PERMISSION_DENIED}.get(status, API_ERROR)
