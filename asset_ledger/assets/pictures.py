"""Pictures and short lists in a materialization's metadata, each so short that Dagster shows it where it stands.

Markdown of 1,000 characters and more is hidden behind a link. An image in markdown may be a data URI, also of SVG; HTML
is stripped; a fence of `diff` is coloured. Said of dagster-webserver 1.13; tests/ui shows that it still is so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg

from asset_ledger.domain.history import field_name
from asset_ledger.domain.outcome import Change
from asset_ledger.domain.pictures.sparkline import days_sparkline
from asset_ledger.domain.pictures.svg import data_uri
from asset_ledger.pipeline.days import LATELY
from asset_ledger.store.query.chain_days import ChainDay

INLINE_LIMIT = 999
"""How many characters of markdown Dagster shows without being asked."""
FEW_CHANGES = 10
FEW_TARGETS = 8
_VALUE_SHOWN = 60


def days_picture(day: date, days: Mapping[date, ChainDay]) -> dg.MetadataValue:
    """Return the last LATELY days up to one as a sentence and a picture: machines seen, and targets failed."""
    shown = [days.get(day - timedelta(days=ago), ChainDay()) for ago in reversed(range(LATELY))]
    seen = [each.seen for each in shown]
    known = [each for each in seen if each is not None]
    failed = [each.failed for each in shown]
    machines = "no reading" if seen[-1] is None else _many(seen[-1], "machine")
    span = f" (of {LATELY} days: {min(known)} to {max(known)})" if known else ""
    bad = _many(failed[-1], "target or row", "targets or rows")
    told = f"{machines}{span}, {bad} failed (of {LATELY} days: {sum(failed)})"
    drawn = data_uri(days_sparkline(seen, failed))
    return dg.MetadataValue.md(f"{told}\n\n![machines seen and failures of {LATELY} days]({drawn})")


def changes_diff(
    changes: Sequence[Change], counts: Mapping[str, int], source: str, day: date
) -> dg.MetadataValue | None:
    """Return what a day changed as a coloured diff, the first of it, and how to see all; None where nothing changed."""
    more = f"asset-ledger changes --since {day} --until {day} --source {source}"
    lines = [
        f"{sign} {_many(count, 'machine')} {what}"
        for sign, what, count in (
            ("+", "new", counts.get("created", 0)),
            ("+", "seen again", counts.get("revived", 0)),
            ("-", "missing", counts.get("missing", 0)),
        )
        if count
    ]
    shown = 0
    for change in changes[:FEW_CHANGES]:
        added = _lines(change)
        if len("\n".join([*lines, *added])) > INLINE_LIMIT - len(more) - 60:
            break
        lines += added
        shown += 1
    if not lines:
        return None
    left = f"\nand {len(changes) - shown} more: " if shown < len(changes) else "\n"
    return dg.MetadataValue.md("```diff\n" + "\n".join(lines) + f"\n```\n{left}`{more}`")


def targets_table(failed: Sequence[Mapping[str, Any]], run_id: str) -> dict[str, Any]:
    """Return the first failed targets as a table, and of more than it shows where all are."""
    columns = ("target", "error_code", "message", "effect")
    records = [dg.TableRecord({name: str(row[name] or "") for name in columns}) for row in failed[:FEW_TARGETS]]
    if not records:
        return {}
    return {"failed": dg.MetadataValue.table(records), **and_more("failed", failed[0]["total"], run_id)}


def and_more(table: str, many: int, run_id: str) -> dict[str, Any]:
    """Return where all rows are of a table that shows FEW_TARGETS of `many`; nothing where it shows them all."""
    if many <= FEW_TARGETS:
        return {}
    told = f"and {many - FEW_TARGETS} more of {many}: `asset-ledger runs show {run_id} --failed`"
    return {f"{table}_more": dg.MetadataValue.md(told)}


def _lines(change: Change) -> list[str]:
    before, after = (None if value is None else _short(str(value)) for value in (change.before, change.after))
    name, field = _short(change.hostname or change.external_id), _short(field_name(change.field))
    return [
        *([f"- {name} {field} {before}"] if before is not None else []),
        *([f"+ {name} {field} {after}"] if after is not None else []),
    ]


def _short(text: str) -> str:
    """Return a value on one line that cannot end the fence it stands in."""
    told = " ".join(text.replace("`", "'").split())
    return told if len(told) <= _VALUE_SHOWN else f"{told[: _VALUE_SHOWN - 1]}…"


def _many(count: int, what: str, several: str = "") -> str:
    return f"{count} {what if count == 1 else several or what + 's'}"
