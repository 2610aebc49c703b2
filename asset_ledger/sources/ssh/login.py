"""A credential made ready for SSH: user name and password or private key, parsed once for many hosts.

No agent and no key files: what the credential store gives is all there is. Used by `collector`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asset_ledger.domain.errors import TargetError
from asset_ledger.sources.ssh import errors

if TYPE_CHECKING:
    import paramiko


@dataclass(frozen=True, slots=True)
class Login:
    """A credential made ready: parsed once, used for many hosts."""

    username: str
    password: str | None = field(repr=False)
    key: paramiko.PKey | None = field(repr=False)


def login_of(fields: Mapping[str, str], reference: str) -> Login:
    """Make a credential's fields ready. Raises TargetError(SSH_CREDENTIAL_INVALID), which never quotes them."""
    username, password, pem = fields.get("username"), fields.get("password"), fields.get("private_key")
    if not username or not (password or pem):
        raise TargetError(
            errors.CREDENTIAL_INVALID, "it lacks username, or both password and private_key", target=reference
        )
    return Login(username, None if pem else password, _key(pem, fields.get("passphrase"), reference) if pem else None)


def _key(pem: str, passphrase: str | None, reference: str) -> paramiko.PKey:
    import paramiko
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    text = pem.strip().replace("\r\n", "\n") + "\n"
    load = s.load_ssh_private_key if "OPENSSH PRIVATE KEY" in text else s.load_pem_private_key
    kinds: dict[type, type[paramiko.PKey]] = {
        RSAPrivateKey: paramiko.RSAKey,
        EllipticCurvePrivateKey: paramiko.ECDSAKey,
        Ed25519PrivateKey: paramiko.Ed25519Key,
    }
    try:
        loaded = load(text.encode(), passphrase.encode() if passphrase else None)
        kind = next(ours for theirs, ours in kinds.items() if isinstance(loaded, theirs))
        plain = loaded.private_bytes(s.Encoding.PEM, s.PrivateFormat.OpenSSH, s.NoEncryption())
        return kind.from_private_key(io.StringIO(plain.decode()))
    except (ValueError, TypeError, UnsupportedAlgorithm, StopIteration, paramiko.SSHException):
        # the cause is left out on purpose: some of these quote what they could not read
        raise TargetError(
            errors.CREDENTIAL_INVALID,
            "its private_key is not an ed25519, ecdsa or RSA key, or the passphrase is missing or wrong",
            target=reference,
        ) from None
