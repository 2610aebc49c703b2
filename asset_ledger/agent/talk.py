"""The agent's talk with its server: a heartbeat, the reports that waited, and this machine's where one is due.

When something fails, what is due goes to disk and the next try waits. When it runs is `run`'s.
"""

from __future__ import annotations

import hashlib
import logging
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asset_ledger.agent import collect, identity, update
from asset_ledger.agent.client import BackOff, Client
from asset_ledger.agent.identity import Identity
from asset_ledger.agent.spool import Spool, Waiting
from asset_ledger.agent.standing import Kept
from asset_ledger.agent.verdicts import NotNowError, NotThisError, NotYouError, TooOldError, taken
from asset_ledger.domain.agents.inventory import digest, inventory
from asset_ledger.domain.agents.payload import PayloadError, read
from asset_ledger.domain.errors import LedgerError, RetryableError

HEARTBEAT_S = 60.0
RARELY_S = 3600.0
"""How often it is tried again where a person must do something first."""
ASKED_EVERY_S = 600.0
"""A server that asks for a report with every heartbeat gets one so often, not more often."""
_SHORTEST_S, _LONGEST_S = 5.0, 3600.0
_log = logging.getLogger("asset_ledger.agent")


@dataclass(frozen=True, slots=True)
class Options:
    """What a person says. Without `interval_s` the server says how often it wants to hear, without it each minute."""

    interval_s: float | None = None
    management_ip: str | None = None
    update_to: Path | None = None


@dataclass(frozen=True, slots=True)
class _Read:
    """This machine as it was last read."""

    document: dict[str, Any]
    digest: str
    at: float


