"""Encryption at rest: AES-256-GCM under keys that have names, several at a time while they are changed.

Pure but for the random nonce. Where the keys come from: `credentials.key_ring`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from asset_ledger.domain.errors import STATE_KEY_UNREADABLE, PermanentError

KEY_BYTES = 32
_NONCE_BYTES = 12
_RING = "the key ring"


@dataclass(frozen=True, slots=True)
class Sealed:
    """Something encrypted, and the name of the key it is encrypted with."""

    key_id: str
    data: bytes


@dataclass(frozen=True)
class KeyRing:
    """Keys by name. The first encrypts."""

    keys: Mapping[str, bytes] = field(repr=False)

    @property
    def current(self) -> str:
        """The name of the key that encrypts."""
        return next(iter(self.keys))

    def seal(self, plain: bytes, bound_to: str) -> Sealed:
        """Encrypt something. It can only be read again by who says what it is bound to."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(_NONCE_BYTES)
        return Sealed(self.current, nonce + AESGCM(self.keys[self.current]).encrypt(nonce, plain, bound_to.encode()))

    def open(self, sealed: Sealed, bound_to: str) -> bytes:
        """Decrypt what `seal` made.

        Raises PermanentError(STATE_KEY_UNREADABLE) where the key is not in the ring, or where it is not what was
        encrypted, or not in the place it was encrypted for.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key = self.keys.get(sealed.key_id)
        if key is None:
            raise PermanentError(
                STATE_KEY_UNREADABLE,
                f"it is encrypted with the key {sealed.key_id!r}, which is not in the ring; add it behind the others",
                target=_RING,
            )
        try:
            return AESGCM(key).decrypt(sealed.data[:_NONCE_BYTES], sealed.data[_NONCE_BYTES:], bound_to.encode())
        except InvalidTag:
            raise PermanentError(
                STATE_KEY_UNREADABLE,
                # without what it is bound to, which names a tenant: this goes into answers and logs
                f"it was not encrypted with the key {sealed.key_id!r} of this ring, or was changed since",
                target=_RING,
            ) from None
