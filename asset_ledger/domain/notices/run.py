"""What one run did, as people are to hear of it: read from Dagster and the ledger by others, put into troubles here.

A run that replays kept raw says nothing of today: of it only that it failed is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from asset_ledger.domain.notices.redaction import redacted
from asset_ledger.domain.notices.troubles import Looked, Severity, Trouble, mark

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


@dataclass(frozen=True, slots=True)
class CheckSaid:
    """What one asset check said. `asset` is the key as shown: pve_lab/ledger_assets."""

    asset: str
    name: str
    passed: bool
    severity: Severity
    day: str | None
    message: str


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What Dagster knows of a run that ended. Only texts and numbers: it is kept as JSON."""

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

    @property
    def replays(self) -> bool:
        """Whether it derived past days again, so that it looked at nothing that is now."""
        return self.mode == "replay"

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
    )


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
        return self.source if self.scope == "all" else f"{self.source} {self.scope}"


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
            (one.target,),
            one.message or "",
            one.advice or "",
            f"asset-ledger runs show {facts.run_id[:8]} --failed",
            facts.owner,
        )
        for one in last.values()
        if one.status == "failed"
    ]
    for reading in held:
        place = reading.source if reading.scope == "all" else f"{reading.source} {reading.scope}"
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
    if facts.replays:
        return [Looked("failed_run", step) for step in facts.succeeded]
    found = [Looked("failed_run", step) for step in facts.succeeded]
    if facts.status == "success":
        found += [Looked("failed_run", facts.job), Looked("canceled_run", facts.job)]
    by_place: dict[str, set[str]] = {}
    for one in targets:
        by_place.setdefault(one.place, set()).add(mark(one.target))
    for place, marks in by_place.items():
        # that a source could be read at all is said by any of its targets that was
        answered = any(one.place == place and one.status != "failed" for one in targets)
        found.append(Looked("failed_target", place, frozenset(marks | ({mark(place)} if answered else set()))))
    found += [Looked("held_removal", source) for source in sources_asked]
    found += [
        Looked("failed_check", f"{one.asset} {one.name}", frozenset({mark(_subject(one))}))
        for one in facts.checks
        if one.passed
    ]
    return found


def _of_run(facts: RunFacts) -> Iterator[Trouble]:
    # a run is found in the ledger only where it read something; Dagster shows each
    command = f"asset-ledger runs show {facts.run_id[:8]} --failed" if facts.source else ""
    if facts.status == "canceled":
        yield Trouble(
            "canceled_run",
            facts.source,
            facts.job,
            "CANCELED",
            "warning",
            (facts.job,),
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
            place,
            one.code,
            # what the ledger itself lacks stops every source
            "critical" if one.category == "storage" else "error",
            (place,),
            one.message,
            "",
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
            "",
            "",
            facts.owner,
        )


def _subject(one: CheckSaid) -> str:
    return f"{one.asset} {one.name}"
