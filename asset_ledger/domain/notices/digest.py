"""What is kept to be told to one receiver: entries of one run, redacted, and several such put into one.

A digest waits in the outbox as JSON (`store.notices`); `text` makes the words of it when it is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from asset_ledger.domain.notices.redaction import redacted
from asset_ledger.domain.notices.troubles import SEVERITIES, Entry, Severity, worst

_LONGEST_NAME = 80
_LONGEST_WORDS = 300
_LONGEST_STEP = 400
"""What to do has a room of its own: three commands, each with the name of a source."""
_ORDER = ("new", "more", "still", "well")


@dataclass(frozen=True, slots=True)
class Digest:
    """What one run, or one look at Dagster itself, gives to tell. `run_id` is empty where there was no run.

    `known` is how many troubles go on that are not told again.
    """

    title: str
    run_id: str
    status: str
    at: datetime
    entries: tuple[Entry, ...]
    known: int = 0
    owner: str = ""

    @property
    def severity(self) -> Severity:
        """How bad the worst of it is. That something is well again is as bad as it was: who was told is told."""
        return worst(one.severity for one in self.entries)

    @property
    def place(self) -> tuple[datetime, str, str]:
        """Where it stands among others: a run gives two where a part of it waits for the end of quiet hours."""
        return self.at, self.run_id, repr(self)

    def as_json(self) -> dict[str, Any]:
        """Return it as a document."""
        document = asdict(self)
        document["at"] = self.at.isoformat()
        for one in document["entries"]:
            one["since"] = one["since"].isoformat()
        return document


def digest_of(document: Mapping[str, Any]) -> Digest:
    """Return the digest that a document holds."""
    entries = tuple(entry_of(one) for one in document["entries"])
    return Digest(**{**document, "at": datetime.fromisoformat(document["at"]), "entries": entries})


def entry_of(document: Mapping[str, Any]) -> Entry:
    """Return the entry that a document holds."""
    return Entry(
        **{
            **document,
            "shown": tuple(document["shown"]),
            "since": datetime.fromisoformat(document["since"]),
            # what another release left may be without it
            "under": tuple((kind, severity) for kind, severity in document.get("under", ())),
        }
    )


def clean(entry: Entry) -> Entry:
    """Return an entry that may leave the house: every text of it redacted and not too long."""
    return replace(
        entry,
        source=_short(entry.source, _LONGEST_NAME),
        place=_short(entry.place, 2 * _LONGEST_NAME),
        code=_short(entry.code, _LONGEST_NAME),
        shown=tuple(_short(one, _LONGEST_NAME) for one in entry.shown),
        message=_short(entry.message, _LONGEST_WORDS),
        advice=_short(entry.advice, _LONGEST_STEP),
        owner=_short(entry.owner, _LONGEST_NAME),
    )


def merged(digests: Iterable[Digest]) -> tuple[list[Entry], list[Entry]]:
    """Return the entries of several digests, each trouble once and as it was last, and those that came and went.

    The worst and newest first.
    """
    found: dict[tuple[str, str, str], Entry] = {}
    first: dict[tuple[str, str, str], Entry] = {}
    for one in sorted(digests, key=lambda each: each.place):
        for entry in one.entries:
            before = found.get(entry.key)
            first.setdefault(entry.key, entry)
            found[entry.key] = entry if before is None else _joined(before, entry)
    passed = {key for key, entry in found.items() if entry.news == "well" and first[key].news == "new"}
    return (
        in_order(entry for key, entry in found.items() if key not in passed),
        in_order(entry for key, entry in found.items() if key in passed),
    )


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Return entries in the order in which they are told: what is wrong before what is well, the worst first."""
    return sorted(
        entries,
        key=lambda one: (one.news == "well", -SEVERITIES.index(one.severity), _ORDER.index(one.news), one.key),
    )


def runs_of(digests: Sequence[Digest]) -> list[str]:
    """Return the runs that digests are of, in their order, each once."""
    return list(dict.fromkeys(one.run_id for one in digests if one.run_id))


def _joined(before: Entry, after: Entry) -> Entry:
    """Return a trouble of which two digests speak: as the later says, and new where the earlier said so."""
    if after.news == "well" or before.news == "well":
        return after
    return replace(
        after,
        news="new" if before.news == "new" else after.news,
        fresh=before.fresh + after.fresh,
        shown=tuple(dict.fromkeys((*before.shown, *after.shown)))[: max(len(before.shown), len(after.shown))],
        severity=worst((before.severity, after.severity)),
        since=before.since,
    )


def _short(text: str, most: int) -> str:
    plain = redacted(text)
    return plain if len(plain) <= most else plain[: most - 1] + "…"
