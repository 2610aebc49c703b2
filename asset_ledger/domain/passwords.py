"""Passwords: argon2id, slow on purpose. Nothing here keeps or shows one."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argon2 import PasswordHasher

SHORTEST = 12


def hashed(password: str) -> str:
    """Return what is kept of a password. Raises ValueError for one that is too short."""
    if len(password) < SHORTEST:
        raise ValueError(f"a password has at least {SHORTEST} characters")
    return _hasher().hash(password)


def fits(password: str, kept: str | None) -> bool:
    """Say whether a password is the one of which this was kept. It takes as long where nothing was."""
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return _hasher().verify(kept or _nobody(), password) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher()


@cache
def _nobody() -> str:
    return _hasher().hash("nobody has this password")
