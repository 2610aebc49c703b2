"""A source under a scenario: read on the days of the story, derived, replayed, and held to the bars after each step.

The clock stands still at the story's instant while the ledger works, so that a step made again gives the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine

from asset_ledger.domain.errors import LedgerError
from asset_ledger.domain.outcome import Correction, Outcome
from asset_ledger.pipeline.derive import derive_day
from asset_ledger.pipeline.intake import read_source
from asset_ledger.pipeline.ledger import Ledger, platform_of, source_row
from asset_ledger.settings import Settings
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.database import Connection, connect, rows
from asset_ledger.store.sources import SourceRow, exclusive
from tests.faults.bars import Bars
from tests.faults.doubles import Double
from tests.faults.world import NONE, Faults, World, estate, hides

SHANGHAI = ZoneInfo("Asia/Shanghai")
NINE = "09:00"


def instant(day: str, at: str = NINE) -> datetime:
    """Return the instant of a wall-clock time in Asia/Shanghai on a day."""
    return datetime.combine(date.fromisoformat(day), time.fromisoformat(at), SHANGHAI).astimezone(UTC)


@dataclass
class Site:
    """One source over one ledger, played by a double."""

    double: Double
    connection: Connection
    row: SourceRow
    ledger: Ledger
    bars: Bars
    world: World = field(default_factory=World)
    faults: Faults = NONE
    others: list[SourceConfig] = field(default_factory=list)
    """Further sources that the story brought into the ledger."""
    now: datetime = field(default_factory=lambda: instant("2026-10-01"))
    runs: int = 0
    corrections: tuple[Correction, ...] = ()
    """What the last derivation corrected."""

    def reading(self, world: World, faults: Faults = NONE) -> None:
        """Show a world with faults to the readings that follow."""
        if unplayable := faults.names - self.double.supports:
            why: Mapping[str, str] = getattr(self.double, "cannot", {})
            said = "; ".join(f"{fault} ({why[fault]})" if fault in why else fault for fault in sorted(unplayable))
            pytest.skip(f"this double cannot play {said}")
        self.world, self.faults = world, faults
        self.double.reading(world, faults)

    def estate(self, vms: int = 12) -> World:
        """Return a world with as many clusters as a source of the double can have, and hosts if it tells of any."""
        return estate(vms, clusters=self.double.clusters, hosts=self.double.hosts)

    def collect(self, day: str, *, scope: str = "all", at: str = NINE, judged: bool = True) -> list[Outcome]:
        """Read the source on a day and derive it, as a run does; the bars are held whether it succeeds or not."""
        self.demand_scopes(scope)
        self.runs += 1
        before = self.one("SELECT coalesce(max(id), 0) FROM ledger.inventories")
        try:
            with self.on(day, at), exclusive(self.connection, self.row, covers=self.covers(scope)):
                self.remember()
                return self.collect_now(scope)
        finally:
            if hides(self.world, self.faults, scope):
                new = self.rows("SELECT id FROM ledger.inventories WHERE id > %s", before)
                self.bars.hidden |= {row["id"] for row in new}
            if judged:
                self.bars.hold()

    def collect_now(self, scope: str = "all") -> list[Outcome]:
        """Read the source at the instant it is and derive the day; whoever calls holds the source's lock."""
        inventory = read_source(
            self.ledger,
            self.connection,
            self.double.source,
            self.row,
            scope=scope,
            run_id=f"run-{self.runs}",
            mode="collect",
            at=datetime.now(UTC),  # as it is said to be
        )
        return self._derive(inventory.collected_date, "collect", scope)

    def covers(self, scope: str) -> tuple[str, ...]:
        """Return the external kinds of a scope; none where it is all of them."""
        return platform_of(self.double.source).scopes[scope]

    def demand_scopes(self, *scopes: str) -> None:
        """Skip a scenario that reads parts which the platform does not read apart."""
        if lacking := set(scopes) - platform_of(self.double.source).scopes.keys():
            pytest.skip(f"this platform has no scope {', '.join(sorted(lacking))}")

    def fails(self, day: str, *, scope: str = "all", at: str = NINE) -> LedgerError:
        """Collect and return the error that it must end with."""
        with pytest.raises(LedgerError) as caught:
            self.collect(day, scope=scope, at=at)
        return caught.value

    def replay(self, day: str, *, scope: str = "all", now: str | None = None, at: str = "20:00") -> list[Outcome]:
        """Derive a day, or a scope of it, again from kept raw, at a later instant (`now`: the last day there was)."""
        self.runs += 1
        later = now or self.now.astimezone(SHANGHAI).date().isoformat()
        try:
            with self.on(later, at), exclusive(self.connection, self.row, covers=self.covers(scope)):
                return self._derive(date.fromisoformat(day), "replay", scope)
        finally:
            self.bars.hold()

    @contextmanager
    def on(self, day: str, at: str = NINE) -> Iterator[datetime]:
        """Let the clock stand at an instant of the story."""
        self.now = instant(day, at)
        with time_machine.travel(self.now, tick=False):
            yield self.now

    def asset(self, name: str) -> dict[str, Any]:
        """Return the one ledger asset of a hostname."""
        (found,) = self.assets(name)
        return found

    def assets(self, name: str) -> list[dict[str, Any]]:
        """Return the ledger assets of a hostname, merged ones too, in the order in which they came."""
        return self.rows("SELECT * FROM ledger.assets WHERE hostname = %s ORDER BY created_at, id", name)

    def missing(self) -> set[str]:
        """Return the hostnames of the assets that are missing."""
        return {
            row["hostname"] for row in self.rows("SELECT hostname FROM ledger.assets WHERE missing_since IS NOT NULL")
        }

    def relations(self, name: str) -> list[tuple[str, str, bool]]:
        """Return what a machine hangs or hung on, in order: kind, name of the other end, and whether it still does."""
        found = self.rows(
            """
            SELECT t.kind, o.hostname, t.ended_at IS NULL AS open FROM ledger.topology t
            JOIN ledger.assets a ON a.id = t.from_asset_id LEFT JOIN ledger.assets o ON o.id = t.to_asset_id
            WHERE a.hostname = %s ORDER BY t.began_at, t.to_external_id
            """,
            name,
        )
        return [(row["kind"], row["hostname"], row["open"]) for row in found]

    def last_reading(self) -> dict[str, Any]:
        """Return the newest reading's row."""
        return self.rows("SELECT * FROM ledger.inventories ORDER BY id DESC LIMIT 1")[0]

    def days_of(self, name: str) -> list[str]:
        """Return the days of which an asset of this hostname has rows."""
        found = self.rows(
            "SELECT DISTINCT collected_date FROM ledger.asset_daily_specs "
            "WHERE asset_id IN (SELECT id FROM ledger.assets WHERE hostname = %s) ORDER BY 1",
            name,
        )
        return [row["collected_date"].isoformat() for row in found]

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        return rows(self.connection, query, list(parameters) or None)

    def one(self, query: str, *parameters: Any) -> Any:
        (row,) = self.connection.execute(query, list(parameters) or None).fetchall()
        return row[0] if len(row) == 1 else row

    def _derive(self, day: date, mode: str, scope: str) -> list[Outcome]:
        derived = derive_day(
            self.connection,
            self.double.source,
            self.row,
            day,
            covers=self.covers(scope),
            run_id=f"run-{self.runs}",
            mode=mode,
        )
        self.corrections = derived.corrections
        return [one.outcome for one in derived.readings]

    def remember(self) -> None:
        """Note for the bars which machines a reading at this instant is told of, or would be if nothing went wrong."""
        told = () if self.faults.nothing else self.world.machines()
        self.bars.present[self.now] = {
            self.double.name(machine): self.double.generation(machine)
            for machine in told
            if machine.id not in self.faults.lies_without
        }


@contextmanager
def opened(url: str, folder: Path, double: Double) -> Iterator[Site]:
    """Open a site over a database."""
    settings = Settings(folder / "home", folder / "sources.yaml", url, None, folder)
    with connect(url) as connection:
        row = source_row(connection, double.source)
        yield Site(double, connection, row, Ledger(settings), Bars(connection, double.source.name))
