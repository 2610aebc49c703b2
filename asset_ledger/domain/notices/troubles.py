"""What is news: the first time that a thing fails, what joins it, and that it is well again. Repeats are counted.

A trouble is told once under its kind, place and code; its subjects (machines, findings, days) are each told once while
it lasts. Called by `pipeline.notices`; what a run did is put into troubles in `run`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal, get_args

from asset_ledger.domain.notices.causes import causes
from asset_ledger.domain.shards import SLOTS

Kind = Literal["failed_run", "canceled_run", "failed_target", "held_removal", "finding", "failed_check", "silent"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Severity = Literal["info", "warning", "error", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From the least on."""
News = Literal["new", "more", "still", "well"]

REMINDED: frozenset[Kind] = frozenset({"failed_run", "failed_target", "held_removal", "failed_check", "silent"})
"""What is told again after a while though nothing changed. A finding is open until somebody has time for it."""
STOPPED = "STOPPED"
"""Of what somebody stopped, and so knows: told once."""

TOLD_AS_ONE: frozenset[Kind] = frozenset({"failed_run", "canceled_run"})
"""Of these no subject that joins is news: the shards of one reading fail for one cause."""

Key = tuple[Kind, str, str]
Cause = tuple[Kind, Severity]
Follows = Literal["", "run", "reading", "targets", "fewer"]
"""What a trouble may follow from, so that it is no cause of its own: the run that says so, the newest attempt at a
reading, targets that could not be read, machines that were not seen (`causes`)."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong. `place` is what it is counted under (`pve_lab hosts`, a step, a check), `source` the
    source it is of, or empty. `command` shows more of it."""

    kind: Kind
    source: str
    place: str
    code: str
    severity: Severity
    subjects: tuple[str, ...]
    message: str = ""
    advice: str = ""
    command: str = ""
    owner: str = ""
    follows: Follows = ""

    @property
    def key(self) -> Key:
        return self.kind, self.place, self.code