class Talk:
    """One agent and its server. `look` and `speak` are called in turn, by one thread."""

    def __init__(self, home: Path, identity_file: Path, options: Options) -> None:
        self._home, self._identity_file, self._options = home, identity_file, options
        self._spool = Spool(home / "spool")
        self._back_off = BackOff()
        self._every_s = options.interval_s or HEARTBEAT_S
        self._last: _Read | None = None
        self._due = False
        self._silent = self._told_away = False
        self._refused: str | None = None
        self._loaded: tuple[int, int] | None = None
        self._reports_after = self._asked_after = self._update_after = 0.0
        self._load()

    @property
    def every_s(self) -> float:
        """How often this machine is read, and the server spoken to, give or take a fifth."""
        return self._every_s

    @property
    def waiting(self) -> int:
        """How many reports wait on disk."""
        return len(self._spool)

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def renewed(self) -> bool:
        """Say whether the identity file is another one by now, and come as that one from now on."""
        stamp = self._stamp()
        if stamp == self._loaded:
            return False
        self._loaded = stamp
        self.close()
        try:
            self._load()
        except (LedgerError, OSError) as error:
            _log.error("%s", error)
            return False
        self._refused = None
        self._back_off.succeeded()
        _log.info("enrolled anew: client %s of %s", self._identity.client_id, self._identity.server)
        return True

    def look(self) -> None:
        """Read this machine. A report that is due while the server is away goes to disk."""
        if self._refused:
            return
        now = time.time()
        document = collect.collect(now=now, management_ip=self._options.management_ip)
        try:
            found = digest(inventory(read(document))).hex()
        except PayloadError as error:
            _log.error("what was read of this machine cannot be sent: %s", error)
            return
        self._last = _Read(document, found, now)
        self._due = self._kept.due(found, now)
        if self._silent:
            self._keep_due()

    def speak(self) -> float:
        """Speak with the server. Return the seconds until it is to be spoken to again."""
        try:
            said = taken(self._ask("heartbeat", document={"inventory": self._kept.now.accepted}), self._identity.token)
            waited = self.waiting
            self._deliver(asked=said.get("send_inventory") is True)
            self._heard(waited)  # a server that beats and takes no reports is not back
            self._silent = False
            self._listen(said)
        except TooOldError as error:
            self._reports_after = time.monotonic() + RARELY_S
            self._silent = True
            self._keep_due()
            _log.error("%s %s; reports wait on disk until it is updated", self._identity.server, error)
        except NotYouError as error:
            return self._stop_reporting(str(error))
        except (NotNowError, NotThisError) as error:
            return self._away(str(error), getattr(error, "retry_after_s", None))
        except RetryableError as error:
            return self._away(error.message)
        self._back_off.succeeded()
        return self._every_s * random.uniform(0.8, 1.2)  # noqa: S311 - no secret, only no herd

    def _ask(self, what: str, *, document: dict[str, Any] | None = None, body: bytes | None = None) -> Any:
        return self._client.ask(
            "POST", f"/api/v1/agents/{what}", token=self._identity.token, document=document, body=body
        )

    def _deliver(self, *, asked: bool) -> None:
        """Send what waits, the oldest first, then what is due. Raises what `taken` and the client raise."""
        now = time.monotonic()
        if now < self._reports_after:
            self._keep_due()
            return
        for report in self._spool.waiting():
            self._send_waiting(report)
        if self._last is None or not (self._due or (asked and now >= self._asked_after)):
            return
        self._asked_after = now + ASKED_EVERY_S
        try:
            accepted = self._send(collect.body_of(self._last.document, spooled=False))
        except NotThisError as error:
            # the same again would be as little wanted: not before it changes, or a day is over
            _log.error("the server wants no such report: it %s", error)
            accepted = None
        self._due = False
        self._kept.told(self._last.digest, self._last.at, accepted=accepted)

    def _send_waiting(self, report: Waiting) -> None:
        try:
            if accepted := self._send(self._spool.read(report)):
                self._kept.accepted(accepted)
        except NotThisError as error:
            _log.error("a report that waited is dropped: the server %s", error)
        except OSError as error:
            _log.error("a report that waited cannot be read and is dropped: %s", error)
        self._spool.done(report)

    def _send(self, body: bytes) -> str | None:
        """Send a report. Return its SHA-256, by which the server is told that it has it; None where it is no newest."""
        said = taken(self._ask("report", body=body), self._identity.token)
        result = said.get("result")
        if isinstance(said.get("summary"), str) and result == "changed":
            _log.info("reported: %s", said["summary"][:300])
        return None if result == "late" else hashlib.sha256(body).hexdigest()

    def _keep_due(self) -> None:
        if not self._due or self._last is None:
            return
        snapshot = self._last.digest == self._kept.now.digest
        try:
            gone = self._spool.add(collect.body_of(self._last.document, spooled=True), snapshot=snapshot)
        except OSError as error:  # it stays due, and the next reading is kept in its place
            _log.error("a report cannot be kept on disk: %s", error)
            return
        if gone:
            _log.warning("no room for more reports on disk: %d of the oldest went", len(gone))
        self._due = False
        self._kept.told(self._last.digest, self._last.at)

    def _away(self, why: str, retry_after_s: float | None = None) -> float:
        self._silent = True
        self._keep_due()
        wait_s = self._back_off.failed(retry_after_s)
        if not self._told_away:
            self._told_away = True
            _log.warning(
                "%s: %s; reports wait on disk, tried again with longer and longer pauses", self._client.server, why
            )
        return wait_s

    def _heard(self, waited: int) -> None:
        if self._told_away:
            self._told_away = False
            _log.info("%s answers again; %d reports waited", self._client.server, waited)

    def _stop_reporting(self, why: str) -> float:
        self._back_off.succeeded()
        self._due = False
        if self._refused is None:
            _log.error(
                "%s %s. Nothing is reported from now on, what waits on disk stays. On this machine run "
                "`asset-ledger agent enroll --server %s --token-file FILE` with a user's token; it is seen at once",
                self._client.server,
                why,
                self._client.server,
            )
        self._refused = why
        return RARELY_S * random.uniform(0.8, 1.2)  # noqa: S311

    def _listen(self, said: dict[str, Any]) -> None:
        self._refused = None
        wanted = said.get("heartbeat_s")
        if self._options.interval_s is None and isinstance(wanted, int | float):
            self._every_s = min(max(float(wanted), _SHORTEST_S), _LONGEST_S)
        latest = said.get("latest_agent")
        if isinstance(latest, str) and time.monotonic() >= self._update_after:
            self._update_after = time.monotonic() + RARELY_S
            self._update(latest)

    def _update(self, latest: str) -> None:
        if not update.is_newer(latest, collect.agent_version()):
            return
        if self._options.update_to is None:
            _log.info("agent %.50s is published; `asset-ledger agent update` fetches it", latest)
            return
        try:
            found = update.fetch(self._client, self._identity.token, self._home, within_s=update.SLICE_S)
            if found is not None:
                update.put(found, self._options.update_to)
                _log.info("agent %s is at %s now", found.version, self._options.update_to)
        except update.UnfinishedError:
            self._update_after = 0.0  # goes on after the next heartbeat
        except (LedgerError, OSError) as error:
            _log.error("not updated: %s", error)

    def _load(self) -> None:
        self._loaded = self._stamp()
        self._identity: Identity = identity.load(self._identity_file)
        self._client: Client = Client(self._identity.server, self._identity.ca_file)
        self._kept: Kept = Kept(self._home, self._identity.client_id)

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._identity_file.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns
