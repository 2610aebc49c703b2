"""The keys that states are encrypted with at rest.

The first of the ring encrypts, all decrypt. They are in ASSET_LEDGER_STATE_KEYS as `name:base64,name:base64`, or in
`state_keys` in the installation's own folder, which is made on the first start of a service that finds neither.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from pathlib import Path

from asset_ledger.domain.errors import STATE_KEY_UNREADABLE, PermanentError
from asset_ledger.domain.sealing import KEY_BYTES, KeyRing

VARIABLE = "ASSET_LEDGER_STATE_KEYS"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


def load(home: Path, environ: Mapping[str, str]) -> KeyRing:
    """Return the installation's ring. Raises PermanentError where there is none, or one that cannot be used."""
    text = environ.get(VARIABLE)
    if text:
        return parsed(text, VARIABLE)
    path = home / "state_keys"
    try:
        return parsed(path.read_text(encoding="ascii"), str(path))
    except FileNotFoundError:
        raise PermanentError(
            STATE_KEY_UNREADABLE, f"there is no key to encrypt states with: set {VARIABLE}", target=str(path)
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(STATE_KEY_UNREADABLE, f"cannot be read: {error}", target=str(path)) from None


def load_or_make(home: Path, environ: Mapping[str, str]) -> tuple[KeyRing, Path | None]:
    """Return the installation's ring, and the file it was written to if it was made just now."""
    path = home / "state_keys"
    if environ.get(VARIABLE) or path.exists():
        return load(home, environ), None
    home.mkdir(parents=True, exist_ok=True)
    text = f"{new_entry()}\n"
    # whole from the moment it is seen: another process may be looking for it
    writing = home / f"state_keys.{os.getpid()}.new"
    handle = os.open(writing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(writing, path)
        except FileExistsError:  # another process was first
            return load(home, environ), None
    finally:
        writing.unlink()
    return parsed(text, str(path)), path


def new_entry() -> str:
    """Return a new key with a name of its own, as it stands in a ring. Two installations never name two keys alike."""
    return f"k{os.urandom(4).hex()}:{base64.b64encode(os.urandom(KEY_BYTES)).decode()}"


def parsed(text: str, where: str) -> KeyRing:
    """Return the ring that a text names. Raises PermanentError, which never quotes it."""
    keys: dict[str, bytes] = {}
    for number, part in enumerate(text.replace("\n", ",").split(","), 1):
        if not part.strip():
            continue
        name, colon, encoded = part.strip().partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:
            key = b""
        if not colon or _NAME.fullmatch(name) is None or len(key) != KEY_BYTES:
            raise PermanentError(
                STATE_KEY_UNREADABLE, f"entry {number} is not `name:` and 32 bytes in base64", target=where
            )
        if name in keys:
            raise PermanentError(STATE_KEY_UNREADABLE, f"two keys are called {name!r}", target=where)
        keys[name] = key
    if not keys:
        raise PermanentError(STATE_KEY_UNREADABLE, "no key stands in it", target=where)
    return KeyRing(keys)
