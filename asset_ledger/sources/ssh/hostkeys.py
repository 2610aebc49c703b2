"""Whose key is this: an OpenSSH known_hosts file, looked up and (where a source says so) added to.

Plain, wildcard, negated, hashed and `[host]:port` entries and `@revoked` are understood;
`@cert-authority` lines are left alone. Used by `client`, between key exchange and login.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError, TargetError
from asset_ledger.sources.ssh.errors import HOST_KEY_MISMATCH, HOST_KEY_UNKNOWN

_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}


@dataclass(frozen=True, slots=True)
class _Line:
    revoked: bool
    patterns: tuple[str, ...]
    key_type: str
    blob: bytes

    def matches(self, name: str) -> bool:
        hit = False
        for pattern in self.patterns:
            if pattern.startswith("!"):
                if fnmatchcase(name, pattern[1:]):
                    return False
            elif pattern.startswith("|1|"):
                hit = hit or _hash_matches(pattern, name)
            # brackets are literal here, as in `[192.0.2.1]:2222`
            elif pattern == name or fnmatchcase(name, pattern.replace("[", "[[]")):
                hit = True
        return hit


def _hash_matches(pattern: str, name: str) -> bool:
    parts = pattern.split("|")
    if len(parts) != 4:
        return False
    try:
        salt, digest = base64.b64decode(parts[2], validate=True), base64.b64decode(parts[3], validate=True)
    except (binascii.Error, ValueError):
        return False
    # HMAC-SHA1 is OpenSSH's format of a hashed host name (HashKnownHosts), not a signature
    return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)


def _blob_of(key_type: str, text: str) -> bytes | None:
    """Return the key's bytes if they are whole and of that type: a torn line must not become another key."""
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    fields: list[bytes] = []
    position = 0
    while position < len(blob):
        length = int.from_bytes(blob[position : position + 4], "big")
        fields.append(blob[position + 4 : position + 4 + length])
        position += 4 + length
    whole = position == len(blob) and len(fields) >= (2 if key_type == "ssh-ed25519" else 3)
    return blob if whole and fields[0] == key_type.encode() else None


def _parse_line(text: str) -> _Line | None:
    fields = text.split()
    revoked = False
    if fields and fields[0].startswith("@"):
        if fields[0] != "@revoked":
            return None
        revoked, fields = True, fields[1:]
    if len(fields) < 3 or fields[0].startswith("#"):
        return None
    blob = _blob_of(fields[1], fields[2])
    if blob is None:
        return None
    return _Line(
        revoked, tuple(fields[0].lower().split(",")) if "|" not in fields[0] else (fields[0],), fields[1], blob
    )


def fingerprint(blob: bytes) -> str:
    """Return `SHA256:…` of a public key as ssh-keygen shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def host_name(address: str, port: int) -> str:
    """Return how known_hosts spells an address: bare on port 22, `[address]:port` else."""
    return address.lower() if port == 22 else f"[{address.lower()}]:{port}"


class KnownHosts:
    """The known keys. Safe to use from several threads; additions are safe across processes."""

    def __init__(self, path: Path, *, accept_first: bool = False) -> None:
        self.path = path.expanduser()
        self.accept_first = accept_first
        self._lock = threading.Lock()
        self._exact: dict[str, list[_Line]] = {}
        self._others: list[_Line] = []
        self._stamp: tuple[int, int, int] | None = None
        self._load()

    def _file_stamp(self) -> tuple[int, int, int] | None:
        with suppress(FileNotFoundError):
            found = self.path.stat()
            return found.st_ino, found.st_size, found.st_mtime_ns
        return None

    def _load(self) -> None:
        try:
            self._stamp = self._file_stamp()
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            text = ""
        except OSError as error:
            raise PermanentError(
                CONFIG_INVALID, f"known_hosts cannot be read: {error.strerror}", target=str(self.path)
            ) from error
        self._exact, self._others = {}, []
        for raw in text.splitlines():
            if line := _parse_line(raw):
                self._remember(line)

    def _remember(self, line: _Line) -> None:
        if any(set(pattern) & set("*?!|") for pattern in line.patterns):
            self._others.append(line)
            return
        for pattern in line.patterns:
            self._exact.setdefault(pattern, []).append(line)

    def _lines(self, name: str) -> list[_Line]:
        return [*self._exact.get(name, ()), *(line for line in self._others if line.matches(name))]

    def __len__(self) -> int:
        return len(self._exact) + len(self._others)

    def preferred_algorithms(self, name: str, offered: tuple[str, ...]) -> tuple[str, ...]:
        """Return the host key algorithms with those of the known keys first.

        A host that has several keys must be asked for the one that is known, or a key of another
        type looks like a changed key.
        """
        with self._lock:
            known = [line.key_type for line in self._lines(name) if not line.revoked]
        first = [a for key_type in known for a in _ALGORITHMS.get(key_type, (key_type,)) if a in offered]
        return tuple(dict.fromkeys((*first, *offered)))

    def verify(self, name: str, key_type: str, blob: bytes) -> bool:
        """Return False for a known key, True for one that was accepted (and recorded) just now.

        Raises TargetError: SSH_HOST_KEY_UNKNOWN, or SSH_HOST_KEY_MISMATCH for a changed or revoked key.
        """
        with self._lock:
            if self._check(name, blob):
                return False
            if not self.accept_first:
                raise TargetError(
                    HOST_KEY_UNKNOWN,
                    f"{key_type} {fingerprint(blob)} is not in {self.path} under {name}",
                    target=name,
                )
            return self._add(name, key_type, blob)

    def _check(self, name: str, blob: bytes) -> bool:
        lines = self._lines(name)
        if any(line.revoked and line.blob == blob for line in lines):
            raise TargetError(HOST_KEY_MISMATCH, f"the key {fingerprint(blob)} is revoked", target=name)
        known = [line for line in lines if not line.revoked]
        if any(line.blob == blob for line in known):
            return True
        if known:
            raise TargetError(
                HOST_KEY_MISMATCH,
                f"the host shows {fingerprint(blob)}, known_hosts holds "
                + ", ".join(f"{line.key_type} {fingerprint(line.blob)}" for line in known),
                target=name,
            )
        return False

    def _add(self, name: str, key_type: str, blob: bytes) -> bool:
        """Record a first key: the file is read again under a lock, then replaced in one step."""
        import fcntl

        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self.path.resolve()
            with path.with_name(path.name + ".lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if self._file_stamp() != self._stamp:
                    self._load()
                if self._check(name, blob):  # another process was first
                    return False
                before = path.read_bytes() if path.exists() else b""
                if before and not before.endswith(b"\n"):
                    before += b"\n"
                text = f"{name} {key_type} {base64.b64encode(blob).decode()}\n"
                mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
                fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
                try:
                    fresh.write_bytes(before + text.encode())
                    fresh.chmod(mode)
                    fresh.replace(path)
                    self._stamp = self._file_stamp()
                finally:
                    with suppress(FileNotFoundError):
                        fresh.unlink()
        except OSError as error:
            raise PermanentError(
                CONFIG_INVALID, f"known_hosts cannot be written: {error.strerror}", target=str(self.path)
            ) from error
        self._remember(_Line(False, (name,), key_type, blob))
        return True
