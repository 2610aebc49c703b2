"""What a replay changed, or a plan says it would change: counts for plots, and the fields as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

from asset_ledger.domain.outcome import Correction
from asset_ledger.pipeline.derive import Derived

SHOWN_ROWS = 50


def plan_metadata(derived: Sequence[Derived], corrections: Sequence[Correction]) -> dict[str, Any]:
    """Return what is shown of a day that was planned: how much would change, and the fields."""
    counts = corrected(corrections)
    told = ", ".join(f"{count} {name.removeprefix('corrections_')}" for name, count in counts.items() if count)
    return {
        "mode": "plan",
        "readings": len(derived),
        **counts,
        "summary": f"{told} of the day's rows" if told else "nothing would change",
        **({"diff": dg.MetadataValue.md(correction_table(corrections))} if corrections else {}),
    }


def corrected(corrections: Sequence[Correction]) -> dict[str, int]:
    """Return how many rows of a day a replay changed, added and removed; zeros where it changed nothing."""
    return {
        f"corrections_{what}": sum(each.what == what for each in corrections)
        for what in ("changed", "added", "removed")
    }


def correction_table(corrections: Sequence[Correction]) -> str:
    """Return the fields that differ as a markdown table, up to SHOWN_ROWS machines of it."""
    lines = ["| machine | what | field | before | after |", "| --- | --- | --- | --- | --- |"]
    for each in corrections[:SHOWN_ROWS]:
        name = each.hostname or each.external_id or each.asset_id
        for path, before, after in each.fields or (("", None, None),):
            cells = (name, each.what, path, _value(before), _value(after))
            lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    if len(corrections) > SHOWN_ROWS:
        lines += ["", f"and {len(corrections) - SHOWN_ROWS} more"]
    return "\n".join(lines)


def _value(value: Any) -> str:
    return "" if value is None else str(value)
