"""A newer agent: asked for, downloaded with resuming, and trusted for its SHA-256 alone, over the whole file.

It lies beside then (`updates/` in the state folder). It takes no program's place unless a person named that one.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform as machine
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asset_ledger.agent import durable
from asset_ledger.agent.client import Answer, Client, retry_after
from asset_ledger.agent.collect import agent_version
from asset_ledger.agent.identity import make_private
from asset_ledger.agent.verdicts import demanded
from asset_ledger.domain.agents import versions
from asset_ledger.domain.errors import (
    AGENT_BINARY_DAMAGED,
    AGENT_REFUSED,
    PermanentError,
)

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

SLICE_S = 20.0
"""How long a running agent downloads at once, before it is time for a heartbeat."""
MOST_BYTES = 1 << 30
_CHUNK = 1 << 18
_AT = "/api/v1/agent-versions"


class UnfinishedError(Exception):
    """The time was over before the download was; what is there is kept, and the next one goes on."""


@dataclass(frozen=True, slots=True)
class Offered:
    """A newer agent of this platform that the server has. `size` in bytes."""

    version: str
    platform: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """A newer agent that lies here, and is what the server promised."""

    version: str
    sha256: str
    path: Path


def here() -> str:
    """Return this machine's platform, as `linux-amd64`. Raises PermanentError for one that no agent is built for."""
    found = versions.platform_of(machine.system(), machine.machine())
    if found is None:
        raise PermanentError(
            AGENT_REFUSED, "no agent is built for it", target=f"{machine.system()} {machine.machine()}"
        )
    return found


def is_newer(version: str, than: str) -> bool:
    """Say whether a version is newer than another; one that cannot be read is not, and nothing is than such a one."""
    try:
        return versions.parse(version) > versions.parse(than)
    except ValueError:
        return False


def fetch(client: Client, token: str, home: Path, *, within_s: float = math.inf) -> Fetched | None:
    """Bring the newest agent of this platform here; None where there is none newer than this one.

    Raises UnfinishedError, LedgerError, and OSError of this machine's disk. What was downloaded stays in all but one
    case: it is whole and not what was promised.
    """
    until = time.monotonic() + within_s
    wanted = offered(client, token)
    if wanted is None or not is_newer(wanted.version, agent_version()):
        return None
    folder = home / "updates"
    make_private(folder)
    path = folder / f"asset-ledger-agent-{wanted.version}-{wanted.platform}"
    if not path.is_file() or _sha256(path) != wanted.sha256:
        part = folder / f"{wanted.sha256}.part"
        for other in folder.iterdir():
            if other != part:  # what an older version left
                other.unlink()
        _download(client, token, wanted, part, until)
        part.chmod(0o700)
        part.replace(path)
        durable.sync_folder(folder)
    return Fetched(wanted.version, wanted.sha256, path)


def put(found: Fetched, path: Path) -> None:
    """Put a fetched agent in the place of a program. Raises OSError or PermanentError, and then the old one stands."""
    durable.write_pieces(path, _proven(found), mode=0o755)


def _proven(found: Fetched) -> Iterator[bytes]:
    """Yield a fetched agent's content. Raises PermanentError at its end where it is not what it was."""
    digest = hashlib.sha256()
    with found.path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            yield chunk
    if digest.hexdigest() != found.sha256:
        raise PermanentError(AGENT_BINARY_DAMAGED, "it was changed since it was fetched", target=str(found.path))


def offered(client: Client, token: str) -> Offered | None:
    """Ask which agent is the newest for this platform; None where the server has none."""
    platform = here()
    answer = client.ask("GET", f"{_AT}/latest?platform={platform}", token=token)
    if answer.status == 404 and (answer.document or {}).get("code") == "NO_VERSION":
        return None
    said = demanded(client.server, answer, token)
    try:
        found = Offered(str(versions.parse(said["version"])), platform, _size(said["size"]), _digest(said["sha256"]))
    except (KeyError, TypeError, ValueError):
        raise client.away("its answer does not say which agent it has") from None
    return found


def _download(client: Client, token: str, wanted: Offered, part: Path, until: float) -> None:
    """Fill a part file up to the whole, and compare it."""
    path = f"{_AT}/{wanted.version}/binaries/{wanted.platform}"
    had = part.stat().st_size if part.exists() else 0
    if had > wanted.size:
        had = 0
    if had < wanted.size:
        # the ETag is the content's digest: another content is sent whole
        asked = {"Range": f"bytes={had}-", "If-Range": f'"{wanted.sha256}"'} if had else {}
        with (
            client.opened("GET", path, token=token, headers=asked) as answer,
            part.open("r+b" if part.exists() else "xb") as file,
        ):
            file.truncate(_begin(client, answer, wanted, had, token))
            file.seek(0, os.SEEK_END)
            try:
                _copy(answer, file, wanted, until)
            finally:
                file.flush()
                os.fsync(file.fileno())
    size = part.stat().st_size
    if size < wanted.size:
        raise client.away(f"the download of {wanted.version} broke off after {size} of {wanted.size} bytes; it goes on")
    if _sha256(part) != wanted.sha256:
        part.unlink()
        raise PermanentError(
            AGENT_BINARY_DAMAGED,
            f"agent {wanted.version} for {wanted.platform} came with another SHA-256 than the server said",
            target=client.server,
        )


def _begin(client: Client, answer: BaseHTTPResponse, wanted: Offered, had: int, token: str) -> int:
    """Return from which byte on an answer is. Raises LedgerError where it is none of the file."""
    if answer.status == 206:
        if answer.headers.get("Content-Range") != f"bytes {had}-{wanted.size - 1}/{wanted.size}":
            raise client.away("it sent another part of the file than it was asked for")
        return had
    if answer.status == 200:
        return 0
    from urllib3.exceptions import HTTPError

    with suppress(HTTPError):
        demanded(client.server, Answer(answer.status, answer.read(_CHUNK), retry_after(answer.headers)), token)
    raise client.away(f"it answered {answer.status} in place of the file")


def _copy(answer: BaseHTTPResponse, file: Any, wanted: Offered, until: float) -> None:
    while chunk := answer.read1(_CHUNK, decode_content=False):
        file.write(chunk[: max(wanted.size - file.tell(), 0)])
        if file.tell() >= wanted.size:
            return
        if time.monotonic() > until:
            raise UnfinishedError


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(said: Any) -> int:
    if not isinstance(said, int) or not 0 < said <= MOST_BYTES:
        raise ValueError
    return said


def _digest(said: Any) -> str:
    if not isinstance(said, str) or re.fullmatch(r"[0-9a-f]{64}", said) is None:
        raise ValueError
    return said
