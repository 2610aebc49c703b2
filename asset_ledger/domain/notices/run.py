"""What one run did, as people are to hear of it: read from Dagster and the ledger by others, put into troubles here.

A run that replays kept raw says nothing of today: of it only that it failed is told, under a place of its own, and
that it went well ends nothing that a reading began.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from asset_ledger.domain.notices.redaction import redacted
from asset_ledger.domain.notices.troubles import Follows, Kind, Looked, Severity, Trouble, mark, part, whole
from asset_ledger.domain.shards import Shard

Status = Literal["success", "failure", "canceled"]

TOLD_ELSEWHERE = frozenset({"every_target_read", "absences_within_threshold"})
"""Checks that say of a run what its failed targets and held removals say too, with less."""


@dataclass(frozen=True, slots=True)
class StepFailed:
    """A step that failed, or the run itself where `step` is empty. `category` is that of its code."""

    step: str
    code: str
    category: str
    message: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class CheckSaid:
    """What one asset check said. `asset` is the key as shown: pve_lab/ledger_assets. `follows` is what it says that it
    follows from, where it failed, and `advice` the next step, which is not in `message`."""

    asset: str
    name: str
    passed: bool
    severity: Severity
    day: str | None
    message: str
    follows: Follows = ""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What Dagster knows of a run that ended. Only texts and numbers: it is kept as JSON. `shard` is what it read of a
    probing (`3/8`), empty where that was all of it."""

    run_id: str
    job: str
    status: Status
    mode: str
    source: str
    scope: str
    day: str
    owner: str
    started_at: datetime
    ended_at: datetime
    succeeded: tuple[str, ...] = ()
    failed: tuple[StepFailed, ...] = ()
    checks: tuple[CheckSaid, ...] = ()
    shard: str = ""

    @property
    def replays(self) -> bool:
        """Whether it derived past days again, so that it looked at nothing that is now."""
        return self.mode == "replay"

    def place(self, what: str) -> str:
        """Return under what a failure of a step or job of this run is counted."""
        return f"replay of {what}" if self.replays else what

    def parts(self, what: str) -> tuple[str, ...]:
        """Return the subjects of such a failure, or of a source that could not be read: the slots of a shard, so that
        no other shard's success ends it, and the shards of any other cut do."""
        place = self.place(what)
        try:
            slots = Shard.named(self.shard).slots if self.shard else ()
        except ValueError:  # a tag that somebody wrote
            slots = ()
        return tuple(part(place, slot) for slot in slots) or (place,)

    def as_json(self) -> dict[str, Any]:
        """Return it as a document, without what may be a secret."""
        document = asdict(self)
        document["started_at"], document["ended_at"] = self.started_at.isoformat(), self.ended_at.isoformat()
        for one in (*document["failed"], *document["checks"]):
            one["message"] = redacted(one["message"])
        return document


def facts_of(document: Mapping[str, Any]) -> RunFacts:
    """Return the facts that a document holds."""
    return RunFacts(
        run_id=document["run_id"],
        job=document["job"],
        status=document["status"],
        mode=document["mode"],
        source=document["source"],
        scope=document["scope"],
        day=document["day"],
        owner=document["owner"],
        started_at=datetime.fromisoformat(document["started_at"]),
        ended_at=datetime.fromisoformat(document["ended_at"]),
        succeeded=tuple(document["succeeded"]),
        failed=tuple(StepFailed(**one) for one in document["failed"]),
        checks=tuple(CheckSaid(**one) for one in document["checks"]),
        shard=document.get("shard", ""),
    )


def place_of(source: str, scope: str) -> str:
    """Return what a reading is counted under: the source, or the scope of it."""
    return source if scope in ("", "all") else f"{source} {scope}"


@dataclass(frozen=True, slots=True)
class TargetSaid:
    """What the ledger has of one target of a run, in the order it was written."""

    source: str
    scope: str
    target: str
    status: str
    code: str | None
    message: str | None
    advice: str | None

    @property
    def place(self) -> str:
        """What it is counted under: the source, or the scope of it."""
        return place_of(self.source, self.scope)


@dataclass(frozen=True, slots=True)
class HeldReading:
    """A reading whose absences wait for a person."""

    id: int
    source: str
    scope: str
    waiting: int


@dataclass(frozen=True, slots=True)
class Found:
    """A finding that opened while the run ran."""

    id: str
    kind: str
    source: str
    name: str


