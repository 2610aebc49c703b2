"""How it stands with every source: is what is due there and whole, has it its usual size. For checks and metrics alike.

What is expected of a scope is made of sources.yaml here; `domain.freshness` and `domain.cliffs` decide, over one query
for all sources and one for all probes: a day of a probing is there when every machine that it reads has its outcome,
however many runs shared it. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any, Literal

from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.cliffs import DayCount, Usual, is_cliff, usual
from asset_ledger.domain.freshness import Due, Expectation, due
from asset_ledger.domain.shards import Shard
from asset_ledger.pipeline.chains import ALL, Chain, chains, shards, timed
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.database import Connection
from asset_ledger.store.query.watch import Awaited, Watched, standing, without_outcome
from asset_ledger.store.sources import SourceRow
from asset_ledger.store.targets import probe_targets

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
class Partly:
    """A day of a probing of which `machines` that it reads have no outcome (yet), and the `shards` they are in."""

    day: date
    machines: int
    shards: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """A chain at `now`: what is `due` of it (None: nothing), its days with a reading that counts and is whole, newest
    first, with the instant of the newest (`read_at`), and the newest attempt.

    `failed` targets of the newest of `days` were not read. `partly` is a newer day that is not whole (yet);
    `unanswered` says that no machine of the newest day answered.
    """

    chain: Chain
    now: datetime
    due: Due | None
    days: tuple[DayCount, ...] = ()
    read_at: datetime | None = None
    newest: Attempt | None = None
    failed: int = 0
    partly: Partly | None = None
    unanswered: bool = False

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

    @property
    def cliff_follows(self) -> Literal["", "targets", "fewer"]:
        """What a cliff may follow from: targets that failed, where they make up for it, or fewer machines."""
        source, of = self.chain.source, self.usual
        if of is None or not self.cliff or self.days[0].records >= of.records:
            return ""
        with_them = self.days[0].records + self.failed
        if is_cliff(with_them, of, share=source.cliff_share, at_least=source.cliff_at_least):
            return "fewer"
        return "targets"


def expectation(chain: Chain) -> Expectation:
    """Return when a chain is expected to be read: as its source says, or by the schedules that read it."""
    source = chain.source
    return Expectation(
        crons=tuple(each.cron for each in timed(source) if each.scope in (chain.scope, ALL)),
        every_days=None if source.every is None else int(source.every.removesuffix("d")),
        by=None if source.fresh_by is None else time.fromisoformat(source.fresh_by),
    )


def standings(connection: Connection, sources: Sequence[SourceConfig], *, now: datetime) -> list[Standing]:
    """Return how it stands with every chain of these sources, in their order."""
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
    today = collected_date(now)
    found = {(row["source"], row["scope"]): row for row in standing(connection, watched, today=today)}
    partly: dict[str, dict[date, Partly]] = {}
    rows = [(chain, found.get((chain.source.name, chain.scope))) for chain in every]
    awaited = [one for chain, row in rows for one in _awaited(connection, chain, row)]
    parts = {chain.source.name: len(shards(chain.source)) for chain in every}
    for missed in without_outcome(connection, awaited, today=today) if awaited else ():
        of = parts[missed["source"]]
        named = tuple(str(Shard(number, of)) for number in missed["shards"]) if of else ()
        partly.setdefault(missed["source"], {})[missed["day"]] = Partly(missed["day"], missed["machines"], named)
    return [_standing(chain, now, row, partly.get(chain.source.name, {})) for chain, row in rows]


def _awaited(connection: Connection, chain: Chain, row: Mapping[str, Any] | None) -> list[Awaited]:
    """Return the machines that a probing reads, each with its shard; none where it was never made."""
    source, platform = chain.source, chain.platform
    if row is None or not row["days"] or platform.select is None:
        return []
    selection = platform.select(source)
    known = SourceRow(
        row["source_id"], source.name, platform.name, platform.platform_type, platform.source_type, source.zone
    )
    found = probe_targets(
        connection,
        known,
        selection.protocols,
        default_credential_ref=selection.default_credential_ref,
        needs_credential=selection.needs_credential,
    )
    cut = shards(source)
    return [
        Awaited(
            source.name,
            target.asset_id,
            target.mgmt_ip,
            # the worker's own machine is in no part that its address would say
            next((part.number for part in cut if target.protocol != "local" and part.has(target.mgmt_ip)), None),
        )
        for target in found
        if target.asset_id is not None and target.mgmt_ip is not None
    ]


def _standing(chain: Chain, now: datetime, row: Mapping[str, Any] | None, partly: Mapping[date, Partly]) -> Standing:
    asked = due(expectation(chain), now)
    if row is None:
        return Standing(chain, now, asked)
    every = [(date.fromisoformat(day["day"]), day) for day in row["days"]]
    # a probe that reached none of its targets was made, and has read nothing
    days = [(at, day) for at, day in every if (day["records"] or not day["failed"]) and at not in partly]
    newest = row["newest"]
    newer = [at for at, _ in every if at in partly and (not days or at > days[0][0])]
    return Standing(
        chain,
        now,
        asked,
        tuple(DayCount(at, day["records"]) for at, day in days),
        _instant(days[0][1]["at"]) if days else None,
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
        failed=days[0][1]["failed"] if days else 0,
        partly=partly[newer[0]] if newer else None,
        unanswered=bool(every) and not every[0][1]["records"] and every[0][1]["failed"] > 0,
    )


def _instant(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)