@dataclass(frozen=True, slots=True)
class Looked:
    """What a run looked at, so that a trouble it does not mention is over. `subjects` None is all of the place, `code`
    None any of it."""

    kind: Kind
    place: str
    subjects: frozenset[str] | None = None
    code: str | None = None

    def covers(self, one: Standing) -> bool:
        """Say whether it speaks of a trouble: of the same place, or of a scope of it."""
        return (
            self.kind == one.kind
            and self.code in (None, one.code)
            and (one.place == self.place or one.place.startswith(f"{self.place} "))
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """A trouble that was told and is not over. `failing` and `told` are marks of subjects, `times` how often it came.

    `told_at` is when people were last told of it. `under` are the causes that it followed from when it came: who is
    told of one of these was not told of it.
    """

    kind: Kind
    source: str
    place: str
    code: str
    severity: Severity
    opened_at: datetime
    told_at: datetime
    times: int
    failing: frozenset[str]
    told: frozenset[str]
    closed: bool = False
    under: tuple[Cause, ...] = ()

    @property
    def key(self) -> Key:
        return self.kind, self.place, self.code

    @property
    def whole(self) -> bool:
        """Whether it is the place itself that fails now: a source, or shards of it, not some of its targets."""
        return self.kind == "failed_target" and not self.failing.isdisjoint(whole(self.place))

    @property
    def count(self) -> int:
        """How many subjects it is about now."""
        return count(self.failing, self.place)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a digest says of one trouble. `count` is how many subjects it is about now, `fresh` how many of them are
    told for the first time; `shown` are a few of their names. A place that fails itself is one, in however many slots.

    Who is told of a cause that it is `under` is not told of it. Where it is `alone`, that cause is over and it is not:
    it is for those alone who were not told of it before.
    """

    news: News
    kind: Kind
    source: str
    place: str
    code: str
    severity: Severity
    count: int
    fresh: int
    shown: tuple[str, ...]
    since: datetime
    message: str = ""
    advice: str = ""
    command: str = ""
    owner: str = ""
    under: tuple[Cause, ...] = ()
    alone: bool = False

    @property
    def key(self) -> Key:
        return self.kind, self.place, self.code


@dataclass(frozen=True, slots=True)
class Decided:
    """What people are told, what they are not told again, and how every trouble stands after it."""

    entries: tuple[Entry, ...]
    known: tuple[Entry, ...]
    standing: tuple[Standing, ...]


SHOWN = 3
"""Names of an entry: the rest is a number, and a command that lists them."""


def mark(subject: str) -> str:
    """Return by what a subject is known again. Names may be long, and many are kept."""
    return hashlib.blake2b(subject.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def part(place: str, slot: int) -> str:
    """Return the subject of a slot of a place that is read in shards: slots are the same in every cut."""
    return f"{place} slot {slot}"


@lru_cache(maxsize=256)
def whole(place: str) -> frozenset[str]:
    """Return the marks under which a place itself fails: its own, and those of all its slots."""
    return frozenset(map(mark, (place, *(part(place, slot) for slot in range(SLOTS)))))


def count(marks: frozenset[str], place: str) -> int:
    """Return how many subjects of a place these marks are: the place itself is one, in however many slots."""
    targets = marks - whole(place)
    return len(targets) + (len(targets) < len(marks))


def decide(
    troubles: Iterable[Trouble],
    looked: Sequence[Looked],
    standing: Mapping[Key, Standing],
    *,
    now: datetime,
    again_after: timedelta,
) -> Decided:
    """Return what of these troubles is news. In whatever order they come, the answer is the same.

    What follows from a cause that is open is told to those alone who are not told of the cause. Where nothing but it
    says that the cause goes on (nobody tries to read the source any more), it is what reminds of the cause.
    """
    entries: list[Entry] = []
    known: list[Entry] = []
    after: dict[Key, Standing] = {}
    told = _joined(troubles)
    overs = {key: _without(before, looked) for key, before in standing.items() if key not in told}
    for key, over in overs.items():
        if over is not standing[key]:
            after[key] = over
            if over.closed:
                entries.append(_well(standing[key]))
    first = {key: _told(one, standing.get(key), looked, now, again_after)[1] for key, one in told.items()}
    open_now = sorted([*first.values(), *(one for one in overs.values() if not one.closed)], key=lambda one: one.key)
    for key, trouble in sorted(told.items()):
        above = causes(trouble, open_now)
        entry, stands = _told(trouble, standing.get(key), looked, now, again_after, above)
        (known if entry.news == "still" and stands.told_at != now else entries).append(entry)
        after[key] = stands
        for cause in above:
            if cause.key not in told and _due(cause, now, again_after):
                entries.append(_still(cause, trouble))
                after[cause.key] = replace(cause, told_at=now)
    return Decided(tuple(_in_order(entries)), tuple(known), tuple(after[key] for key in sorted(after)))


def open_still(standing: Iterable[Standing], last: Mapping[Key, Entry], findings: Mapping[Key, int]) -> list[Entry]:
    """Return what is open for somebody who was told nothing of it, in the words `last` in which others were told.

    `findings` are how many are open now: of those that were told some may be closed.
    """
    found = []
    for one in standing:
        words = last.get(one.key)
        count = findings.get(one.key, one.count)
        entry = Entry(
            news="still",
            kind=one.kind,
            source=one.source,
            place=one.place,
            code=one.code,
            severity=one.severity,
            count=count,
            fresh=count,
            shown=() if words is None or one.kind == "finding" else words.shown,
            since=one.opened_at,
            under=one.under,
        )
        if words is not None:
            entry = replace(entry, message=words.message, advice=words.advice, command=words.command, owner=words.owner)
        found.append(entry)
    return found


def worst(severities: Iterable[Severity]) -> Severity:
    """Return the worst of these; `info` where there is none."""
    return max(severities, key=SEVERITIES.index, default="info")


def _joined(troubles: Iterable[Trouble]) -> dict[Key, Trouble]:
    """Return the troubles by their key, with all subjects of those that share it, each once and in order."""
    found: dict[Key, Trouble] = {}
    for one in sorted(troubles, key=lambda each: (each.key, each.message, each.advice, each.subjects)):
        same = found.get(one.key, one)
        found[one.key] = replace(
            same,
            subjects=tuple(sorted({*same.subjects, *one.subjects})),
            severity=worst((same.severity, one.severity)),
        )
    return found


def _told(
    trouble: Trouble,
    before: Standing | None,
    looked: Sequence[Looked],
    now: datetime,
    again_after: timedelta,
    above: Sequence[Standing] = (),
) -> tuple[Entry, Standing]:
    itself = whole(trouble.place)
    named = {mark(subject): subject for subject in trouble.subjects}
    marks = frozenset(named)
    under: tuple[Cause, ...] = tuple(sorted({(one.kind, one.severity) for one in above}))
    # the cause is over and this is not: who was told of the cause alone hears of it now
    alone = before is not None and bool(before.under) and not {kind for kind, _ in before.under} & dict(under).keys()
    if before is None:
        failing, fresh, news, since, times = marks, marks, "new", now, 0
        told_before: frozenset[str] = frozenset()
        told_at = now
    else:
        failing = _without(before, looked).failing | marks
        told_before, since, times = before.told, before.opened_at, before.times
        fresh = frozenset() if trouble.kind in TOLD_AS_ONE else marks - told_before
        if not itself.isdisjoint(told_before):
            fresh -= itself  # that another shard of it failed too is the same
        worse = SEVERITIES.index(trouble.severity) > SEVERITIES.index(before.severity)
        news = "new" if alone else "more" if fresh or worse else "still"
        told_at = now if alone or fresh or worse or _due(before, now, again_after) else before.told_at
    shown = sorted({trouble.place if one in itself else named[one] for one in (fresh or marks)})[:SHOWN]
    entry = Entry(
        news=news,  # type: ignore[arg-type]  # one of the three
        kind=trouble.kind,
        source=trouble.source,
        place=trouble.place,
        code=trouble.code,
        severity=trouble.severity,
        count=count(failing, trouble.place),
        fresh=count(fresh, trouble.place),
        shown=tuple(shown),
        since=since,
        message=trouble.message,
        advice=trouble.advice,
        command=trouble.command,
        owner=trouble.owner,
        # what was told of it once, before there was a cause, was told to everybody
        under=under if before is None else before.under,
        alone=alone,
    )
    stands = Standing(
        kind=trouble.kind,
        source=trouble.source,
        place=trouble.place,
        code=trouble.code,
        severity=trouble.severity if before is None else worst((trouble.severity, before.severity)),
        opened_at=since,
        told_at=told_at,
        times=times + 1,
        failing=failing,
        told=told_before | marks,
        under=() if alone else entry.under,
    )
    return entry, stands


def _due(one: Standing, now: datetime, again_after: timedelta) -> bool:
    """Say whether a trouble that goes on is told again."""
    return one.kind in REMINDED and one.code != STOPPED and now - one.told_at >= again_after


def _still(cause: Standing, by: Trouble) -> Entry:
    """Return that a cause goes on, in the words of what follows from it."""
    return Entry(
        news="still",
        kind=cause.kind,
        source=cause.source,
        place=cause.place,
        code=cause.code,
        severity=cause.severity,
        count=cause.count,
        fresh=0,
        shown=(),
        since=cause.opened_at,
        message=by.message,
        advice=by.advice,
        command=by.command,
        owner=by.owner,
        under=cause.under,
    )


def _without(before: Standing, looked: Sequence[Looked]) -> Standing:
    """Return how it stands when all that was looked at is well; the same object where nothing of it was."""
    failing = before.failing
    for one in looked:
        if one.covers(before):
            failing = frozenset() if one.subjects is None else failing - one.subjects
    return before if failing == before.failing else replace(before, failing=failing, closed=not failing)


def _well(before: Standing) -> Entry:
    return Entry(
        news="well",
        kind=before.kind,
        source=before.source,
        place=before.place,
        code=before.code,
        severity=before.severity,
        count=count(before.told, before.place),
        fresh=0,
        shown=(),
        since=before.opened_at,
        under=before.under,
    )


def _in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Return entries by their key, a cause of which several troubles remind once."""
    return [one for _, one in sorted({one.key: one for one in reversed(list(entries))}.items())]
