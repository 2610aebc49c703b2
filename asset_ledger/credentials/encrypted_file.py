"""`file:NAME`: entries of a JSON file, each encrypted whole with Fernet, names readable without the key.

The key is in ASSET_LEDGER_CREDENTIALS_KEY, never beside the file. Several keys, separated by commas, are a
rotation under way: the first encrypts, all decrypt. Read by `CredentialStore`, written by the CLI.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from asset_ledger.credentials.secret import Secret, as_secret, is_field_name, unreadable
from asset_ledger.domain.errors import CREDENTIAL_NOT_FOUND, PermanentError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

KEY_VARIABLE = "ASSET_LEDGER_CREDENTIALS_KEY"
_VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@/-]{0,127}")


@dataclass(frozen=True, slots=True)
class Entry:
    """What may be shown of an entry."""

    name: str
    updated_at: datetime
    fields: tuple[str, ...]

    @property
    def reference(self) -> str:
        return f"file:{self.name}"


@dataclass(frozen=True, slots=True)
class _Stored:
    """An entry as it stands in the file."""

    updated_at: str
    fields: tuple[str, ...]
    token: str


def _stored(name: str, entry: object, path: Path) -> _Stored:
    try:
        if not isinstance(entry, dict):
            raise TypeError
        updated_at = datetime.fromisoformat(entry["updated_at"]).isoformat()
        return _Stored(updated_at, tuple(str(field) for field in entry["fields"]), str(entry["token"]))
    except (KeyError, TypeError, ValueError):
        raise unreadable(f"file:{name}", f"the entry in {path} is damaged: a part of it is missing or wrong") from None


def generate_key() -> str:
    """Return a fresh key for ASSET_LEDGER_CREDENTIALS_KEY."""
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode()


class EncryptedFile:
    """One credential file. Any number of processes may read and write it at once."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self._path = path
        self._environ = environ

    def __repr__(self) -> str:
        return f"EncryptedFile({str(self._path)!r})"

    def read(self, name: str) -> Secret:
        """Return the fields of an entry."""
        stored = self._load().get(name) if _NAME.fullmatch(name) else None
        if stored is None:
            raise self._not_found(name)
        return self._decrypt(name, stored, self._keys())

    def names(self) -> list[Entry]:
        """Return the entries by name, without the key and without any value."""
        return [
            Entry(name, datetime.fromisoformat(stored.updated_at), stored.fields)
            for name, stored in sorted(self._load().items())
        ]

    def set(self, name: str, fields: Mapping[str, str]) -> bool:
        """Write an entry in place of one of the same name; True if there was one.

        Refuses (CREDENTIAL_UNREADABLE) to add to a file of which the keys given open nothing.
        """
        if _NAME.fullmatch(name) is None:
            raise ValueError("a credential's name is made of letters, digits and _ . @ / -, a letter or digit first")
        if not fields or not all(is_field_name(field) and isinstance(value, str) for field, value in fields.items()):
            raise ValueError("a credential has at least one field, named in lower case letters, digits and _")
        keys = self._keys()
        with self._locked():
            entries = self._load()
            if entries and not any(self._opens(other, stored, keys) for other, stored in entries.items()):
                raise unreadable(
                    str(self._path),
                    f"nothing in it opens with {KEY_VARIABLE}, so a new entry would be the only readable one",
                )
            # the name is inside too, so that an entry put under another name does not open
            content = json.dumps({"name": name, "fields": dict(fields)})
            token = keys.encrypt(content.encode()).decode()
            replaced = name in entries
            now = datetime.now(UTC).isoformat(timespec="seconds")
            self._save(entries | {name: _Stored(now, tuple(sorted(fields)), token)})
            return replaced

    def remove(self, name: str) -> None:
        """Remove an entry; it needs no key."""
        with self._locked():
            entries = self._load()
            if name not in entries:
                raise self._not_found(name)
            del entries[name]
            self._save(entries)

    def rotate(self) -> int:
        """Encrypt every entry anew with the first key; return how many. One that does not open stops it all."""
        keys = self._keys()
        with self._locked():
            entries = self._load()
            for name, stored in entries.items():
                self._decrypt(name, stored, keys)
            self._save(
                {
                    name: _Stored(stored.updated_at, stored.fields, keys.rotate(stored.token).decode())
                    for name, stored in entries.items()
                }
            )
            return len(entries)

    def _keys(self) -> MultiFernet:
        from cryptography.fernet import Fernet, MultiFernet

        keys = [key.strip() for key in self._environ.get(KEY_VARIABLE, "").split(",") if key.strip()]
        if not keys:
            raise unreadable(
                str(self._path),
                f"{KEY_VARIABLE} is not set (`asset-ledger credentials new-key` makes a key for a new file)",
            )
        opened = []
        for number, key in enumerate(keys, 1):
            try:
                opened.append(Fernet(key))
            except ValueError:
                raise unreadable(
                    KEY_VARIABLE, f"key {number} of {len(keys)} is not 32 bytes in URL-safe base64"
                ) from None
        return MultiFernet(opened)

    def _decrypt(self, name: str, stored: _Stored, keys: MultiFernet) -> Secret:
        from cryptography.fernet import InvalidToken

        reference = f"file:{name}"
        try:
            content = json.loads(keys.decrypt(stored.token))
        except (InvalidToken, ValueError):  # ValueError: not even ASCII any more
            raise unreadable(
                reference, f"the entry in {self._path} is damaged, or was written with another key"
            ) from None
        if content["name"] != name:
            raise unreadable(reference, f"the entry in {self._path} is damaged: it was written under another name")
        return as_secret(content["fields"], reference)

    def _opens(self, name: str, stored: _Stored, keys: MultiFernet) -> bool:
        try:
            self._decrypt(name, stored, keys)
        except PermanentError:
            return False
        return True

    def _load(self) -> dict[str, _Stored]:
        try:
            document = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise unreadable(str(self._path), f"the file cannot be read ({error.strerror})") from None
        except ValueError:
            raise unreadable(str(self._path), "the file is damaged: not JSON. Restore it from a backup") from None
        if not isinstance(document, dict) or document.get("version") != _VERSION:
            raise unreadable(str(self._path), f"the file is not a credential file of version {_VERSION}")
        entries = document.get("entries")
        if not isinstance(entries, dict):
            raise unreadable(str(self._path), "the file is damaged: it has no entries. Restore it from a backup")
        return {name: _stored(name, entry, self._path) for name, entry in entries.items()}

    def _save(self, entries: Mapping[str, _Stored]) -> None:
        """Put a whole new file in the place of the old one. Called with the lock held."""
        for left_by_a_kill in self._path.parent.glob(f".{self._path.name}.*"):
            left_by_a_kill.unlink(missing_ok=True)
        document = {
            "version": _VERSION,
            "entries": {
                name: {"updated_at": stored.updated_at, "fields": list(stored.fields), "token": stored.token}
                for name, stored in sorted(entries.items())
            },
        }
        descriptor, part = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)  # 0600
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.flush()
            os.fsync(descriptor)
        Path(part).replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock beside the file: the file itself is replaced, so a lock on it would not hold."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(f"{self._path}.lock", "a", opener=lambda path, flags: os.open(path, flags, 0o600)) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise unreadable(str(self._path), f"the file cannot be written ({error.strerror})") from None

    def _not_found(self, name: str) -> PermanentError:
        return PermanentError(CREDENTIAL_NOT_FOUND, f"{self._path} has no entry of this name", target=f"file:{name}")
