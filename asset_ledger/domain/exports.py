"""What can be taken out of the ledger as a table, what its columns are, and what a value is in words.

Pure. `store.query.exports` reads tables, `asset_ledger.exports` writes them as files. The names of the marts are here:
one that was not built yet is another thing than one that there is not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal

Kind = Literal[
    "text", "integer", "decimal", "real", "boolean", "day", "instant", "local_time", "texts", "integers", "json"
]  # fmt: skip
"""What the values of a column are. `json` is the text of a document; `local_time` has no zone; `texts` is a list."""

ASSETS = "assets"
"""The machines as of a day: made by a query, not by dbt."""
ASSETS_ABOUT = "The machines as of a day, or as of today where none is named, as `asset-ledger assets list` shows them."
"""What they are, for who asks by the command line (--as-of) and for who asks over HTTP (as_of)."""
DAY_COLUMN = "collected_date"

MARTS: Mapping[str, str] = {
    "current_assets": "Machines as they are now, one canonical row each, with who said so.",
    "daily_specs": "What each machine was on each day.",
    "daily_capacity": "Capacity by platform, cluster, host and day.",
    "asset_changes": "What changed of which machine, and when.",
    "asset_coverage": "Who is probed, who has an agent, whose address is unknown and why.",
    "link_review": "Links of database instances to machines, for review.",
    "duplicate_review": "Machines that may be one, for review.",
    "iac_findings": "Drift, orphans, missing machines, doubles, and their age.",
    "source_reliability": "How often each source is read, how completely, how quickly.",
    "instance_placement": "Which database instance runs where.",
}
"""The marts there are, and what each is about where it does not say so itself."""
DAY_MARTS = frozenset({"daily_specs", "daily_capacity", "asset_changes", "source_reliability"})
"""The marts that are made by days."""

Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `precision` and `scale` are a decimal's digits, in all and behind the point."""

    name: str
    kind: Kind
    description: str = ""
    precision: int = 38
    scale: int = 18


@dataclass(frozen=True, slots=True)
class Table:
    """What is taken out: its name, what it is, as of which day (None: now, or days within), its columns in order."""

    name: str
    description: str
    columns: tuple[Column, ...]
    as_of: date | None = None

    def column(self, name: str) -> Column | None:
        """Return a column by name."""
        return next((each for each in self.columns if each.name == name), None)


@dataclass(frozen=True, slots=True)
class Reading:
    """A table and its rows, in batches: they are read once, while whoever opened it keeps it open."""

    table: Table
    batches: Iterator[Sequence[Row]]


@dataclass(frozen=True, slots=True)
class Exportable:
    """Something that can be taken out. `has_days`: since and until choose its days.

    `rows` is what `asset-ledger marts list` says: the database's estimate of what grows with days, which may be long;
    exact otherwise. None of what is no mart, is not built, or was not counted.
    """

    name: str
    description: str
    built: bool
    has_days: bool
    rows: int | None = None
    first_day: date | None = None
    last_day: date | None = None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, (date, datetime)) else str(value)


def json_text(value: Any) -> str:
    """Return a document as one line of JSON, every character as it is; days and instants in ISO form."""
    return _json(value)


def instant_text(at: datetime) -> str:
    """Return an instant in ISO form, in UTC: `2026-11-20T01:02:03Z`, with microseconds where it has some."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def _decimal_text(value: Decimal) -> str:
    return format(value, "f")


_WORDS: dict[Kind, Callable[[Any], str]] = {
    "text": str,
    "json": str,
    "integer": str,
    "decimal": _decimal_text,
    "real": repr,
    "boolean": lambda value: "true" if value else "false",
    "day": date.isoformat,
    "instant": instant_text,
    "local_time": datetime.isoformat,
    "texts": _json,
    "integers": _json,
}


def words_of(kind: Kind) -> Callable[[Any], str]:
    """Return what says a value of a kind (not None) as text, so that it can be read back."""
    return _WORDS[kind]
