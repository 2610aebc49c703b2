"""Who this machine's agent is: the file with its token, and by what the server knows the machine again.

The file belongs to its owner alone; one that others may read is refused, as ssh refuses such a key.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from asset_ledger.agent import durable
from asset_ledger.domain.errors import AGENT_IDENTITY_UNSAFE, AGENT_NOT_ENROLLED, PermanentError

FILE = "identity.json"
_MOST_BYTES = 64 << 10
_UNSAFE = stat.S_IRWXG | stat.S_IRWXO
_MACHINE_ID = Path("/etc/machine-id")
_PRODUCT_UUID = Path("/sys/class/dmi/id/product_uuid")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NO_UUIDS = frozenset({"0" * 32, "f" * 32, "03000200040005000006000700080009"})
"""What boards say whose maker gave them none."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which client of which server this is. `ca_file` is None where the system's own CAs are trusted."""

    server: str
    client_id: str
    token: str = field(repr=False)
    ca_file: str | None = None


def load(path: Path) -> Identity:
    """Read an identity file. Raises PermanentError where it is none, or others may read it."""
    try:
        document = json.loads(private_text(path))
        found = Identity(
            str(document["server"]), str(document["client_id"]), str(document["token"]), document.get("ca_file")
        )
    except FileNotFoundError:
        raise PermanentError(AGENT_NOT_ENROLLED, "there is no such file", target=str(path)) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        # without what the file says: a token may be in it
        raise PermanentError(AGENT_NOT_ENROLLED, "it is no identity file", target=str(path)) from None
    return found


def save(path: Path, identity: Identity) -> None:
    """Write an identity file, mode 0600. Raises OSError.

    It belongs to whom its folder belongs to: root enrols, and the agent runs as a user of its own.
    """
    make_private(path.parent)
    document = {
        "server": identity.server,
        "client_id": identity.client_id,
        "token": identity.token,
        "ca_file": identity.ca_file,
    }
    durable.write(path, json.dumps(document, indent=2).encode() + b"\n")
    owner = path.parent.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.chown(path, owner.st_uid, owner.st_gid)


def make_private(folder: Path) -> None:
    """Make a folder for this user alone; one that is there stays as it is. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def private_text(path: Path) -> str:
    """Read a small file with a secret. Raises PermanentError where others than its owner may read or write it."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(file, "rb") as opened:
        found = os.fstat(file)
        if stat.S_ISREG(found.st_mode) and found.st_mode & _UNSAFE:
            raise PermanentError(
                AGENT_IDENTITY_UNSAFE, f"its mode is {stat.S_IMODE(found.st_mode):04o}", target=str(path)
            )
        return opened.read(_MOST_BYTES).decode()


def machine_key(home: Path) -> str:
    """Return by what the server knows this machine again: a SHA-256, so that the ids themselves stay here.

    It is made of the system's machine-id and, where it may be read, the hardware's UUID: clones of a disk have the one
    in common, containers of a host the other. Where there is no machine-id, one is made up and kept in `home`.
    """
    machine = _line(_MACHINE_ID)
    if len(machine) < 32:  # "uninitialized", or an image that has none
        made_up = home / "machine-id"
        machine = _line(made_up)
        if not machine:
            make_private(home)
            machine = os.urandom(16).hex()
            durable.write(made_up, machine.encode() + b"\n")
    return hashlib.sha256(f"asset-ledger {machine} {product_uuid() or ''}".encode()).hexdigest()


def machine_id() -> str | None:
    """Return the system's machine-id; None where it has none."""
    found = _line(_MACHINE_ID)
    return found if len(found) >= 32 else None


def product_uuid() -> str | None:
    """Return the hardware's UUID as its firmware says it; None where it may not be read, or is a maker's filler.

    Root alone may read it. The systemd unit passes it on as a credential.
    """
    places = [Path(folder) / "product_uuid"] if (folder := os.environ.get("CREDENTIALS_DIRECTORY")) else []
    for place in (*places, _PRODUCT_UUID):
        found = _line(place).lower()
        if _UUID.fullmatch(found) and found.replace("-", "") not in _NO_UUIDS:
            return found
    return None


def _line(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")[:200].strip()
    except OSError:
        return ""