def troubles_of(
    facts: RunFacts,
    targets: Sequence[TargetSaid] = (),
    held: Iterable[HeldReading] = (),
    findings: Iterable[Found] = (),
) -> list[Trouble]:
    """Return what is wrong by a run. A target that came several times counts once, by what was said of it last."""
    found = [*_of_run(facts), *_of_checks(facts)]
    if facts.replays:
        return found
    last = {(one.place, one.target): one for one in targets}
    found += [
        Trouble(
            "failed_target",
            one.source,
            one.place,
            one.code or "DEFECT",
            "error" if one.target == one.place else "warning",
            facts.parts(one.place) if one.target == one.place else (one.target,),
            one.message or "",
            one.advice or "",
            f"asset-ledger runs show {facts.run_id[:8]} --failed",
            facts.owner,
            "run" if one.target == one.place else "",
        )
        for one in last.values()
        if one.status == "failed"
    ]
    for reading in held:
        place = place_of(reading.source, reading.scope)
        found.append(
            Trouble(
                "held_removal",
                reading.source,
                place,
                "ABSENCES_HELD",
                "error",
                (f"reading {reading.id}",),
                f"{reading.waiting} machines were not seen, too many at once: none counts as missing until a person "
                "decides",
                "",
                f"asset-ledger absences show {reading.id}",
                facts.owner,
            )
        )
    found += [
        Trouble(
            "finding",
            one.source,
            one.source,
            one.kind.upper(),
            "warning",
            # two findings may be of one name
            (f"{one.name} {one.id[:8]}",),
            "",
            "",
            f"asset-ledger findings list --kind {one.kind}",
            facts.owner,
        )
        for one in findings
    ]
    return found


def looked_at(
    facts: RunFacts,
    targets: Sequence[TargetSaid] = (),
    sources_asked: Iterable[str] = (),
) -> list[Looked]:
    """Return what the run looked at. `sources_asked` are those whose held readings were asked for."""
    found = [_went_well(facts, "failed_run", step) for step in facts.succeeded]
    if facts.status == "success":
        found += [_went_well(facts, "failed_run", facts.job), _went_well(facts, "canceled_run", facts.job)]
    if facts.replays:
        return found
    by_place: dict[str, set[str]] = {}
    if facts.shard and facts.status == "success":
        # a shard may have no machine, or one that is down for good: that its run ended well says that it can be read
        by_place[place_of(facts.source, facts.scope)] = set(_read(facts, place_of(facts.source, facts.scope)))
    for one in targets:
        by_place.setdefault(one.place, set()).add(mark(one.target))
        # that a source could be read at all is said by any of its targets that was
        if one.status != "failed":
            by_place[one.place] |= _read(facts, one.place)
    found += [Looked("failed_target", place, frozenset(marks)) for place, marks in by_place.items()]
    found += [Looked("held_removal", source) for source in sources_asked]
    found += [
        Looked("failed_check", f"{one.asset} {one.name}", frozenset({mark(_subject(one))}))
        for one in facts.checks
        if one.passed
    ]
    return found


def _went_well(facts: RunFacts, kind: Kind, what: str) -> Looked:
    return Looked(kind, facts.place(what), _read(facts, what) if facts.shard else None)


def _read(facts: RunFacts, what: str) -> frozenset[str]:
    """Return the marks of what went well by a run: of a place all, in whatever cut it failed; of a shard its slots."""
    # the place itself stands for what failed before the source was read in shards
    return frozenset(map(mark, (facts.place(what), *facts.parts(what)))) if facts.shard else whole(facts.place(what))


def _of_run(facts: RunFacts) -> Iterator[Trouble]:
    # a run is found in the ledger only where it read something; Dagster shows each
    command = f"asset-ledger runs show {facts.run_id[:8]} --failed" if facts.source else ""
    if facts.status == "canceled":
        yield Trouble(
            "canceled_run",
            facts.source,
            facts.place(facts.job),
            "CANCELED",
            "warning",
            facts.parts(facts.job),
            "somebody, or the monitor of runs, ended it before it was done",
            "",
            command,
            facts.owner,
        )
    if facts.status != "failure":
        return
    for one in facts.failed or (StepFailed("", "RUN_FAILED", "", "it ended before any step could fail"),):
        place = one.step or facts.job
        yield Trouble(
            "failed_run",
            facts.source,
            facts.place(place),
            one.code,
            # what the ledger itself lacks stops every source
            "critical" if one.category == "storage" else "error",
            facts.parts(place),
            one.message,
            one.advice,
            command,
            facts.owner,
        )


def _of_checks(facts: RunFacts) -> Iterator[Trouble]:
    for one in facts.checks:
        if one.passed or one.name in TOLD_ELSEWHERE or facts.replays:
            continue
        source = one.asset.partition("/")[0]
        yield Trouble(
            "failed_check",
            source,
            f"{one.asset} {one.name}",
            one.name,
            one.severity,
            (_subject(one),),
            one.message,
            one.advice,
            "",
            facts.owner,
            one.follows,
        )


def _subject(one: CheckSaid) -> str:
    return f"{one.asset} {one.name}"
