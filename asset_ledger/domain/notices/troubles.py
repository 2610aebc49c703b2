"""What is news: the first time that a thing fails, what joins it, and that it is well again. Repeats are counted.

A trouble is told once under its kind, place and code; its subjects (machines, findings, days) are each told once while
it lasts. Called by `pipeline.notices`; what a run did is put into troubles in `run`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, get_args

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

Key = tuple[Kind, str, str]


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

    `told_at` is when people were last told of it.
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

    @property
    def key(self) -> Key:
        return self.kind, self.place, self.code


@dataclass(frozen=True, slots=True)
class Entry:
    """What a digest says of one trouble. `count` is how many subjects it is about now, `fresh` how many of them are
    told for the first time; `shown` are a few of their names."""

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


def decide(
    troubles: Iterable[Trouble],
    looked: Sequence[Looked],
    standing: Mapping[Key, Standing],
    *,
    now: datetime,
    again_after: timedelta,
) -> Decided:
    """Return what of these troubles is news. In whatever order they come, the answer is the same."""
    entries: list[Entry] = []
    known: list[Entry] = []
    after: list[Standing] = []
    told = _joined(troubles)
    for key in sorted({*told, *standing}):
        trouble, before = told.get(key), standing.get(key)
        if trouble is not None:
            entry, stands = _told(trouble, before, looked, now, again_after)
            (known if entry.news == "still" and stands.told_at != now else entries).append(entry)
            after.append(stands)
        elif before is not None and (over := _without(before, looked)) is not before:
            after.append(over)
            if over.closed:
                entries.append(_well(before))
    return Decided(tuple(entries), tuple(known), tuple(after))


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
    trouble: Trouble, before: Standing | None, looked: Sequence[Looked], now: datetime, again_after: timedelta
) -> tuple[Entry, Standing]:
    marks = {mark(subject): subject for subject in trouble.subjects}
    if before is None:
        failing, fresh, news, since, times = frozenset(marks), set(marks), "new", now, 0
        told_before: frozenset[str] = frozenset()
        told_at = now
    else:
        failing = _without(before, looked).failing | marks.keys()
        told_before, since, times = before.told, before.opened_at, before.times
        fresh = marks.keys() - told_before
        worse = SEVERITIES.index(trouble.severity) > SEVERITIES.index(before.severity)
        due = trouble.kind in REMINDED and trouble.code != STOPPED and now - before.told_at >= again_after
        news = "more" if fresh or worse else "still"
        told_at = now if fresh or worse or due else before.told_at
    shown = sorted(marks[one] for one in (fresh or marks))[:SHOWN]
    entry = Entry(
        news=news,  # type: ignore[arg-type]  # one of the three
        kind=trouble.kind,
        source=trouble.source,
        place=trouble.place,
        code=trouble.code,
        severity=trouble.severity,
        count=len(failing),
        fresh=len(fresh),
        shown=tuple(shown),
        since=since,
        message=trouble.message,
        advice=trouble.advice,
        command=trouble.command,
        owner=trouble.owner,
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
        told=told_before | marks.keys(),
    )
    return entry, stands


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
        count=len(before.told),
        fresh=0,
        shown=(),
        since=before.opened_at,
    )
