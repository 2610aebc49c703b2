"""What is news: the first time that a thing fails, what joins it, and that it is well again. Repeats are counted.

A trouble is told once under its kind, place and code; its subjects (machines, findings, days) are each told once while
it lasts. Called by `pipeline.notices`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from asset_ledger.domain.notices.causes import causes
from asset_ledger.domain.notices.troubles import (
    SEVERITIES,
    STOPPED,
    Cause,
    Entry,
    Key,
    Kind,
    Looked,
    News,
    Standing,
    Trouble,
    count,
    mark,
    whole,
    worst,
)

REMINDED: frozenset[Kind] = frozenset({"failed_run", "failed_target", "held_removal", "failed_check", "silent"})
"""What is told again after a while though nothing changed. A finding is open until somebody has time for it."""
TOLD_AS_ONE: frozenset[Kind] = frozenset({"failed_run", "canceled_run"})
"""Of these no subject that joins is news: the shards of one reading fail for one cause."""
SHOWN = 3
"""Names of an entry: the rest is a number, and a command that lists them."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What people are told, what they are not told again, and how every trouble stands after it."""

    entries: tuple[Entry, ...]
    known: tuple[Entry, ...]
    standing: tuple[Standing, ...]


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
        entry = replace(_of(one, "still", count), fresh=count)
        if words is not None:
            shown = () if one.kind == "finding" else words.shown
            entry = replace(_in_words_of(words, entry), shown=shown)
        found.append(entry)
    return found


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
    return _in_words_of(by, _of(cause, "still", cause.count))


def _in_words_of(one: Entry | Trouble, entry: Entry) -> Entry:
    return replace(entry, message=one.message, advice=one.advice, command=one.command, owner=one.owner)


def _without(before: Standing, looked: Sequence[Looked]) -> Standing:
    """Return how it stands when all that was looked at is well; the same object where nothing of it was."""
    failing = before.failing
    for one in looked:
        if one.covers(before):
            failing = frozenset() if one.subjects is None else failing - one.subjects
    return before if failing == before.failing else replace(before, failing=failing, closed=not failing)


def _well(before: Standing) -> Entry:
    return _of(before, "well", count(before.told, before.place))


def _of(one: Standing, news: News, count: int) -> Entry:
    """Return what is told of how a trouble stands, without a word on why."""
    return Entry(
        news=news,
        kind=one.kind,
        source=one.source,
        place=one.place,
        code=one.code,
        severity=one.severity,
        count=count,
        fresh=0,
        shown=(),
        since=one.opened_at,
        under=one.under,
    )


def _in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Return entries by their key, a cause of which several troubles remind once."""
    return [one for _, one in sorted({one.key: one for one in reversed(list(entries))}.items())]
