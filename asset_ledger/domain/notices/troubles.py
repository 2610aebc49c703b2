"""What is wrong, in the words of all who tell of it: a trouble, what was looked at, how it stands, what is told.

A trouble has a kind, a place and a code; its subjects are machines, findings or days. What of it is news is decided in
`news`, what is no cause of its own in `causes`; what a run did is put into troubles in `run`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Literal, get_args

from asset_ledger.domain.shards import SLOTS

Kind = Literal["failed_run", "canceled_run", "failed_target", "held_removal", "finding", "failed_check", "silent"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Severity = Literal["info", "warning", "error", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From the least on."""
News = Literal["new", "more", "still", "well"]

STOPPED = "STOPPED"
"""Of what somebody stopped, and so knows: told once."""

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


def worst(severities: Iterable[Severity]) -> Severity:
    """Return the worst of these; `info` where there is none."""
    return max(severities, key=SEVERITIES.index, default="info")
