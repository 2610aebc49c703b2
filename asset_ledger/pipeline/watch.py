"""How it stands with every source: is what is due there and whole, has it its usual size. For checks and metrics alike.

What is expected of a scope is made of sources.yaml here; `domain.freshness` and `domain.cliffs` decide, over one query
for all sources. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any

from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.cliffs import DayCount, Usual, is_cliff, usual
from asset_ledger.domain.freshness import Due, Expectation, due
from asset_ledger.pipeline.chains import ALL, Chain, chains, timed
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.database import Connection
from asset_ledger.store.query.watch import Watched, standing

WATCH_JOB = "ledger_watch"


@dataclass(frozen=True, slots=True)
class Attempt:
    """The newest reading of a scope, or attempt at one, that came to an end. `complete` is what its proof says."""

    at: datetime
    status: str
    complete: bool
    error_code: str | None
    run_id: str | None
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """A chain at `now`: what is `due` of it (None: nothing), its days with a reading that counts, newest first, with
    the instant of the newest (`read_at`), and the newest attempt."""

    chain: Chain
    now: datetime
    due: Due | None
    days: tuple[DayCount, ...] = ()
    read_at: datetime | None = None
    newest: Attempt | None = None

    @property
    def fresh(self) -> bool:
        """Whether what is due is there. What nothing is expected of is never stale."""
        return self.due is None or (bool(self.days) and self.days[0].day >= self.due.day)

    @property
    def age_s(self) -> float | None:
        """How long ago the newest reading that counts was made; None where there is none."""
        return None if self.read_at is None else max(0.0, (self.now - self.read_at).total_seconds())

    @property
    def days_behind(self) -> int | None:
        """How many days the newest is older than what is due, 0 where it is not; None where there is none."""
        if not self.days:
            return None
        return 0 if self.due is None else max(0, (self.due.day - self.days[0].day).days)

    @property
    def whole(self) -> bool:
        """Whether the newest attempt is a reading to its end, proven where readings of the platform can be."""
        if self.newest is None:
            return True
        # a reading whose raw is kept and that waits to be derived says nothing of its completeness yet
        derived = self.newest.complete or not self.chain.platform.complete_by_nature
        return self.newest.status == "raw" or (self.newest.status == "derived" and derived)

    @property
    def usual(self) -> Usual | None:
        """What the newest day is compared with; None where days are too few, or readings add up to no whole."""
        return usual(self.days) if self.chain.platform.contract != "push" else None

    @property
    def cliff(self) -> bool:
        """Whether the newest day has far fewer or far more records than usual, by the thresholds of its source."""
        source, of = self.chain.source, self.usual
        return of is not None and is_cliff(
            self.days[0].records, of, share=source.cliff_share, at_least=source.cliff_at_least
        )


def expectation(chain: Chain) -> Expectation:
    """Return when a chain is expected to be read: as its source says, or by the schedules that read it."""
    source = chain.source
    return Expectation(
        crons=tuple(each.cron for each in timed(source) if each.scope in (chain.scope, ALL)),
        every_days=None if source.every is None else int(source.every.removesuffix("d")),
        by=None if source.fresh_by is None else time.fromisoformat(source.fresh_by),
    )


def standings(connection: Connection, sources: Sequence[SourceConfig], *, now: datetime) -> list[Standing]:
    """Return how it stands with every chain of these sources, in their order, by one query."""
    every = [chain for source in sources for chain in chains(source)]
    watched = [
        Watched(
            chain.source.name,
            chain.scope,
            proves=chain.platform.complete_by_nature,
            live=chain.platform.contract != "push",
            by_target=chain.platform.contract == "probe",
        )
        for chain in every
    ]
    found = {(row["source"], row["scope"]): row for row in standing(connection, watched, today=collected_date(now))}
    return [_standing(chain, now, found.get((chain.source.name, chain.scope))) for chain in every]


def _standing(chain: Chain, now: datetime, row: Mapping[str, Any] | None) -> Standing:
    asked = due(expectation(chain), now)
    if row is None:
        return Standing(chain, now, asked)
    # a probe that reached none of its targets was made, and has read nothing
    days = [day for day in row["days"] if day["records"] or not day["failed"]]
    newest = row["newest"]
    return Standing(
        chain,
        now,
        asked,
        tuple(DayCount(datetime.fromisoformat(day["day"]).date(), day["records"]) for day in days),
        _instant(days[0]["at"]) if days else None,
        None
        if newest is None
        else Attempt(
            at=_instant(newest["at"]),
            status=newest["status"],
            complete=newest["complete"],
            error_code=newest["error_code"],
            run_id=newest["run_id"],
            missing=tuple(str(reason) for reason in newest["missing"]),
        ),
    )


def _instant(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)
