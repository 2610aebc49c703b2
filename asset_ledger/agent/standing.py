"""How far this agent is: what it reported last, kept over restarts. Lost, it costs one report too many."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from asset_ledger.agent import durable

FILE = "standing.json"
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Standing:
    """`accepted`: SHA-256 of the newest report that the server has, by which a heartbeat says so. `digest`: what was
    told last, on disk or there, of what lasts. `told_at` in seconds since 1970, by this machine's clock."""

    client_id: str = ""
    accepted: str = ""
    digest: str = ""
    told_at: float = 0.0

    def due(self, digest: str, now: float) -> bool:
        """Say whether something changed, or a day is over; a clock that jumped by a day counts as one."""
        return digest != self.digest or abs(now - self.told_at) >= DAY_S


class Kept:
    """The standing in one folder."""

    def __init__(self, folder: Path, client_id: str) -> None:
        self._path = folder / FILE
        self.now = Standing(client_id=client_id)
        with suppress(OSError, ValueError, TypeError):
            found = Standing(**json.loads(self._path.read_text(encoding="utf-8")))
            # of another client nothing holds: its server has never heard of this machine
            if found.client_id == client_id:
                self.now = replace(
                    found, accepted=str(found.accepted), digest=str(found.digest), told_at=float(found.told_at)
                )
        self._told_at = time.monotonic()

    def due(self, digest: str, now: float) -> bool:
        """Say whether a report is due, by the wall's clock or by one that nobody sets."""
        return self.now.due(digest, now) or time.monotonic() - self._told_at >= DAY_S

    def told(self, digest: str, now: float, *, accepted: str | None = None) -> None:
        """Keep that a report was told: on disk alone, or accepted."""
        self.now = replace(self.now, digest=digest, told_at=now, accepted=accepted or self.now.accepted)
        self._told_at = time.monotonic()
        self._write()

    def accepted(self, sha256: str) -> None:
        """Keep that one that was told before has reached the server."""
        self.now = replace(self.now, accepted=sha256)
        self._write()

    def _write(self) -> None:
        with suppress(OSError):  # a full disk; then it is told once more after a restart
            durable.write(self._path, json.dumps(asdict(self.now)).encode() + b"\n")
