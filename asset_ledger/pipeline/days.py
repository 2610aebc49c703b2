"""What one run does for the days it is for: read what there is to read, keep it as raw, derive it, or plan that.

Day by day, each committed for itself, so that a day that fails holds up none of the others. Knows nothing of who
started the run: `assets.source_chain` calls it, inside the lock of the source, and shows what it returns.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.errors import RAW_MISSING, LedgerError, PermanentError
from asset_ledger.domain.outcome import Correction
from asset_ledger.domain.shards import Shard
from asset_ledger.pipeline.agents import take_waiting
from asset_ledger.pipeline.chains import Chain
from asset_ledger.pipeline.derive import Derived, DerivedDay, derive_day, plan_day
from asset_ledger.pipeline.inbox import by_day, inbox_of, is_settled, waiting
from asset_ledger.pipeline.intake import TakenFile, read_source, take_files
from asset_ledger.pipeline.ledger import Ledger, platform_of
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.database import Connection
from asset_ledger.store.derive.corrections import days_with_raw
from asset_ledger.store.query.chain_days import ChainDay, chain_days
from asset_ledger.store.query.checks import completeness_proofs, hosts_elsewhere
from asset_ledger.store.query.runs import failed_targets
from asset_ledger.store.raw import take_up
from asset_ledger.store.records import save_rejected_file, save_unread
from asset_ledger.store.sources import SourceRow

LATELY = 30
"""How many days, with its own, a run looks back for its picture."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a run is asked for. `files` and `complete` are for imports; with nothing said, a source is read for its day.

    `replay` reads nothing and derives again; `plan` neither reads nor writes. With `shard` only that part of a
    probing's machines is read; `attempts` are the runs that were to read it before, and this one. `mode` is what the
    run is called where it reads. With `others` the run does other chains of the source too: days with raw of these
    alone are passed over. At most `shown` failed targets of a day are returned.
    """

    days: tuple[date, ...]
    run_id: str
    mode: str = "collect"
    others: bool = False
    files: tuple[Path, ...] = ()
    complete: bool = False
    replay: bool = False
    plan: bool = False
    shard: Shard | None = None
    attempts: tuple[str, ...] = ()
    shown: int = 50

    @property
    def in_part(self) -> bool:
        """Whether other runs may be at work on the source: its other machines are read, or other months derived."""
        return self.shard is not None or (self.replay and not self.plan)


@dataclass(slots=True)
class Day:
    """What a run did for one day. `mode` is `replay` where no raw was added; without `derived` no raw is kept of it.

    `hosts` says which readings told of the hosts that its machines run on (`store.query.checks.hosts_elsewhere`);
    `lately` what the LATELY days up to the last of the run came to.
    """

    day: date
    mode: str = "replay"
    derived: Sequence[Derived] = ()
    corrections: Sequence[Correction] = ()
    files: Sequence[TakenFile] = ()
    failed: Sequence[Mapping[str, Any]] = ()
    proofs: Sequence[Mapping[str, Any]] = ()
    hosts: Sequence[Mapping[str, Any]] = ()
    lately: Mapping[date, ChainDay] = field(default_factory=dict)
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Done:
    """What a run came to: the days it did, and the days that failed with why. The others of a range are done."""

    days: list[Day] = field(default_factory=list)
    failed: dict[date, Exception] = field(default_factory=dict)

    @property
    def read(self) -> bool:
        """Whether raw was added."""
        return any(day.mode != "replay" for day in self.days)

    @property
    def derived(self) -> list[date]:
        """The days of which there is anything."""
        return [day.day for day in self.days if day.derived]


class ConnectionLostError(Exception):
    """The connection went with a day of a range. `done` is what it came to until then; `unreached` was not tried."""

    def __init__(self, done: Done, unreached: Sequence[date]) -> None:
        super().__init__("the connection to the ledger was lost")
        self.done = done
        self.unreached = unreached


def told(error: Exception) -> str:
    """Return what an error says, with its notes on lines of their own."""
    text = str(error) if isinstance(error, LedgerError) else f"{type(error).__name__}: {error}"
    return "\n".join([text, *getattr(error, "__notes__", ())])


def totals(derived: Iterable[Derived]) -> dict[str, int]:
    """Return the sums of the counts of several readings; empty where there was none."""
    sums: dict[str, int] = {}
    for one in derived:
        for key, value in one.outcome.counts.items():
            sums[key] = sums.get(key, 0) + value
    return sums


@dataclass(frozen=True, slots=True)
class SourceRun:
    """One run of a chain whose source's lock is held. What is worth a line goes to `log` as it happens."""

    ledger: Ledger
    connection: Connection
    chain: Chain
    row: SourceRow
    request: Request
    log: logging.Logger

    @property
    def source(self) -> SourceConfig:
        """The source that is read."""
        return self.chain.source

    def do(self) -> Done:
        """Do the days that are asked for, in their order.

        Raises what fails of a run for one day; PermanentError(RAW_MISSING) where no day has anything;
        ConnectionLostError where it is not known any more whether a day of a range was done.
        """
        days = self.request.days
        done = Done()
        today = collected_date(datetime.now(UTC))
        for number, day in enumerate(map(Day, days), 1):
            try:
                self._do_day(day, today)
            except Exception as error:
                if len(days) == 1:
                    raise
                done.failed[day.day] = error
                self.log.warning("%s %s: failed: %s", self.source.name, day.day, told(error))
                if self.connection.closed or self.connection.broken:
                    # nothing after it can be done, and whether it was done itself is not known
                    raise ConnectionLostError(done, days[number:]) from error
            else:
                done.days.append(day)
        if done.derived and not self.request.plan:
            self._look_back(done.days)
        # of a shard, what it read may have been derived by another one's run
        if not done.failed and not done.derived and not (self.request.shard and done.read):
            for file in (file for day in done.days for file in day.files):
                if file.error is not None:
                    raise file.error
            span = f"{days[0]} to {days[-1]}" if len(days) > 1 else f"{days[0]}"
            if not self.request.others or not days_with_raw(self.connection, self.row.id, days[0], days[-1]):
                raise PermanentError(RAW_MISSING, f"nothing to read or replay for {span}", target=self.source.name)
            self.log.warning("%s: no raw of scope %s is kept for %s", self.source.name, self.chain.scope, span)
        return done

    def _look_back(self, days: Sequence[Day]) -> None:
        """Put the last days of the chain beside each day, asked for once however many days the run is for."""
        first, last = min(day.day for day in days), max(day.day for day in days)
        lately = chain_days(
            self.connection,
            self.row.id,
            scope=self.chain.scope,
            covers=self.chain.covers,
            first=first - timedelta(days=LATELY - 1),
            last=last,
        )
        for day in days:
            day.lately = lately

    def _do_day(self, day: Day, today: date) -> None:
        """Read what there is to read for a day, derive it or plan that, and note in `day` what it came to."""
        started = time.monotonic()
        connection, source, row, request = self.connection, self.source, self.row, self.request
        covers = self.chain.covers
        if request.plan:
            made = plan_day(connection, source, row, day.day, covers=covers)
        else:
            try:
                if not request.replay:
                    self._read(day, today)
            except LedgerError:
                if request.shard is not None:
                    # others may have left theirs to this run, which began before them
                    self._derive(day)
                raise
            made = self._derive(day)
        day.derived, day.corrections = made.readings, made.corrections
        for one in day.derived:
            if one.unreported:
                self.log.warning("%s", one.unreported)
        if not request.plan:
            inventories = [one.inventory.id for one in day.derived]
            day.failed = failed_targets(connection, inventories, request.shown)
            day.proofs = completeness_proofs(connection, inventories)
            if self.chain.has_machines_on_hosts and covers:
                day.hosts = hosts_elsewhere(connection, inventories)
        day.duration_s = time.monotonic() - started
        counts = {name: count for name, count in totals(day.derived).items() if count}
        nothing = "no raw is kept" if request.shard is None else "nothing is left to be derived by this run"
        self.log.info("%s %s: %s", source.name, day.day, counts or nothing)

    def _derive(self, day: Day) -> DerivedDay:
        request = self.request
        return derive_day(
            self.connection,
            self.source,
            self.row,
            day.day,
            covers=self.chain.covers,
            run_id=request.run_id,
            mode=day.mode if request.shard is None else request.mode,
            inbox=inbox_of(self.source),
            part=request.in_part,
            shared=request.shard is not None,
        )

    def _read(self, day: Day, today: date) -> None:
        """Read what the source has for the day, if it has anything; the day's mode says whether raw was added."""
        run_id, mode, scope = self.request.run_id, self.request.mode, self.chain.scope
        if platform_of(self.source).contract != "push":
            if day.day == today:
                try:
                    read_source(
                        self.ledger,
                        self.connection,
                        self.source,
                        self.row,
                        scope=scope,
                        run_id=run_id,
                        mode=mode,
                        shard=self.request.shard,
                        attempts=self.request.attempts,
                    )
                except Exception as error:
                    # no target of a run is without its record, whatever kept it from being read
                    save_unread(self.connection, self.row, day.day, error, run_id=run_id, mode=mode, scope=scope)
                    raise
                day.mode = mode
            elif self.request.shard is not None and take_up(self.connection, self.row, day.day, self.request.attempts):
                # midnight has passed since it was read, and killed
                day.mode = mode
            return
        if platform_of(self.source).queue is not None:
            taken = take_waiting(self.connection, self.source, self.row, day.day, run_id=run_id, mode=mode)
            if taken.reports:
                self.log.info("%s %s: took in %s reports", self.source.name, day.day, taken.reports)
                day.mode = mode
            return
        inbox = inbox_of(self.source)
        if inbox is None:
            return
        day.files = take_files(
            self.connection,
            self.source,
            self.row,
            self._named(inbox) if self.request.files else self._waiting(inbox, day.day),
            day.day,
            inbox=inbox,
            run_id=run_id,
            mode=mode,
            complete=self.request.complete,
        )
        for file in day.files:
            self.log.info("%s: %s (%s)", file.name, file.state, file.note)
            if file.error is not None:
                save_rejected_file(self.connection, self.row, day.day, file.name, file.error, run_id=run_id)
        if any(file.state == "taken" for file in day.files):
            day.mode = mode

    def _named(self, inbox: Path) -> list[Path]:
        """Return the files the run was given, without those that another run took out of the inbox meanwhile."""
        gone = [file for file in self.request.files if file.parent == inbox and not file.exists()]
        if gone:
            self.log.warning("no more in the inbox: %s", ", ".join(file.name for file in gone))
        return [file for file in self.request.files if file not in gone]

    def _waiting(self, inbox: Path, day: date) -> list[Path]:
        """Return the files of a day that wait in the inbox and are whole."""
        now = datetime.now(UTC)
        mine = [file for file, its_day in by_day(waiting(inbox), now) if its_day == day]
        still = [file.shown for file in mine if not is_settled(file)]
        if still:
            self.log.warning("left in the inbox because they may still be written: %s", ", ".join(still))
        return [file.path for file in mine if is_settled(file)]
