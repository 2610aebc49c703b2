"""What a machine was on a day, field by field, from what its sources said on that day and before.

Pure. `store.query.as_of` brings the rows; its SQL orders and filters lists by the same rule, which is that by which
`store.derive.settle` makes the present.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from asset_ledger.domain.history import CARRY_DAYS
from asset_ledger.domain.normalized import NOT_REPORTED

PATHS = {
    "hostname": "identity.hostname",
    "mgmt_ip": "identity.mgmt_ip",
    "asset_type": "asset_type",
    "cpu_cores": "hardware.cpu_count",
    "memory_bytes": "hardware.memory_bytes",
    "disk_total_bytes": "hardware.disk_total_bytes",
    "os_family": "os.family",
    "os_version": "os.version",
    "power_state": "runtime.power_state",
    "ip_addresses": "network.ip_addresses",
}
"""The fields that days keep, and where a document has each: the path under which the reason for a NULL stands."""

NAMING = frozenset({"hostname", "mgmt_ip", "asset_type"})
"""Fields in which `naming_rank` says whose word counts; `RANKS` has it of all."""

RANKS = {
    field: "naming_rank" if field in NAMING else "os_rank" if field.startswith("os_") else "specs_rank"
    for field in PATHS
}
"""Which rank of its source says whose word counts, by field."""

MOMENTARY = frozenset({"power_state"})
"""Fields that are true of a moment: they are not carried on once a later word does not know them."""

State = Literal["observed", "carried", "decided", "unknown"]


@dataclass(frozen=True, slots=True)
class DayRow:
    """What one record of a source said of a machine on one day; `said` is False for a target that could not be read.

    `own` is False for a record of an asset that is merged into the one in question; `closed` is a record whose id the
    source had given to another machine by then.
    """

    day: date
    source: str
    source_id: int
    link_id: int
    naming_rank: int
    specs_rank: int
    os_rank: int
    own: bool
    said: bool
    collected_at: datetime
    values: Mapping[str, Any]
    unknown: Mapping[str, str]
    closed: bool = False


@dataclass(frozen=True, slots=True)
class DayValue:
    """A field on a day, by the word of `source` or decided by it; `reason` says why it is None.

    `day` is the last day on which anybody said so: a value is observed on the day asked of, or carried from before.
    """

    value: Any
    state: State
    day: date | None = None
    source: str | None = None
    reason: str | None = None


def latest_words(rows: Iterable[DayRow]) -> list[DayRow]:
    """Return of every source its latest word, the newest first: it counts however old it is.

    That is the newest row that said something. A record that was closed counts where no other does; of several of one
    day the asset's own before those merged into it, then the one collected later.
    """
    newest: dict[int, DayRow] = {}
    for row in rows:
        if row.said and (row.source_id not in newest or _age(newest[row.source_id]) < _age(row)):
            newest[row.source_id] = row
    return sorted(newest.values(), key=_age, reverse=True)


def values_on(
    day: date, rows: Sequence[DayRow], decided: Mapping[str, tuple[Any, str]], fields: Iterable[str] = tuple(PATHS)
) -> dict[str, DayValue]:
    """Return fields of a machine on a day, from rows of that day and of those before it: the rule of settling.

    What a person decided (value and who, by field) wins, then the sources' latest words by rank. Where none of them
    knows a field, a word that does is carried from at most CARRY_DAYS before its source's newest, unless the field is
    the state of a moment.
    """
    latest = latest_words(rows)
    newest: dict[int, date] = {}
    last: dict[int, DayRow] = {}
    for row in rows:
        if row.said:
            newest[row.source_id] = max(row.day, newest.get(row.source_id, row.day))
            last[row.link_id] = max(row, last.get(row.link_id, row), key=_age)
    words = _Words(
        latest,
        [row for row in rows if row.said and (newest[row.source_id] - row.day).days <= CARRY_DAYS],
        [row for row in last.values() if not row.closed],
    )
    return {
        field: DayValue(decided[field][0], "decided", source=decided[field][1])
        if field in decided
        else _value(field, day, words) or DayValue(None, "unknown", reason=_reason(field, rows))
        for field in fields
    }


@dataclass(frozen=True, slots=True)
class _Words:
    """The latest word of every source, those from which a value is carried, and the last of every open record."""

    latest: Sequence[DayRow]
    carrying: Sequence[DayRow]
    last: Sequence[DayRow]


def _value(field: str, day: date, words: _Words) -> DayValue | None:
    for offered in (words.latest, words.carrying if field not in MOMENTARY else ()):
        known = [row for row in offered if row.values.get(field) is not None]
        if known:
            best = known[0] if len(known) == 1 else min(known, key=lambda row: _place(field, row))
            value = best.values[field]
            told = max([best.day, *(row.day for row in words.last if row.values.get(field) == value)])
            return DayValue(value, "observed" if told == day else "carried", told, best.source)
    return None


def _age(row: DayRow) -> tuple[Any, ...]:
    return (not row.closed, row.day, row.own, row.collected_at, row.link_id)


def _place(field: str, row: DayRow) -> tuple[Any, ...]:
    rank = getattr(row, RANKS[field])
    return (rank, -row.day.toordinal(), row.source_id, -row.link_id)


def _reason(field: str, rows: Sequence[DayRow]) -> str:
    """Return why a field is not known: what the best source of the day says of it, or the newest before."""
    path = PATHS[field]
    for row in sorted(rows, key=lambda row: (-row.day.toordinal(), not row.said, *_place(field, row))):
        for name in (path, path.partition(".")[0], "*"):
            if name in row.unknown:
                return row.unknown[name]
    return NOT_REPORTED
