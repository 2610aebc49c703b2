"""What became of what a plan predicted, by the run that followed it. Pure.

Told by who stood where before the run and after it, by what the resources are then, and by the events of its versions.
A state alone cannot say why: what a plan predicts and the run did not come to is not done, whoever is to blame.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from asset_ledger.domain.iac.agreement import Comparing, unsaid
from asset_ledger.domain.iac.events import Action
from asset_ledger.domain.iac.plans import PredictedEvent
from asset_ledger.domain.iac.snapshot import Place

Outcome = Literal["as_predicted", "otherwise", "not_done"]

_CAUSES: Mapping[str, tuple[Action, ...]] = {
    "create": ("create", "replace"),
    "import": ("create",),
    "update": ("update",),
    "replace": ("replace", "create"),
    "delete": ("delete", "forget"),
    "forget": ("delete", "forget"),
    "moved": ("moved",),
}
"""Which event of a state is the one that was predicted."""


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of one of the run's versions."""

    version: int
    sequence: int
    stable_uid: UUID
    action: str
    place: Place


@dataclass(frozen=True, slots=True)
class Run:
    """A run: who stood where `before` it and `after` it, what `happened`, in order, and what is there now.

    `attributes` returns what stands in a place after it, redacted; None for nothing. `tainted` are the places whose
    objects are to be replaced.
    """

    before: Mapping[Place, UUID]
    after: Mapping[Place, UUID]
    happened: Sequence[Happened]
    attributes: Callable[[Place], Mapping[str, Any] | None] = field(repr=False)
    tainted: Collection[Place] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of one predicted event: who it was about, and the event that did it, or did otherwise."""

    outcome: Outcome | None
    stable_uid: UUID | None
    event: Happened | None


def judged(events: Sequence[PredictedEvent], run: Run) -> list[Judged]:
    """Return what became of each predicted event. Drift is no prediction: it has no outcome.

    Raises UntoldError (`agreement`) where that would take too long to tell.
    """
    comparing = Comparing()
    by_uid: dict[UUID, list[Happened]] = {}
    by_place: dict[Place, list[Happened]] = {}
    for each in run.happened:
        by_uid.setdefault(each.stable_uid, []).append(each)
        by_place.setdefault(each.place, []).append(each)
    left = frozenset(run.after.values())
    found: list[Judged] = []
    for event in events:
        was = run.before.get(event.origin) or run.before.get(event.place)
        if event.action == "drift":
            found.append(Judged(None, was, None))
            continue
        now = run.after.get(event.place)
        own = {
            (each.version, each.sequence): each
            for each in (*by_uid.get(was, ()), *by_uid.get(now, ()), *by_place.get(event.place, ()))  # type: ignore[arg-type]
        }
        mine = [own[order] for order in sorted(own)]
        outcome: Outcome
        if _reached(event, was, now, mine, left) and _fits(event, run, mine, comparing):
            outcome = "as_predicted"
        else:
            outcome = "otherwise" if mine else "not_done"
        uid = was if event.action in ("delete", "forget") else now or was
        found.append(Judged(outcome, uid, _cause(event, mine, uid)))
    return found


def _reached(
    event: PredictedEvent, was: UUID | None, now: UUID | None, mine: Sequence[Happened], left: Collection[UUID]
) -> bool:
    """Say whether the run came to where the plan wanted to go, whatever the attributes are."""
    did = {each.action for each in mine if each.stable_uid == now}
    match event.action:
        case "delete" | "forget":
            return now is None and was not in left and (was is not None or bool(mine))
        case "create" | "import":
            return now is not None and now != was
        case "moved":
            return now is not None and (now == was if was is not None else "moved" in did)
        case "update":
            return now is not None and was in (now, None) and "replace" not in did
    # of what has no number of its own (a VM's) the state shows that it went and came back
    again = now != was or "replace" in did or {"delete", "create"} <= did
    return now is not None and again and (was in (now, None) or was not in left)


def _fits(event: PredictedEvent, run: Run, mine: Sequence[Happened], comparing: Comparing) -> bool:
    """Say whether what is there now is what the plan said it would be."""
    if event.action not in ("create", "import", "update", "replace"):
        return True
    if event.place in run.tainted:
        return False
    if not mine and not any(_decisive(step) for step in event.patch):
        return False  # nothing happened, and nothing that can be compared says that nothing had to
    found = run.attributes(event.place)
    return found is not None and comparing.agrees(event.after, found)


def _cause(event: PredictedEvent, mine: Sequence[Happened], uid: UUID | None) -> Happened | None:
    wanted = _CAUSES[event.action]
    return max(
        mine,
        key=lambda each: (each.action in wanted, each.stable_uid == uid, each.version, each.sequence),
        default=None,
    )


def _decisive(step: Mapping[str, Any]) -> bool:
    return step["op"] != "remove" and not _open(step["value"])


def _open(value: Any) -> bool:
    """Say whether something in a value is hidden or not known yet."""
    if isinstance(value, Mapping):
        return any(map(_open, value.values()))
    if isinstance(value, list):
        return any(map(_open, value))
    return unsaid(value)
