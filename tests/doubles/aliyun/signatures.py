"""Who signed a request: ACS3-HMAC-SHA256 (headers) and RPC signatures of version 1.0 (parameters), both recomputed.

Written from what arrives on the wire and from nothing that signs. Pure; called by api.py.
"""

from __future__ import annotations

import base64
import calendar
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote_plus

Pairs = Sequence[tuple[str, str]]
ALGORITHM = "ACS3-HMAC-SHA256"
_ACS3_NEEDS = ("host", "x-acs-action", "x-acs-version", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256")
_RPC_NEEDS = (
    "AccessKeyId",
    "Signature",
    "SignatureMethod",
    "SignatureVersion",
    "SignatureNonce",
    "Timestamp",
    "Version",
)


class UnsignedError(Exception):
    """The request lacks something that every signed request has."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Received:
    """A request as it came: the path and query undecoded, header names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """The parameters of the query and of a form in the body, decoded, in the order in which they came."""
        pairs = split(self.query)
        if self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            pairs += split(self.body.decode())
        return pairs


@dataclass(frozen=True)
class Signed:
    """What a signature says; `expected` tells, for a secret, what it would have to be."""

    style: Literal["acs3", "rpc"]
    key_id: str
    signature: str
    nonce: str
    when: str
    action: str
    version: str
    security_token: str
    texts: tuple[str, ...]  # what the signer may have signed: one text a way in which the path can be read

    def verify(self, secret: str) -> bool:
        """Say whether this secret made the signature."""
        return any(hmac.compare_digest(self.signature, self._expected(secret, text)) for text in self.texts)

    def _expected(self, secret: str, text: str) -> str:
        if self.style == "rpc":
            return base64.b64encode(hmac.digest(f"{secret}&".encode(), text.encode(), "sha1")).decode()
        to_sign = f"{ALGORITHM}\n{hashlib.sha256(text.encode()).hexdigest()}"
        return hmac.digest(secret.encode(), to_sign.encode(), "sha256").hex()


def split(encoded: str) -> list[tuple[str, str]]:
    """Return the decoded names and values of a query or form."""
    pieces = (piece.partition("=") for piece in encoded.split("&") if piece)
    return [(unquote_plus(name), unquote_plus(value)) for name, _, value in pieces]


def encoded(text: str) -> str:
    """Return a text as RFC 3986 writes it: only letters, digits and -_.~ stay."""
    return quote(text, safe="~")


def canonical_query(pairs: Pairs) -> str:
    """Return parameters as both styles sign them: sorted by name, encoded."""
    return "&".join(f"{encoded(name)}={encoded(value)}" for name, value in sorted(pairs))


def read(request: Received, paths: Sequence[str]) -> Signed:
    """Return what the signature of a request says. `paths`: as which ones the request's path may have been signed.

    Raises UnsignedError where a part is missing.
    """
    if request.headers.get("authorization"):
        return _acs3(request, paths)
    return _rpc(request)


def _acs3(request: Received, paths: Sequence[str]) -> Signed:
    headers = request.headers
    scheme, _, rest = headers["authorization"].partition(" ")
    fields = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    if scheme != ALGORITHM or not {"Credential", "SignedHeaders", "Signature"} <= set(fields):
        raise UnsignedError("IncompleteSignature", "The request signature does not conform to Aliyun standards.")
    for name in _ACS3_NEEDS:
        if not headers.get(name):
            raise UnsignedError("MissingParameter", f'The input parameter "{name}" that is mandatory is not supplied.')
    names = fields["SignedHeaders"].split(";")
    said = {name for name in headers if name.startswith("x-acs-") or name in {"host", "content-type"}}
    if names != sorted(names) or not said <= set(names) or not set(names) <= set(headers):
        raise UnsignedError("IncompleteSignature", "SignedHeaders does not name every signed header, sorted.")
    body_hash = hashlib.sha256(request.body).hexdigest()
    if headers["x-acs-content-sha256"] != body_hash:
        raise UnsignedError("InvalidContentSha256", "x-acs-content-sha256 is not the hash of the body.")
    query = canonical_query(split(request.query))
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in names)
    return Signed(
        style="acs3",
        key_id=fields["Credential"],
        signature=fields["Signature"],
        nonce=headers["x-acs-signature-nonce"],
        when=headers["x-acs-date"],
        action=headers["x-acs-action"],
        version=headers["x-acs-version"],
        security_token=headers.get("x-acs-security-token", ""),
        texts=tuple(
            "\n".join([request.method, path, query, lines, fields["SignedHeaders"], body_hash]) for path in paths
        ),
    )


def _rpc(request: Received) -> Signed:
    pairs = request.parameters
    said = dict(pairs)
    for name in _RPC_NEEDS:
        if not said.get(name):
            raise UnsignedError("MissingParameter", f'The input parameter "{name}" that is mandatory is not supplied.')
    if (said["SignatureMethod"], said["SignatureVersion"]) != ("HMAC-SHA1", "1.0"):
        raise UnsignedError("InvalidParameter", "The specified SignatureMethod or SignatureVersion is not valid.")
    query = canonical_query([pair for pair in pairs if pair[0] != "Signature"])
    return Signed(
        style="rpc",
        key_id=said["AccessKeyId"],
        signature=said["Signature"],
        nonce=said["SignatureNonce"],
        when=said["Timestamp"],
        action=said.get("Action", ""),
        version=said["Version"],
        security_token=said.get("SecurityToken", ""),
        texts=(f"{request.method}&%2F&{encoded(query)}",),
    )


def seconds_of(when: str) -> int | None:
    """Return the time of a signature, in seconds since 1970, or None where it is not written as asked."""
    try:
        return calendar.timegm(time.strptime(when, "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return None
