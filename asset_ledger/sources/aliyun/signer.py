"""ACS3-HMAC-SHA256: how a call to Aliyun is signed. Pure; time and nonce are given. Used by `client`.

Only what the few calls here need: RPC style, `POST /`, every parameter in the query, an empty body
(https://www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature).
Why it is our own: docs/decisions/0015-aliyun-own-signer.md.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from asset_ledger.sources.aliyun.account import Keys

ALGORITHM = "ACS3-HMAC-SHA256"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Signed:
    """A call ready to be sent to `/?query` with these headers, and an empty body."""

    query: str
    headers: Mapping[str, str]


def sign(
    host: str,
    keys: Keys,
    action: str,
    version: str,
    parameters: Mapping[str, str],
    *,
    at: datetime,
    nonce: str,
) -> Signed:
    """Return a signed call. `host` has its port unless that is 443; `nonce` is new with every attempt."""
    query = "&".join(f"{_quoted(name)}={_quoted(parameters[name])}" for name in sorted(parameters))
    headers = {
        "host": host,
        "x-acs-action": action,
        "x-acs-content-sha256": EMPTY_SHA256,
        "x-acs-date": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "x-acs-signature-nonce": nonce,
        "x-acs-version": version,
    }
    if keys.token:
        headers["x-acs-security-token"] = keys.token
    names = sorted(headers)
    signed = ";".join(names)
    lines = "".join(f"{name}:{headers[name]}\n" for name in names)
    canonical = "\n".join(("POST", "/", query, lines, signed, EMPTY_SHA256))
    to_sign = f"{ALGORITHM}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(keys.secret.encode(), to_sign.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = f"{ALGORITHM} Credential={keys.key_id},SignedHeaders={signed},Signature={signature}"
    return Signed(query, headers)


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")
