"""How every benchmark says what it found: rows with a limit, printed as one Markdown table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement. `against` is what it is compared with, `limit` the bound in words, `ok` whether it holds.

    A limit of `stated` means that there is none: the row is there to be known.
    """

    what: str
    measured: str
    against: str
    limit: str
    ok: bool


def table_lines(rows: Iterable[Row]) -> list[str]:
    """Return rows as the lines of a Markdown table."""
    lines = ["| what | measured | against | limit | verdict |", "|---|---|---|---|---|"]
    for row in rows:
        verdict = "" if row.limit == "stated" else "pass" if row.ok else "FAIL"
        lines.append(f"| {row.what} | {row.measured} | {row.against} | {row.limit} | {verdict} |")
    return lines


def print_table(rows: Iterable[Row]) -> None:
    """Print rows as a Markdown table."""
    print("\n".join(table_lines(rows)))
